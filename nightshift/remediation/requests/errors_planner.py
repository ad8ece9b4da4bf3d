"""Requests of a service fail: take its release back, leave causes to the runbooks that repair them, or restart once.

A pure function of what was seen and what is allowed. Serves http_error_rate_response: cryptofunk.HighErrorRate,
trading_signals.HighErrorRate, bybit_strategy_tester.HighErrorRate and octollm.HighErrorRate, without their hazards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nightshift.remediation.compose import deciding
from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.kubernetes.changes import Changes
from nightshift.remediation.kubernetes.restarting import RESTARTED_AT, restart
from nightshift.remediation.kubernetes.rollout_state import RolloutState, rollout_status
from nightshift.remediation.models import Plan, Proposal, Refusal, Target
from nightshift.remediation.requests.causes import Cause, Suspect, hand_over, suspects
from nightshift.remediation.requests.downstream import scale_out_downstream
from nightshift.remediation.requests.errors_policy import HttpErrorRatePolicy
from nightshift.remediation.requests.evidence import ComposeDeployed, RequestEvidence
from nightshift.remediation.requests.release import take_back
from nightshift.remediation.text import counted, printable

NOTHING_TO_DO = "nothing to do"
"""The goal of a plan for a service that is within its limit."""
START_SECONDS = 120.0
"""A container may take so long to work."""
_FRONTEND_BEFORE = 3600.0
"""Seconds: a frontend that was released so shortly before may ask for what is not there."""


def plan_error_repair(
    target: Target,
    evidence: RequestEvidence,
    policy: HttpErrorRatePolicy,
    repairs: Mapping[str, str],
    *,
    restarted: bool = False,
) -> Plan:
    """Take a release to blame back, leave other causes to who repairs them, and restart once where there is none.

    Args:
        target: the service.
        evidence: of this moment.
        policy: limits.
        repairs: how each other runbook of the system is started by hand, by its alert.
        restarted: this incident has restarted it already; there is no second time.
    """
    name, said = printable(evidence.name, 100), policy.measure.shown(evidence.value)
    if evidence.value <= policy.measure.at_most:
        return Plan(goal=NOTHING_TO_DO, target=target, expected=f"{name}: {said}, as it should be.")
    changes, found = Changes(), suspects(evidence, policy)
    why = _act(target, evidence, policy, found, repairs, changes, restarted=restarted)
    return Plan(
        goal=f"No more failing requests to {name}: {said}, {why}",
        target=target,
        actions=tuple(changes.actions),
        refusals=tuple(changes.refusals),
        proposals=tuple(changes.proposals),
        expected=f"{policy.measure.shown(policy.measure.at_most)} or less for {format_duration(policy.hold)}.",
    )


def _act(
    target: Target,
    evidence: RequestEvidence,
    policy: HttpErrorRatePolicy,
    found: Sequence[Suspect],
    repairs: Mapping[str, str],
    changes: Changes,
    *,
    restarted: bool,
) -> str:
    """Fill in the changes; the cause in words. Facts go before the release, the release before hints."""
    name = printable(evidence.name, 100)
    if certain := [one for one in found if one.certain]:
        what = f"Any change to {name}"
        reason = f"{certain[0].words}: that is the cause, and nothing here would repair it"
        changes.refusals.append(Refusal(what=what, reason=reason, lifted_by="what it needs working again"))
        changes.proposals += [_leave(one, evidence, policy, repairs) for one in certain]
        return f"because {certain[0].words}"
    if take_back(target, evidence, policy, changes):
        _after_a_release(evidence, changes)
        return "since its newest release"
    changes.proposals += [_leave(one, evidence, policy, repairs) for one in found]
    for one in found:
        if one.cause is Cause.DOWNSTREAM:
            scale_out_downstream(target, one, changes)
    if found:
        if not changes.actions:
            reason = f"a cause was found: {found[0].words}"
            changes.refusals.append(Refusal(what=f"Restarting {name}", reason=reason))
        return f"perhaps because {found[0].words}"
    _restart_once(target, evidence, policy, changes, restarted=restarted)
    return "and no cause was found"


@serves("trading_signals.HighErrorRate: r7.1", "cryptofunk.HighErrorRate: r3.2")
def _restart_once(
    target: Target, evidence: RequestEvidence, policy: HttpErrorRatePolicy, changes: Changes, *, restarted: bool
) -> None:
    """One restart where nothing else was found; whoever looks next finds the evidence in the report."""
    name, what = printable(evidence.name, 100), f"Restarting {printable(evidence.name, 100)}"
    said = policy.measure.shown(evidence.value)
    changes.proposals.append(_by_people(name))
    why = "it was restarted once already" if restarted else ""
    if policy.restart is None:
        why = "its runbook allows none"
    elif evidence.name in policy.restart.never:
        why = "only people restart it, as its runbook says"
    if why:
        changes.refusals.append(Refusal(what=what, reason=why, lifted_by="a person who has looked"))
        return
    deployed = evidence.deployed
    reason = f"{said}, and neither what it needs nor its log tells why. Once only."
    if isinstance(deployed, ComposeDeployed):
        changes.actions += [
            deciding.repair(target, deployed.engine, deployed.look, one, reason, START_SECONDS)
            for one in deployed.look.containers
        ]
        return
    workload, status = deployed.workload, rollout_status(deployed.workload)
    if status.state is not RolloutState.COMPLETE:
        changes.refusals.append(Refusal(what=what, reason=f"its rollout is not complete: {status.words}"))
        return
    changes.change(restart(target, workload, reason), workload, (RESTARTED_AT,))


def _by_people(name: str) -> Proposal:
    return Proposal(
        title=f"Find why requests to {name} fail, with what is seen above",
        reason="Nothing that can be measured from here tells: the newest changes and the errors' own words are next.",
    )


def _after_a_release(evidence: RequestEvidence, changes: Changes) -> None:
    name = printable(evidence.name, 100)
    groups = "; ".join(f"{group.example} ({counted(group.count, 'line')})" for group in evidence.groups[:2])
    held = isinstance(evidence.deployed, ComposeDeployed)
    changes.proposals.append(
        Proposal(
            title=f"Open a ticket for the release of {name} with this report" + ", and hold further releases" * held,
            detail=groups,
            reason="Its file of Compose still names the release, and would bring it back." if held else "",
        )
    )


@proposes(
    "octollm.HighErrorRate: r2.3 r2.4 r2.5 r2.6 r4.3 r5.2 r5.3",
    "bybit_strategy_tester.HighErrorRate: r2.1 r2.2 r3.2",
    "cryptofunk.HighErrorRate: r1.2",
    "trading_signals.HighErrorRate: r2.1 r3.1 r4.3 r5.1",
)
def _leave(
    one: Suspect, evidence: RequestEvidence, policy: HttpErrorRatePolicy, repairs: Mapping[str, str]
) -> Proposal:
    """Who repairs a cause that is not the service's own: another runbook, which alone acts on it, or people."""
    if one.repaired_by in repairs:
        handed = hand_over(one)
        who = "an incident is opened for that" if handed is not None else "its own alert starts that, or a person"
        return Proposal(
            title=f"Left to the runbook {printable(one.repaired_by, 100)}: {one.cause}",
            detail=printable(repairs[one.repaired_by], 300),
            reason=f"{one.words}. It is repaired in one place only; {who}.",
            hand_over=handed,
        )
    title, reason = _advice(one, evidence, policy)
    return Proposal(title=f"{title}: {printable(evidence.name, 100)}", detail=one.words, reason=reason)


