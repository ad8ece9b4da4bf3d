"""What was seen of a trading agent or session, for people."""

from __future__ import annotations

from collections.abc import Iterator

from nightshift.remediation.durations import format_duration
from nightshift.remediation.models import Finding
from nightshift.remediation.text import counted, listed, printable
from nightshift.remediation.trading_agents.facts import AgentDiagnosis, SessionSeen
from nightshift.remediation.trading_agents.policy import AgentUnavailablePolicy
from nightshift.remediation.trading_agents.symptoms import heartbeat, is_alive, troubles, what_it_needs

_MOST = 8


def in_words(diagnosis: AgentDiagnosis, policy: AgentUnavailablePolicy) -> str:
    """The symptom in one line."""
    wrong = troubles(diagnosis, policy) or what_it_needs(diagnosis, policy)
    return "; ".join(wrong) or f"{printable(diagnosis.name, 80)} works"


def findings_of(diagnosis: AgentDiagnosis, policy: AgentUnavailablePolicy) -> tuple[Finding, ...]:
    """Its pods, what it needs, what it wrote, its session, and the end of its log."""
    return tuple(_findings(diagnosis, policy))


def _findings(diagnosis: AgentDiagnosis, policy: AgentUnavailablePolicy) -> Iterator[Finding]:
    pods, database = diagnosis.pods, diagnosis.database
    ready, of = len(pods.pods) - pods.sick, counted(len(pods.pods), "pod")
    yield Finding(
        title=f"{ready} of {of} of {printable(diagnosis.name, 80)} ready",
        detail="a container of it was killed for memory" if pods.was_killed else "",
        troubling=bool(pods.sick or not pods.pods),
    )
    if pods.throttled_percent is not None:
        high = pods.throttled_percent >= policy.throttled_percent
        yield Finding(
            title=f"Held back at its CPU limit in {pods.throttled_percent:.0f} % of its periods", troubling=high
        )
    if pods.agents:
        bad = listed([printable(name, 80) for name in pods.agents_not_ready])
        ready = len(pods.agents) - len(pods.agents_not_ready)
        title = f"{ready} of {counted(len(pods.agents), 'pod')} of agents ready"
        yield Finding(title=title, detail=f"not ready: {bad}" if bad else "")
    for words in what_it_needs(diagnosis, policy):
        yield Finding(title=words[:1].upper() + words[1:], troubling=True)
    well = [printable(need.answer.name, 60) for need in diagnosis.needs if need.answer.works]
    if well:
        yield Finding(title=f"These answer: {', '.join(well)}")
    if database.used_percent is not None:
        yield Finding(title=f"{database.used_percent:.0f} % of the database's connections in use")
    silent = [row for row in database.agents if not is_alive(row, policy.agents)]
    yield from (Finding(title=heartbeat(row), troubling=row.name == diagnosis.name) for row in silent[:_MOST])
    if database.signals_last_hour is not None:
        yield Finding(title=f"{counted(database.signals_last_hour, 'signal')} of it in the last hour")
    if database.session is not None:
        yield _session(database.session)
    if pods.log:
        yield Finding(title="The end of its log", detail="; ".join(pods.log[-3:]))


def _session(session: SessionSeen) -> Finding:
    orders = f"{counted(session.open_orders, 'order')} and {counted(session.open_positions, 'position')} open"
    if session.age is None:
        return Finding(title="There was never a trading session", detail=orders, troubling=True)
    placed = f"{counted(session.orders_last_hour, 'order')} placed in the last hour"
    title = f"The latest trading session began {format_duration(session.age)} ago"
    return Finding(title=title, detail=f"{orders}, {placed}")
