"""The doctor looks at the Alertmanagers that the gateway reconciles with."""

from __future__ import annotations

from collections.abc import Iterator

from nightshift.remediation.alert_sources import AlertmanagerAddress
from nightshift.remediation.clients.alertmanager import AlertmanagerApi, AlertmanagerUnavailableError
from nightshift.remediation.durations import format_duration
from nightshift.running.doctor.finding import Seen, error, ok, warning
from nightshift.settings import Settings

MEND = "Mend it, or its address in NIGHTSHIFT_ALERTMANAGERS."
_SECONDS = 5.0


def look_at_alertmanagers(settings: Settings) -> Iterator[Seen]:
    """Whether what a webhook loses would be found: each Alertmanager answers, and has a receiver that is ours."""
    if not settings.alertmanagers:
        yield warning(
            "No Alertmanager is reconciled with: an alert that its webhook loses is lost.",
            'Set NIGHTSHIFT_ALERTMANAGERS, such as {"alertmanager": "http://alertmanager:9093"}.',
        )
    for source, members in settings.alertmanagers.items():
        for address in members:
            yield _look_at(source, address, settings.max_body_bytes)


def _look_at(source: str, address: AlertmanagerAddress, max_bytes: int) -> Seen:
    with AlertmanagerApi(address, max_bytes=max_bytes, seconds=_SECONDS) as api:
        try:
            receiver, clock = api.receiver(), api.clock()
        except AlertmanagerUnavailableError as wrong:
            return error(f"{source}: {wrong.message}", wrong.remedy or MEND)
    uptime = format_duration(clock.uptime_seconds)
    return ok(f"{source}: {address.url} answers since {uptime}; what it sends to {receiver} is ours.")
