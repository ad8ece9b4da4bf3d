"""Whether a trading agent or session works, and what stands in the way of that. Pure.

Follows cryptofunk.AgentDown.d1-d3 and r1.1-r4.1, cryptofunk.TradingSessionFailure.d1-d6: a dead agent may keep its
status ACTIVE, so that the age of its heartbeat counts, too.
"""

from __future__ import annotations

from collections.abc import Iterator

from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import serves
from nightshift.remediation.text import counted, printable
from nightshift.remediation.trading_agents.facts import AgentDiagnosis, AgentRow, NeedSeen, began_at, restarts_lately
from nightshift.remediation.trading_agents.policy import AgentTable, AgentUnavailablePolicy

CRASHES = 3
"""Restarts from which on one that is ready at this moment does not count as well."""
KEY_REFUSALS = 3
"""So many lines within the time looked at are no accident."""


@serves("cryptofunk.AgentDown: d2", "cryptofunk.TradingSessionFailure: d4")
def is_alive(row: AgentRow, policy: AgentTable) -> bool:
    """Whether an agent is active by its status, and by its heartbeat."""
    fresh = row.heartbeat_age is not None and row.heartbeat_age <= policy.heartbeat_within
    return fresh and row.status == policy.active


def heartbeat(row: AgentRow) -> str:
    """An agent's own words, for people."""
    age = f"heartbeat {format_duration(row.heartbeat_age)} ago" if row.heartbeat_age is not None else "no heartbeat"
    error = f", {printable(row.error, 120)}" if row.error else ""
    return f"{printable(row.name, 60)} {printable(row.status, 40)}, {age}{error}"


def troubles(diagnosis: AgentDiagnosis, policy: AgentUnavailablePolicy) -> tuple[str, ...]:
    """What is wrong with it, in words; empty: it works."""
    return tuple(_troubles(diagnosis, policy))


def _troubles(diagnosis: AgentDiagnosis, policy: AgentUnavailablePolicy) -> Iterator[str]:
    pods, name = diagnosis.pods, printable(diagnosis.name, 80)
    if not pods.pods:
        yield f"{name} has no pod"
    elif pods.sick:
        yield f"{pods.sick} of {counted(len(pods.pods), 'pod')} of {name} not ready"
    elif (restarts := max(restarts_lately(pod, pods.now) for pod in pods.pods)) >= CRASHES:
        yield f"{name} was started again {restarts} times, and ended within the last minutes"
    if diagnosis.database.complaint:
        return
    if policy.session is None:
        row = diagnosis.database.agent(diagnosis.name)
        if row is None:
            yield f"{name} never wrote into {policy.agents.table}"
        elif not is_alive(row, policy.agents):
            yield heartbeat(row)
    elif (missing := no_session(diagnosis, policy.agents.heartbeat_within)) is not None:
        yield missing


@serves("cryptofunk.TradingSessionFailure: v1")
def no_session(diagnosis: AgentDiagnosis, within: float) -> str | None:
    """What is said when no session began since the oldest pod that is ready; None: one did, or still may.

    Args:
        diagnosis: of what runs the sessions.
        within: seconds that it may take after the start of its pod.
    """
    session, now = diagnosis.database.session, diagnosis.pods.now
    began = [at for pod in diagnosis.pods.pods if pod.is_ready and (at := began_at(pod)) is not None]
    if session is None or session.age is None:
        return "there was never a trading session"
    ready_for = (now - min(began)).total_seconds() if began else 0.0
    if ready_for > within and session.age > ready_for:
        return f"no trading session began since its pod did; the latest is {format_duration(session.age)} old"
    return None


@serves("cryptofunk.AgentDown: r1.1 r2.1 r3.1")
def what_it_needs(diagnosis: AgentDiagnosis, policy: AgentUnavailablePolicy) -> tuple[str, ...]:
    """What it needs and does not have, in words; until then a restart only ends it again."""
    database, found = diagnosis.database, list[str]()
    if database.complaint:
        found.append(f"the database {printable(policy.database, 60)}: {printable(database.complaint)}")
    elif database.used_percent is not None and database.used_percent >= policy.needs.pool_percent:
        found.append(f"the database has {database.used_percent:.0f} % of its connections in use")
    for need in diagnosis.needs:
        if why := _why_useless(need):
            found.append(why)
    return tuple(found)


def _why_useless(need: NeedSeen) -> str:
    if not need.answer.works:
        return need.answer.in_words
    if need.key_refused >= KEY_REFUSALS:
        name = printable(need.answer.name, 60)
        return f"{name} works, but its provider refuses its key ({need.key_refused} times of late)"
    return ""


@serves("cryptofunk.TradingSessionFailure: r1.1")
def why_a_person(diagnosis: AgentDiagnosis, policy: AgentUnavailablePolicy) -> str:
    """Why only a person decides about a restart, in any mode; empty: nothing is open, and nothing halted trading.

    The hazard of cryptofunk.TradingSessionFailure.r1.1: the document restarts without looking at orders and positions.
    """
    rule, session = policy.session, diagnosis.database.session
    if rule is None:
        return ""
    if session is None:
        return "What is open is not known."
    reasons = []
    if session.open_orders:
        reasons.append(f"{counted(session.open_orders, 'order')} open")
    if session.open_positions:
        reasons.append(f"{counted(session.open_positions, 'position')} open")
    if session.drawdown_percent >= rule.halt_drawdown_percent:
        reasons.append(f"the latest session reached its loss limit (drawdown {session.drawdown_percent:.1f} %)")
    if session.halted:
        reasons.append("trading is halted")
    elif session.halted is None:
        reasons.append("whether trading is halted is not known")
    if not reasons:
        return ""
    return f"A new session would trade on this: {', '.join(reasons)}."
