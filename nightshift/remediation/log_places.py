"""Where the log of a program is: in its pods, in its containers, or where logs are collected; written in a policy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from nightshift.remediation.connections import ConnectionOf, NamespaceOfCluster
from nightshift.remediation.kubernetes.names import Namespace, ObjectName
from nightshift.remediation.models import Value
from nightshift.remediation.requests.measures import LabelName

LabelText = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Words = Annotated[tuple[LabelText, ...], Field(min_length=1, max_length=10)]
"""Lines that hold one of these count; upper and lower case are told apart."""


class LogOfPods(Value):
    """The log of every pod of a workload."""

    type: Literal["pods"]
    cluster: Annotated[str, ConnectionOf("kubernetes")]
    namespace: Annotated[Namespace, NamespaceOfCluster()]
    workload: ObjectName
    """Name of the Deployment or StatefulSet."""
    words: Words = ("error", "ERROR", "status")


class LogOfService(Value):
    """The log of every container of a service on Docker Compose."""

    type: Literal["service"]
    docker: Annotated[str, ConnectionOf("docker")]
    service: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$")]
    words: Words = ("error", "ERROR")


class LogOfLoki(Value):
    """Streams of Loki, where logs outlive their pods."""

    type: Literal["loki"]
    loki: Annotated[str, ConnectionOf("http")]
    labels: Annotated[dict[LabelName, LabelText], Field(min_length=1, max_length=10)]
    words: Words = ("error", "ERROR")


LogPlace = Annotated[LogOfPods | LogOfService | LogOfLoki, Field(discriminator="type")]
