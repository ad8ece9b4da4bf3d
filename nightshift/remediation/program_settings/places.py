"""Where a setting of a program is kept, and how far it may be changed: part of a runbook's policy."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from nightshift.remediation.connections import ConnectionOf, NamespaceOfCluster
from nightshift.remediation.durations import Seconds
from nightshift.remediation.hosts.services import HostService
from nightshift.remediation.kubernetes.names import Namespace, ObjectName
from nightshift.remediation.models import Value
from nightshift.remediation.providers.endpoints import FilePath, SettingName

_CONFIDENTIAL = re.compile(r"(^|[_.-])(API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|DSN|URL)$", re.IGNORECASE)

Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:+-]{1,64}$")]
"""A value: a plain word or number."""


def _not_confidential(name: str) -> str:
    if _CONFIDENTIAL.search(name):
        raise ValueError("this looks like a secret, whose value would stand in plans and reports; name a setting")
    return name


PlainName = Annotated[SettingName, AfterValidator(_not_confidential)]
ConfigMapKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,253}$"), AfterValidator(_not_confidential)]


class SettingInFile(Value):
    """A line ``KEY=value`` in a file on a host, such as ``.env``."""

    type: Literal["file"]
    host: Annotated[str, ConnectionOf("ssh")]
    file: FilePath
    key: PlainName
    service: HostService | None = None
    """What reads it, and is restarted for it where it runs; null: what reads it sees the change by itself."""

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.key} in {self.file} on {self.host}"


class SettingInConfigMap(Value):
    """A key of a ConfigMap that its program reads while it runs: one read at the start only takes a rollout."""

    type: Literal["configmap"]
    cluster: Annotated[str, ConnectionOf("kubernetes")]
    namespace: Annotated[Namespace, NamespaceOfCluster()]
    config_map: ObjectName
    key: ConfigMapKey

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.key} of the ConfigMap {self.config_map} in {self.namespace}"


SettingPlace = Annotated[SettingInFile | SettingInConfigMap, Field(discriminator="type")]


class FeatureFlag(Value):
    """A flag that is switched for a time; its way back is scheduled when it is switched."""

    setting: SettingPlace
    to: Word
    """Its value while it is switched."""
    usually: Word
    """Its value else. Any other value is left alone: somebody has another plan with it."""
    back_after: Seconds = Field(ge=10, le=7 * 86400)
    """So long after the plan was made it goes back by itself."""


class AdjustableNumber(Value):
    """A number that may be changed within bounds, for a time."""

    setting: SettingPlace
    floor: float = Field(ge=0)
    ceiling: float = Field(gt=0)
    factor: float = Field(gt=0, lt=10)
    """What it is multiplied with."""
    back_after: Seconds = Field(ge=10, le=7 * 86400)
    """So long after the plan was made it goes back by itself."""

    @model_validator(mode="after")
    def _ordered(self) -> AdjustableNumber:
        if self.floor > self.ceiling:
            raise ValueError("the floor lies above the ceiling")
        return self
