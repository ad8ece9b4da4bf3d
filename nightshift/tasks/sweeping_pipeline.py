"""Look at the way that alerts take to us: Prometheus and the Alertmanagers. Each of these steps only reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nightshift.remediation.alert_sources import AlertmanagerAddress
from nightshift.remediation.clients import prometheus_state
from nightshift.remediation.clients.alertmanager import AlertmanagerApi, AlertmanagerUnavailableError
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.errors import NightshiftError
from nightshift.remediation.silencing import HeldAlert, Silence
from nightshift.remediation.sweeps.measures import Level, Measure
from nightshift.remediation.sweeps.prometheus import PrometheusLook
from nightshift.remediation.text import listed, printable
from nightshift.tasks.steps import diagnostic

_SECONDS = 8.0
"""For one answer of an Alertmanager."""


@dataclass(frozen=True, kw_only=True)
class AlertmanagerLook:
    """One Alertmanager, or the members of its cluster, which all know the same silences."""

    source: str
    measures: tuple[Measure, ...]
    """How each member is."""
    seen: Holds | None
    """null: none of them answered."""


@dataclass(frozen=True, kw_only=True)
class Holds:
    """What one member holds."""

    silences: tuple[Silence, ...]
    alerts: tuple[HeldAlert, ...]
    receiver: str
    """The name of ours there."""
    now: float
    """Unix time, by its own clock."""

    @property
    def kept_back(self) -> list[dict[str, str]]:
        """Labels of the alerts that it does not send to us: silenced, inhibited, or for others."""
        return [one.labels for one in self.alerts if not one.goes_to(self.receiver)]


@diagnostic("sweep an Alertmanager", of="{source}")
def look_at_alertmanager(source: str, members: Sequence[AlertmanagerAddress], max_bytes: int) -> AlertmanagerLook:
    """Whether it answers, delivers what it has to, and what it holds."""
    measures: list[Measure] = []
    seen: Holds | None = None
    for number, address in enumerate(members, 1):
        key = source if len(members) == 1 else f"{source}/{number}"
        called = f"Alertmanager {source}" + ("" if len(members) == 1 else f", member {number}")
        with AlertmanagerApi(address, max_bytes=max_bytes, seconds=_SECONDS) as api:
            try:
                found = _held(api)
            except AlertmanagerUnavailableError as error:
                measures.append(Measure(key=f"alertmanager/{key}", what=called, trouble=printable(str(error), 300)))
                continue
            measures += [Measure(key=f"alertmanager/{key}", what=called), _deliveries(key, called, api)]
        seen = seen or found
    if seen is None:
        measures = [one.model_copy(update={"unseen": True}) for one in measures]
    return AlertmanagerLook(source=source, measures=tuple(measures), seen=seen)


def _deliveries(key: str, called: str, api: AlertmanagerApi) -> Measure:
    """What it gave up; one that shows no metrics, as some hosted ones, works nonetheless."""
    known: dict[str, Any] = {"key": f"deliveries/{key}", "what": f"deliveries that {called} gave up"}
    try:
        failed = api.failed_deliveries()
    except AlertmanagerUnavailableError as error:
        return Measure(**known, remark=f"its metrics cannot be read: {printable(str(error), 200)}")
    if failed:
        known["what"] += f" ({listed([printable(kind, 40) for kind in sorted(failed)])})"
    return Measure(**known, value=sum(failed.values()), grown=Level.FINDING)


def _held(api: AlertmanagerApi) -> Holds:
    return Holds(silences=api.silences(), alerts=api.held(), receiver=api.receiver(), now=api.clock().now.timestamp())


@diagnostic("sweep Prometheus", of="{name}")
def look_at_prometheus(name: str, connection: HttpConnection) -> tuple[Measure, PrometheusLook | None]:
    """Whether it answers; its rules and targets, None when it does not tell them."""
    try:
        look = prometheus_state.look_at_prometheus(name, connection)
    except NightshiftError as error:
        said = printable(str(error), 300)
        return Measure(key=f"prometheus/{name}", what=f"Prometheus {name}", trouble=said, unseen=True), None
    return Measure(key=f"prometheus/{name}", what=f"Prometheus {name}"), look
