"""Does a trading agent or session work again? Judged from looks over the time it must hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.pods_verification import PodsSample, judge
from nightshift.remediation.models import Finding, Verdict
from nightshift.remediation.text import counted, printable
from nightshift.remediation.trading_agents.facts import DatabaseSeen
from nightshift.remediation.trading_agents.policy import AgentUnavailablePolicy
from nightshift.remediation.trading_agents.symptoms import heartbeat, is_alive


@dataclass(frozen=True, kw_only=True)
class AgentSample:
    """One look after the repair."""

    at: float
    """Seconds of a clock that only goes forward."""
    pods: PodsSample
    pods_age: float
    """Seconds since the oldest pod began."""
    log: tuple[str, ...] = ()
    """Newest lines of the pod that is worst off; printable."""
    database: DatabaseSeen
    name: str


def why_not_well(sample: AgentSample, policy: AgentUnavailablePolicy) -> str:
    """What is missing in one look; empty: it works. What was written before the pod began does not count."""
    if sample.database.complaint:
        return f"the database cannot be asked: {printable(sample.database.complaint)}"
    if policy.session is not None:
        age = sample.database.session.age if sample.database.session is not None else None
        return "" if age is not None and age <= sample.pods_age else "no trading session began since its pod did"
    row = sample.database.agent(sample.name)
    if row is None:
        return f"it never wrote into {policy.agents.table}"
    before = row.heartbeat_age is None or row.heartbeat_age > sample.pods_age
    return "" if is_alive(row, policy.agents) and not before else heartbeat(row)


def held_for(samples: Sequence[AgentSample], policy: AgentUnavailablePolicy) -> float:
    """Seconds for which every look, the last one included, was well."""
    since = samples[-1].at
    for sample in reversed(samples):
        if why_not_well(sample, policy):
            break
        since = sample.at
    return samples[-1].at - since


@serves("cryptofunk.AgentDown: v1 v2 v3", "cryptofunk.TradingSessionFailure: v1 v2 v3")
def judge_agent(samples: Sequence[AgentSample], policy: AgentUnavailablePolicy) -> Verdict:
    """Healthy when, for ``hold``, no pod restarted, and its heartbeat was fresh and ACTIVE, or its session is there.

    Signals and orders are counted and said; a calm market may bring none for a while.
    """
    if not samples:
        return Verdict(healthy=False, inconclusive=True, reason="It was not looked at after the repair.")
    pods = judge([sample.pods for sample in samples], policy.hold)
    if not pods.healthy:
        return pods
    last = samples[-1]
    log = (Finding(title="The end of its log since", detail="; ".join(last.log[-5:])),) if last.log else ()
    if missing := why_not_well(last, policy):
        unsure = bool(last.database.complaint)
        return Verdict(healthy=False, inconclusive=unsure, reason=f"Not yet: {missing}.", findings=log)
    held = held_for(samples, policy)
    said = in_words(last, policy)
    if held < policy.hold:
        reason = f"{said}, for {format_duration(held)} only, of {format_duration(policy.hold)} to be watched."
        return Verdict(healthy=False, inconclusive=True, reason=reason, findings=log)
    return Verdict(healthy=True, reason=f"{said}, for {format_duration(held)}.", findings=log)


def in_words(sample: AgentSample, policy: AgentUnavailablePolicy) -> str:
    """One look as a line for people."""
    if missing := why_not_well(sample, policy):
        return missing
    database, said = sample.database, list[str]()
    if policy.session is not None and database.session is not None:
        said += ["A new trading session runs", f"{counted(database.session.orders_last_hour, 'order')} in an hour"]
    elif (row := database.agent(sample.name)) is not None:
        said.append(heartbeat(row))
    if database.signals_last_hour is not None:
        said.append(f"{counted(database.signals_last_hour, 'signal')} in an hour")
    return ", ".join(said)
