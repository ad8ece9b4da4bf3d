"""A service of Docker Compose that does not answer: one restart with the evidence saved, else a person.

Pure. Follows bybit_strategy_tester.APIUnresponsive and ``service_unresponsive`` of the families: a database that is
down, a kill for memory and a port that is taken are said, and nothing is restarted; a restart loop asks for the image
from before; building and disaster recovery are a person's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nightshift.remediation.compose import deciding
from nightshift.remediation.compose.objects import Container, ServiceLook, Usage
from nightshift.remediation.databases.down_planner import Answering
from nightshift.remediation.durations import format_duration
from nightshift.remediation.hosts.services import Running
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.kubernetes.crash_diagnosis import shown
from nightshift.remediation.models import Action, Finding, HandOver, Plan, Proposal, Refusal, Risk, Target, format_bytes
from nightshift.remediation.services.health import HttpAnswer, all_well, answer_findings, answers_in_words
from nightshift.remediation.services.policy import ServiceUnresponsivePolicy
from nightshift.remediation.text import listed, printable, shell_word

NOTHING_TO_DO = "Nothing to do: the service answers"
_BAD_WORDS = ("error", "exception", "fatal", "traceback")
_LINES = 6


@dataclass(frozen=True, kw_only=True)
class ApiLook:
    """One look."""

    at: float
    """Seconds of a clock that only goes forward."""
    answers: Sequence[HttpAnswer]
    engine: str = ""
    """Name of the connection."""
    service: ServiceLook | None = None
    """None: not looked at, or not to be seen."""
    unseen: str = ""
    """Why its containers could not be looked at."""
    log: Sequence[str] = ()
    """Newest lines of its containers; hostile text."""
    usages: Mapping[str, Usage] = field(default_factory=dict)
    """By container id."""
    processes: Sequence[str] = ()
    """The largest by memory, as ``ps`` shows them."""
    holders: Sequence[Running] = ()
    """Who listens on its port of the host."""
    database: Answering | None = None
    """None: it needs none."""

    @property
    def well(self) -> bool:
        """Whether everything that is asked answers."""
        return all_well(self.answers)

    @property
    def run(self) -> str:
        """Not told apart: it is the answers that count."""
        return ""


def in_words(look: ApiLook) -> str:
    """One look as a line for people."""
    states = [f"{printable(one.name, 80)} is {printable(one.state, 20)}" for one in _containers(look)]
    return ", ".join([answers_in_words(look.answers), *states[:3]])


def findings_of(look: ApiLook) -> tuple[Finding, ...]:
    """What was seen, and is kept, before anything is restarted."""
    found = list(answer_findings(look.answers))
    if look.database is not None:
        well = look.database is Answering.WELL
        found.append(Finding(title=f"Its database {look.database}", troubling=not well))
    if look.unseen:
        found.append(Finding(title="Its containers were not seen", detail=look.unseen, troubling=True))
    found += [_container_finding(one, look.usages.get(one.id)) for one in _containers(look)]
    found += [Finding(title="Its largest processes", detail=printable(line, 160)) for line in look.processes[:3]]
    found += [Finding(title=f"Its port is held by {_holder(one)}") for one in look.holders]
    bad = [line for line in look.log if any(word in line.lower() for word in _BAD_WORDS)]
    found += [Finding(title="Its log", detail=shown(line), troubling=True) for line in bad[-_LINES:]]
    found += [Finding(title="Its last words", detail=shown(line)) for line in look.log[-_LINES:] if line not in bad]
    return tuple(found)


def _container_finding(one: Container, usage: Usage | None) -> Finding:
    code = "" if one.exit_code is None else f", exit code {one.exit_code}"
    health = [printable(one.health, 20)] if one.health else []
    told = [f"started {one.restarts} times by the engine"] if one.restarts else []
    if usage is not None:
        told.append(f"{format_bytes(usage.memory)} of memory, {usage.cpus:.1f} processors")
    title = f"Container {printable(one.name, 120)}: {printable(one.state, 20)}{code}{one.and_memory_death}"
    return Finding(title=title, detail=", ".join([*health, *told]), troubling=not one.works)


@serves("bybit_strategy_tester.APIUnresponsive: r1.1 r2.3")
def plan_answering(target: Target, look: ApiLook, policy: ServiceUnresponsivePolicy, *, tried: bool = False) -> Plan:
    """What may be done so that it answers again.

    Args:
        target: the service.
        look: as it is.
        policy: limits.
        tried: this incident has restarted it already; there is no second time.
    """
    name = printable(target.part("service"))
    if look.well:
        return Plan(goal=NOTHING_TO_DO, target=target, expected=in_words(look))
    actions: list[Action] = []
    refusals: list[Refusal] = []
    if (no := _why_no_restart(look, policy, tried=tried)) is not None:
        refusals.append(no)
    for one in _containers(look) if not refusals else ():
        found = _repair(target, look, one, policy)
        if isinstance(found, Action):
            actions.append(found)
        else:
            refusals.append(found)
    return Plan(
        goal=f"Have {name} answer again: {answers_in_words(look.answers)}",
        target=target,
        actions=tuple(actions),
        refusals=tuple(refusals),
        proposals=tuple(_for_people(name, shell_word(target.part("service")), look, policy)),
        expected=f"It answers within {format_duration(policy.wait)}, and for {format_duration(policy.hold)} on end.",
    )


def _why_no_restart(look: ApiLook, policy: ServiceUnresponsivePolicy, *, tried: bool) -> Refusal | None:
    """The first reason that counts: what a restart of this service would not change."""
    what = f"Restarting {printable(look.service.service, 80) if look.service is not None else 'it'}"
    if look.service is None or not look.service.containers:
        reason = f"its containers were not seen. {look.unseen}".strip()
        return Refusal(what=what, reason=reason, lifted_by="docker compose up -d --no-deps, by a person who has looked")
    if look.database is not None and look.database is not Answering.WELL:
        reason = f"its database {look.database}: a restart changes nothing about that"
        return Refusal(what=what, reason=reason, lifted_by="bring the database back first (flow database-unavailable)")
    killed = [one for one in look.service.containers if one.memory_death]
    if killed:
        reason = f"{printable(killed[0].name, 80)} was {killed[0].memory_death}, and would be again"
        return Refusal(what=what, reason=reason, lifted_by="more memory for it, or the leak found")
    ended = [one for one in look.service.containers if one.state != "running"]
    if ended and look.holders:
        reason = f"port {policy.port} is held by {listed([_holder(one) for one in look.holders])}"
        return Refusal(what=what, reason=reason, lifted_by="end what holds the port, when it is known what it is")
    if tried:
        return Refusal(what=what, reason="it was restarted once already", lifted_by="a person who has looked")
    return None


def _repair(target: Target, look: ApiLook, one: Container, policy: ServiceUnresponsivePolicy) -> Action | Refusal:
    service = look.service
    assert service is not None  # noqa: S101 - it is one of its containers
    ended = f", ended with {one.exit_code}" if one.exit_code is not None else ""
    reason = f"{answers_in_words(look.answers)}; the container is {printable(one.state, 20)}{ended}"
    loops = one.restarts >= policy.crashes or one.state == "restarting"
    if not loops or service.tagged not in ("", one.image_id):
        return deciding.repair(target, look.engine, service, one, reason, policy.wait)
    found = deciding.roll_back(target, look.engine, service, one, reason, policy.wait)
    if isinstance(found, Action):
        asks = f"The engine started it {one.restarts} times and it ended each time: is it the release?"
        return found.model_copy(update={"asks": asks, "risk": Risk.HIGH})
    return found


@proposes("bybit_strategy_tester.APIUnresponsive: r2.1 r2.2")
def _for_people(name: str, word: str, look: ApiLook, policy: ServiceUnresponsivePolicy) -> list[Proposal]:
    """What is left when a restart does not help, in the document's order, without its hazards."""
    found = _of_database(look, policy)
    if look.service is not None and (differing := deciding.differing_configurations(look.service)) is not None:
        found.append(differing)
    if any(one.memory_death for one in _containers(look)):
        found.append(
            Proposal(
                title=f"Give {name} more memory, or find what takes it",
                detail=f"mem_limit in the Compose file, then docker compose up -d --no-deps {word}",
                reason="It was killed at its limit; started again, it may be once more.",
            )
        )
    if look.database is None or look.database is Answering.WELL:
        found.append(
            Proposal(
                title=f"If it still does not answer: build {name} from the release that is known to work, and start it",
                detail=f"docker compose stop {word} && docker compose build {word} && "
                f"docker compose up -d --no-deps {word}",
                reason="Look first what is checked out on the host: it is what gets built. Never `down`.",
            )
        )
    if policy.recovery:
        found.append(
            Proposal(
                title="If nothing helps: recover the application, by the word of the incident commander",
                detail=printable(policy.recovery, 300),
            )
        )
    return found


def _of_database(look: ApiLook, policy: ServiceUnresponsivePolicy) -> list[Proposal]:
    """A database that does not work is repaired in one place only."""
    flow = {
        Answering.SILENT: "database-unavailable",
        Answering.NOT_READY: "database-unavailable",
        Answering.FULL: "connection-pool-exhaustion",
    }.get(look.database or Answering.WELL)
    if flow is None or policy.database is None:
        return []
    words = f"its database {look.database}"
    handed = HandOver(flows=(flow,), place={"database": policy.database}, why=words)
    return [Proposal(title=f"Left to the runbook for it: {words}", detail=f"flow {flow}", hand_over=handed)]


def _containers(look: ApiLook) -> Sequence[Container]:
    return look.service.containers if look.service is not None else ()


def _holder(one: Running) -> str:
    if not one.pid:
        return "a process that this account may not see"
    return f"process {one.pid} ({printable(one.command, 80)}{f', {printable(one.unit, 80)}' if one.unit else ''})"
