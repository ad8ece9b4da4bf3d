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
from nightshift.remediation.databases.host_cluster import ClusterAnswer, HostCluster, RecoverySource
from nightshift.remediation.databases.read_only import ReadOnly, proposal_of
from nightshift.remediation.databases.recovery import finding_of, recovery, rows_in_words
from nightshift.remediation.databases.replay import Place, Replay, replay_of
from nightshift.remediation.durations import format_duration
from nightshift.remediation.hosts.restarting import start_again
from nightshift.remediation.hosts.services import ServiceState
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.models import Action, Finding, HandOver, Plan, Proposal, Refusal, Risk, Target, Verdict
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
    running: ServiceState | None = None
    """The service of its host, where it is one."""
    source: RecoverySource | None = None
    """What it can be recovered from; of a broken one only."""
    no_source: str = ""
    """Why that could not be told."""
    read_only: ReadOnly | None = None
    """Why it takes no writes, where it takes none."""
    place: str = ""
    """Where it is in the log that it replays; of a server that is not ready only."""
    replay: Replay | None = None
    """How that went over several looks."""


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
    if look.read_only is not None:
        found.append(Finding(title="It takes no writes", detail=str(look.read_only), troubling=True))
    if look.replay is not None:
        found.append(
            Finding(title=f"Its recovery: {look.replay}", troubling=look.replay.stuck(look.replay.watched / 2))
        )
    if look.used_percent is not None:
        found.append(Finding(title=f"Its volume is {look.used_percent:.1f} % full", troubling=look.used_percent > 90))
    if look.unseen:
        found.append(Finding(title="Its container was not seen", detail=look.unseen, troubling=True))
    if look.running is not None:
        code = "" if look.running.exit_code is None else f", exit code {look.running.exit_code}"
        title = f"Its service: {printable(look.running.state, 20) or 'there is none'}{code}"
        found.append(Finding(title=title, troubling=not look.running.runs))
    if look.source is not None:
        found.append(finding_of(look.source))
    for one in look.service.containers if look.service is not None else ():
        code = "" if one.exit_code is None else f", exit code {one.exit_code}"
        title = f"Container {printable(one.name, 120)}: {printable(one.state, 20)}{code}{one.and_memory_death}"
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
    name, cluster = printable(target.part("database")), policy.on_host
    if look.answering is Answering.WELL:
        return Plan(goal=NOTHING_TO_DO, target=target, expected=in_words(look))
    actions: tuple[Action, ...] = ()
    refusals: list[Refusal] = []
    proposals = [*_for_people(look, policy), *_of_clients(policy)]
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
    elif cluster is not None and look.running is not None:
        reason = f"{name} {look.answering}, and nothing it says speaks against one restart."
        again = start_again(target, cluster.host, cluster.service.name, cluster.service, look.running, reason)
        actions = (again.model_copy(update={"risk": Risk.HIGH}),)
    if Sign.CORRUPTION in look.signs and cluster is not None and cluster.recover is not None:
        decided = _recovered(target, cluster, look)
        actions = (decided,) if isinstance(decided, Action) else actions
        refusals += [decided] if isinstance(decided, Refusal) else []
    return Plan(
        goal=f"Have {name} answer again: {in_words(look)}",
        target=target,
        actions=actions,
        refusals=tuple(refusals),
        proposals=tuple(proposals),
        expected=f"It answers within {format_duration(policy.wait)}, and for {format_duration(policy.hold)} on end.",
    )


def _recovered(target: Target, cluster: HostCluster, look: DownLook) -> Action | Refusal:
    if look.answering is not Answering.SILENT:
        what = f"Recovering {printable(cluster.data_directory, 120)} from a backup"
        return Refusal(what=what, reason=f"it {look.answering}: what still runs may still be saved")
    if look.source is None:
        what = f"Recovering {printable(cluster.data_directory, 120)} from a backup"
        return Refusal(what=what, reason=f"its backups were not seen. {look.no_source}".strip())
    return recovery(target, cluster, look.source, f"Its log: {look.signs[Sign.CORRUPTION]}")


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
    if look.answering is Answering.NOT_READY and look.replay is not None:
        return f"its recovery goes on by itself, and a restart would begin it all anew: {look.replay}"
    if look.answering is not Answering.SILENT:
        return f"it {look.answering}: it runs, and a restart would begin it all anew"
    if restarted:
        return "it was restarted once already"
    if policy.on_host is not None:
        return _why_no_start(look)
    return _why_no_restart_of_container(look) if policy.service is not None else "no way to restart it is declared"


def _why_no_restart_of_container(look: DownLook) -> str | None:
    if look.service is None or not look.service.containers:
        return f"its container was not seen. {look.unseen}".strip()
    if len(look.service.containers) > 1:
        return "its service has several containers, which would write to the same files"
    (one,) = look.service.containers
    if one.health == "healthy":
        return "its own check says that it works: the way from here to it is the trouble"
    return None


