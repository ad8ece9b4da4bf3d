"""Why a server that answers takes no writes: a standby, a setting and who set it, a full volume. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from nightshift.remediation.durations import format_duration
from nightshift.remediation.models import Proposal
from nightshift.remediation.text import printable

SETTING = "default_transaction_read_only"


@dataclass(frozen=True)
class ReadOnly:
    """What the server says about it."""

    standby: bool
    source: str = ""
    """Where the setting comes from, as ``pg_settings`` has it."""
    file: str = ""
    """The file, where it is one and the account may see it."""
    database: str = ""
    account: str = ""
    streams: bool = False
    """Of a standby: whether its primary sends to it."""
    behind: float | None = None
    """Seconds since the last transaction that it replayed; None: it has replayed none."""
    paused: bool = False

    def __str__(self) -> str:
        if self.standby:
            behind = "" if self.behind is None else f", {format_duration(round(self.behind))} behind"
            primary = "its primary sends to it" if self.streams else "no primary sends to it"
            return f"It is a standby{behind}: {primary}{', and replay is paused' if self.paused else ''}."
        return f"{SETTING} is on, set by: {printable(self.source or 'unknown', 60)}{self._place}."

    @property
    def _place(self) -> str:
        return f" ({printable(self.file, 200)})" if self.file else ""

    @property
    def way_back(self) -> str:
        """The statement that lifts the setting."""
        database, account = (printable(name, 63).replace('"', '""') for name in (self.database, self.account))
        match self.source:
            case "database":
                return f'alter database "{database}" reset {SETTING};'
            case "user":
                return f'alter role "{account}" reset {SETTING};'
            case "database user":
                return f'alter role "{account}" in database "{database}" reset {SETTING};'
            case "configuration file" if not self.file or self.file.endswith("postgresql.auto.conf"):
                return f"alter system reset {SETTING}; select pg_reload_conf();"
            case _:
                return f"take {SETTING} out of {printable(self.file or self.source, 200)}, and reload"


def proposal_of(seen: ReadOnly, *, used_percent: float | None, full: bool) -> Proposal:
    """What a person does about it; nobody else, since somebody may have meant it.

    Args:
        seen: what the server says.
        used_percent: of the volume of its files; None: not known.
        full: whether that is too full to write.
    """
    if seen.standby and not seen.streams:
        title = "See whether its primary is gone: then a person promotes one standby, and only one"
        reason = f"{seen} Two primaries write two different truths; the applications must be led to the one."
        return Proposal(title=title, reason=reason)
    if seen.standby:
        title = "Lead the applications to the primary: this server is its standby"
        return Proposal(title=title, reason=f"{seen} It must not be promoted while that one lives.")
    if full:
        title = "Lift the setting only after space was freed on its volume"
        reason = f"{seen} The volume is {used_percent or 0:.1f} % full, and writing is what fills it."
        return Proposal(title=title, detail=seen.way_back, reason=reason)
    title = "Find out who made it read-only, and why; then lift the setting"
    return Proposal(title=title, detail=seen.way_back, reason=f"{seen} Sessions that are open keep what they have.")
