"""Queues as a sweep sees them: how much waits, whether it becomes more, and whether anybody works it off."""

from __future__ import annotations

from collections.abc import Mapping

from nightshift.remediation.sweeps.measures import Forecast, Measure
from nightshift.remediation.text import listed, printable

Place = tuple[tuple[str, str], ...]


def tasks_waiting(
    broker: str, waiting: Mapping[str, int], most: int | None, within: float, *, consumed: bool, place: Place
) -> list[Measure]:
    """Tasks in the queues of a broker, together as their runbook counts them, and each.

    Args:
        broker: name of the connection.
        waiting: tasks by queue.
        most: more of them are too many; None: nobody says.
        within: seconds; too many sooner than this is worth a look.
        consumed: whether anybody answers who works them off.
        place: the service that does, as a target.
    """
    names = listed([printable(name, 60) for name in waiting])
    total = Measure(
        key=f"queue/{broker}/{','.join(waiting)}",
        what=f"tasks waiting in {names} of {broker}",
        value=sum(waiting.values()),
        limit=most,
        forecast=_too_many(most, within),
        stuck="" if consumed else "no worker answers",
        flows=("queue-backlog", "worker-unavailable"),
        target=place,
    )
    each = [
        Measure(key=f"queue/{broker}/{name}", what=f"tasks waiting in {printable(name, 60)} of {broker}", value=count)
        for name, count in waiting.items()
        if len(waiting) > 1
    ]
    return [total, *each]


def files_waiting(
    key: str, service: str, waiting: float, most: int, within: float, *, idle: str, place: Place
) -> Measure:
    """Files that wait for a service.

    Args:
        key: of the measure.
        service: its name in the catalogue.
        waiting: files.
        most: more of them are too many.
        within: as in :func:`tasks_waiting`.
        idle: why nobody works them off, printable; empty: somebody does.
        place: the service as a target.
    """
    return Measure(
        key=key,
        what=f"files waiting for {printable(service, 60)}",
        value=waiting,
        limit=most,
        forecast=_too_many(most, within),
        stuck=idle,
        flows=("file-queue-backlog",),
        target=place,
    )


def _too_many(most: int | None, within: float) -> Forecast | None:
    return None if most is None else Forecast(level=most, within=within, then=f"more than {most:,}", opens=False)