def _why_no_start(look: DownLook) -> str | None:
    """The same of a service of a host."""
    if look.running is None or not look.running.state:
        return f"its service was not seen. {look.unseen}".strip()
    if look.running.runs:
        return "its service runs: the way from here to it is the trouble"
    if look.running.switched_off:
        return "somebody switched its service off"
    return None


@proposes("bybit_strategy_tester.DatabaseDown: d7 r2.1 r3.1 r4.1")
def _for_people(look: DownLook, policy: DatabaseUnavailablePolicy) -> list[Proposal]:
    found = []
    if Sign.CORRUPTION in look.signs:
        found += [
            Proposal(
                title="Call the database people: leave the server down, and copy its data directory first",
                reason=f"Each start changes files that may still be saved. {look.signs[Sign.CORRUPTION]}",
            ),
            Proposal(
                title="Find out how much is damaged, on that copy",
                detail="pg_checksums --check --pgdata=<the copy>; then pg_amcheck --all on a server that runs on it",
                reason="The first needs a server shut down cleanly, and checksums; counting rows proves nothing.",
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
                hand_over=_of_volume(look, policy) if full else None,
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
        Answering.REFUSED: ("Look at the account and the database of this connection", look.says),
    }
    if look.answering in others:
        title, reason = others[look.answering]
        found.append(Proposal(title=title, reason=reason))
    if look.read_only is not None:
        found.append(proposal_of(look.read_only, used_percent=look.used_percent, full=full))
    if look.answering is Answering.NOT_READY and look.replay is not None:
        found.append(_of_recovery(look.replay, policy))
    return found


def _of_volume(look: DownLook, policy: DatabaseUnavailablePolicy) -> HandOver | None:
    """To the runbook that frees space, which deletes nothing of the database."""
    if policy.volume is None or not policy.disk_runbook:
        return None
    place = {"host": policy.volume.host, "filesystem": policy.volume.mount}
    why = f"the volume of its files is {look.used_percent:.1f} % full"
    return HandOver(runbook=policy.disk_runbook, place=place, why=why)


def _of_recovery(replay: Replay, policy: DatabaseUnavailablePolicy) -> Proposal:
    if not replay.stuck(policy.stands):
        return Proposal(title="Let its recovery go on, and look again later", reason=f"So far {replay}.")
    return Proposal(
        title="See what its recovery waits for: a file that its archive lacks, or a disk that does not answer",
        reason=f"So far {replay}. It is not restarted: that would begin its recovery all anew.",
    )


@proposes("bybit_strategy_tester.DatabaseDown: r2.2")
def _of_clients(policy: DatabaseUnavailablePolicy) -> list[Proposal]:
    """Pools connect again by themselves; a restart would break off what already works again."""
    return [
        Proposal(
            title=f"Restart {printable(name, 80)} only if it still fails a minute after the database answers",
            reason="Its pool connects again by itself. Where it does not, its own alert comes, and restarts it.",
        )
        for name in policy.clients
    ]


def well_for(looks: Sequence[DownLook]) -> float:
    """Seconds on end, up to the last look, in which it answered well."""
    since = None
    for look in reversed(looks):
        if look.answering is not Answering.WELL:
            break
        since = look.at
    return looks[-1].at - since if since is not None else 0.0


def replayed(looks: Sequence[DownLook]) -> Replay | None:
    """How a recovery got on over these looks; None where it was not seen twice."""
    return replay_of([Place(look.at, look.place) for look in looks if look.answering is Answering.NOT_READY])


def waits_on(looks: Sequence[DownLook], policy: DatabaseUnavailablePolicy, waited: float) -> bool:
    """Whether a server that does not answer well yet is waited for still.

    Args:
        looks: so far.
        policy: how long.
        waited: seconds since the first look.
    """
    replay = replayed(looks) if looks[-1].answering is Answering.NOT_READY else None
    if replay is None:
        return waited < policy.wait
    if replay.stands >= policy.stands:
        return False
    return waited < (policy.wait_moving if replay.moves else policy.wait)


@serves("bybit_strategy_tester.DatabaseDown: v1")
def judge_revival(
    looks: Sequence[DownLook], policy: DatabaseUnavailablePolicy, recovered: ClusterAnswer | None = None
) -> Verdict:
    """Healthy when it answered well for the last ``hold`` seconds, and has its rows where it was recovered."""
    if not looks:
        return Verdict(healthy=False, inconclusive=True, reason="It was not looked at after the restart.")
    held = well_for(looks)
    reason = f"The database: {in_words(looks[-1])}, for {format_duration(held)} of {format_duration(policy.hold)}."
    findings = tuple(Finding(title=f"Its log: {sign}", detail=line) for sign, line in looks[-1].signs.items())
    if recovered is not None:
        counted = rows_in_words(recovered) if recovered.answers else f"not counted: {recovered.complaint}"
        reason = f"{reason} What was recovered: {counted}."
    whole = recovered is None or recovered.answers
    return Verdict(healthy=held >= policy.hold and whole, reason=reason, findings=findings)
