"""A PostgreSQL server that does not answer: one restart where that is safe, else a person with the evidence. Pure.

Covers bybit_strategy_tester.DatabaseDown.d1-d7, r1.1-r4.2: disk space first, one restart, recovery is waited for; signs
of corruption, wrong permissions and a stale pid file are left to people, and a volume is never pruned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from nightshift.remediation.compose.deciding import repair
from nightshift.remediation.compose.objects import ServiceLook
from nightshift.remediation.databases.down_policy import DatabaseUnavailablePolicy
from nightshift.remediation.databases.down_signs import Sign
from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.models import Action, Finding, Plan, Proposal, Refusal, Risk, Target, Verdict
from nightshift.remediation.text import printable

NOTHING_TO_DO = "Nothing to do: the database answers"
RESTART_SECONDS = 60.0


class Answering(StrEnum):
    """How a server answers a connection."""

    WELL = "answers, and takes writes"
    READ_ONLY = "answers, and takes no writes"
    NOT_READY = "is starting up, shutting down or in recovery"
    FULL = "has no connection left"
    REFUSED = "refuses the account, or has no such database"
    SILENT = "does not answer"


@dataclass(frozen=True, kw_only=True)
class DownLook:
    """One look."""

    at: float
    answering: Answering
    says: str = ""
    """Its refusal, in our words."""
    service: ServiceLook | None = None
    unseen: str = ""
    """Why its container could not be looked at."""
    signs: Mapping[Sign, str] = field(default_factory=dict)
    """What its log says, worst first; of a server that does not answer only."""
    last_words: Sequence[str] = ()
    used_percent: float | None = None
    """Of the volume of its files."""
    is_standby: bool = False


def in_words(look: DownLook) -> str:
    """One look as a line for people."""
    if look.answering is Answering.READ_ONLY and look.is_standby:
        return "it answers as a standby, and takes no writes"
    return f"it {look.answering}"


def findings_of(look: DownLook) -> tuple[Finding, ...]:
    """What was seen, the worst first."""
    well = look.answering is Answering.WELL
    found = [Finding(title=f"The database: {in_words(look)}", detail=look.says, troubling=not well)]
    found += [Finding(title=f"Its log: {sign}", detail=line, troubling=True) for sign, line in look.signs.items()]
    found += [Finding(title="Its last words", detail=line) for line in look.last_words]
    if look.used_percent is not None:
        found.append(Finding(title=f"Its volume is {look.used_percent:.1f} % full", troubling=look.used_percent > 90))
    if look.unseen:
        found.append(Finding(title="Its container was not seen", detail=look.unseen, troubling=True))
    for one in look.service.containers if look.service is not None else ():
        code = "" if one.exit_code is None else f", exit code {one.exit_code}"
        killed = ", killed for memory" if one.oom_killed else ""
        title = f"Container {printable(one.name, 120)}: {printable(one.state, 20)}{code}{killed}"
        found.append(Finding(title=title, detail=printable(one.health, 40), troubling=not one.works))
    return tuple(found)


@serves("bybit_strategy_tester.DatabaseDown: r1.1")
def plan_revival(target: Target, look: DownLook, policy: DatabaseUnavailablePolicy, *, restarted: bool = False) -> Plan:
    """What may be done so that it answers again.

    Args:
        target: the database.
        look: as it is.
        policy: limits.
        restarted: this incident has restarted it already; there is no second time.
    """
    name = printable(target.part("database"))
    if look.answering is Answering.WELL:
        return Plan(goal=NOTHING_TO_DO, target=target, expected=in_words(look))
    actions: tuple[Action, ...] = ()
    refusals: list[Refusal] = []
    proposals = _for_people(look, policy)
    if (no := _why_no_restart(look, policy, restarted=restarted)) is not None:
        refusals.append(Refusal(what=f"Restarting {name}", reason=no, lifted_by="a person who has looked"))
    elif policy.service is not None and look.service is not None:
        reason = f"{name} {look.answering}, and nothing it says speaks against one restart."
        actions = tuple(
            repair(target, policy.service.docker, look.service, one, reason, RESTART_SECONDS)
            for one in look.service.containers
        )
        # Whoever wrote to it is broken off, and it recovers from its log: more than a restart of what keeps no data.
        actions = tuple(action.model_copy(update={"risk": Risk.HIGH}) for action in actions)
    return Plan(
        goal=f"Have {name} answer again: {in_words(look)}",
        target=target,
        actions=actions,
        refusals=tuple(refusals),
        proposals=tuple(proposals),
        expected=f"It answers within {format_duration(policy.wait)}, and for {format_duration(policy.hold)} on end.",
    )


def _why_no_restart(look: DownLook, policy: DatabaseUnavailablePolicy, *, restarted: bool) -> str | None:
    """The first reason that counts; order matters, since the worst must be read first."""
    speaks_against = (Sign.CORRUPTION, Sign.DISK_FULL, Sign.PERMISSIONS, Sign.STALE_PID, Sign.CONFIGURATION)
    sign = next((one for one in speaks_against if one in look.signs), None)
    if sign is not None:
        return f"its log speaks of {sign}: {look.signs[sign]}"
    if policy.volume is not None and look.used_percent is None:
        return "how full its volume is could not be told, and recovery on a full one fails again and again"
    if policy.volume is not None and look.used_percent is not None and look.used_percent > policy.volume.full_percent:
        return f"its volume is {look.used_percent:.1f} % full: recovery would fail again and again"
    if look.answering is not Answering.SILENT:
        return f"it {look.answering}: it runs, and a restart would begin it all anew"
    if restarted:
        return "it was restarted once already"
    if policy.service is None:
        return "no way to restart it is declared"
    if look.service is None or not look.service.containers:
        return f"its container was not seen. {look.unseen}".strip()
    if len(look.service.containers) > 1:
        return "its service has several containers, which would write to the same files"
    (one,) = look.service.containers
    if one.health == "healthy":
        return "its own check says that it works: the way from here to it is the trouble"
    return None


@proposes("bybit_strategy_tester.DatabaseDown: r3.1 r4.1")
def _for_people(look: DownLook, policy: DatabaseUnavailablePolicy) -> list[Proposal]:
    found = []
    if Sign.CORRUPTION in look.signs:
        found += [
            Proposal(
                title="Call the database people: leave the server down, and copy its data directory first",
                reason=f"Each start changes files that may still be saved. {look.signs[Sign.CORRUPTION]}",
            ),
            Proposal(
                title="Then recover from a verified backup, by the word of two people",
                detail=printable(policy.recovery, 300),
                reason="It overwrites the database: only onto another directory, or after that copy.",
            ),
        ]
    full = policy.volume is not None and (look.used_percent or 0) > policy.volume.full_percent
    if full or Sign.DISK_FULL in look.signs:
        found.append(
            Proposal(
                title="Free space on its volume first",
                detail=printable(f"the runbook {policy.disk_runbook}" if policy.disk_runbook else "", 120),
                reason="Never by pruning volumes, and never a file of its data directory: pg_wal is no log to delete.",
            )
        )
    if Sign.PERMISSIONS in look.signs:
        found.append(
            Proposal(
                title="Give the data directory back to the server's account, with mode 0700",
                reason=f"{look.signs[Sign.PERMISSIONS]} See who changed it, and what else.",
            )
        )
    if Sign.STALE_PID in look.signs:
        found.append(
            Proposal(
                title="See whether another server runs on these files; only if none does, remove postmaster.pid",
                reason=f"Two servers on the same files destroy them. {look.signs[Sign.STALE_PID]}",
            )
        )
    others = {
        Answering.FULL: ("Free connections: the runbook for connections", "It runs; clients have taken everything."),
        Answering.READ_ONLY: (
            "See why it takes no writes: a standby, or default_transaction_read_only",
            "After a switch of servers the applications must be led to the new primary.",
        ),
        Answering.REFUSED: ("Look at the account and the database of this connection", look.says),
    }
    if look.answering in others:
        title, reason = others[look.answering]
        found.append(Proposal(title=title, reason=reason))
    return found


def well_for(looks: Sequence[DownLook]) -> float:
    """Seconds on end, up to the last look, in which it answered well."""
    since = None
    for look in reversed(looks):
        if look.answering is not Answering.WELL:
            break
        since = look.at
    return looks[-1].at - since if since is not None else 0.0


@serves("bybit_strategy_tester.DatabaseDown: v1")
def judge_revival(looks: Sequence[DownLook], policy: DatabaseUnavailablePolicy) -> Verdict:
    """Healthy when it answered well for the last ``hold`` seconds."""
    if not looks:
        return Verdict(healthy=False, inconclusive=True, reason="It was not looked at after the restart.")
    held = well_for(looks)
    reason = f"The database: {in_words(looks[-1])}, for {format_duration(held)} of {format_duration(policy.hold)}."
    findings = tuple(Finding(title=f"Its log: {sign}", detail=line) for sign, line in looks[-1].signs.items())
    return Verdict(healthy=held >= policy.hold, reason=reason, findings=findings)
