"""What was seen of a queue of files and of what works it off."""

from __future__ import annotations

from nightshift.remediation.models import Value
from nightshift.remediation.program_settings.planning import SettingSeen


class QueueLook(Value):
    """The queue at one moment."""

    now: float
    """Unix time, by the worker's clock."""
    waiting: float | None = None
    """Files; None: it cannot be told."""
    complaint: str = ""
    """Why not."""


class QueueDiagnosis(Value):
    """Everything that the planner knows."""

    queue: QueueLook
    p95: float | None = None
    """Seconds that 95 % of the runs take at most; None: none ended of late."""
    state: str = ""
    """Of the service, in its manager's words; ``running`` when it works."""
    cpu_percent: float | None = None
    """In use, of all CPUs of the host; None: it cannot be told."""
    memory_percent: float | None = None
    host_complaint: str = ""
    workers: SettingSeen | None = None
    """The setting that says how many work; None: none is declared."""
