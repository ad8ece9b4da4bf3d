"""Which policy each flow takes: a flow that stands here can be named by a runbook of the catalogue.

A new flow adds one line. Names are those of the Prefect deployments.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Discriminator, Tag, TypeAdapter

from nightshift.remediation.disk_space.database_policy import DatabaseVolumePolicy
from nightshift.remediation.disk_space.policy import DiskSpacePolicy


def _volume(policy: object) -> str:
    """The tag of a disk policy; tags hold a ``=`` so that they cannot be taken for a key."""
    volume = policy.get("volume", "host") if isinstance(policy, Mapping) else getattr(policy, "volume", "host")
    return f"volume={volume}"


FlowPolicy = DiskSpacePolicy | DatabaseVolumePolicy
"""Any policy. Each type names in ``TARGET`` the kinds of the target's path that its flow needs."""

VolumePolicy = Annotated[
    Annotated[DiskSpacePolicy, Tag("volume=host")] | Annotated[DatabaseVolumePolicy, Tag("volume=database")],
    Discriminator(_volume),
]
"""A policy of ``disk-space-reclaim``: for a host's filesystem, or with ``volume: database`` for a database's."""

FLOW_POLICIES: Mapping[str, TypeAdapter[Any]] = MappingProxyType({"disk-space-reclaim": TypeAdapter(VolumePolicy)})
"""The flows that exist, with what validates their policy."""