def _advice(one: Suspect, evidence: RequestEvidence, policy: HttpErrorRatePolicy) -> tuple[str, str]:
    """What a person does, and why a person does it."""
    clients = "The requests are wrong, not the service: a ticket for who sends them."
    if (when := evidence.frontend_released) is not None and evidence.since is not None:
        before = (evidence.since - when).total_seconds()
        if 0 <= before <= _FRONTEND_BEFORE:
            clients = f"{printable(policy.frontend or '', 80)} was released {format_duration(before)} before it began."
    migrations = f" {printable(policy.migrations, 300)}" if policy.migrations else ""
    return {
        Cause.DEPENDENCY: ("Bring back what it needs", "No runbook of this system repairs it."),
        Cause.DISK: ("Free space", "Nothing is deleted without the runbook that knows what may go."),
        Cause.POOL: ("Free connections to its database", "A restart would only let them come again."),
        Cause.MEMORY: ("Give it more memory, or find its leak", "Its limit is raised by who knows its need."),
        Cause.DOWNSTREAM: ("Look at the service that it asks", "It answers, but slowly or with errors."),
        Cause.RATE_LIMIT: (
            "Lower the rate of requests to the provider, and ask it for a higher limit",
            "Fewer replicas of the service would take capacity away from users instead.",
        ),
        Cause.EXTERNAL: (
            "Look at the provider's status page, and wait for it",
            "Nothing of ours brings it back; a restart would not, either.",
        ),
        Cause.REFUSED: ("Check the credentials that Nightshift and the service use there", "They are refused."),
        Cause.UNAUTHORISED: (
            "Check how long login tokens live, the session cache and the login service",
            "Logins that end too early look like an outage to users, and may be an attack.",
        ),
        Cause.CLIENTS: ("See whether a new frontend asks for what is not there", clients),
        Cause.MIGRATION: (
            "Run the migrations that are pending, once it is proven that they are",
            f"A schema is changed by the word of a person only; it cannot be undone.{migrations}",
        ),
    }[one.cause]
