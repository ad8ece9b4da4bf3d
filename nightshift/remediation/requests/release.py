"""Going back from the release since which requests fail or are slow, on Kubernetes and on Docker Compose. Pure.

The first rule of http_error_rate_response and request_latency_response. On Kubernetes to the last revision that worked,
on Docker Compose to the image from before, as bybit_strategy_tester.HighErrorRate has it.
"""

from __future__ import annotations

from nightshift.remediation.compose import deciding
from nightshift.remediation.compose.releases import changes_a_schema, released_at, why_not_the_release
from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.changes import Changes
from nightshift.remediation.kubernetes.regression import RegressionDiagnosis, after_release, why_not_to_blame
from nightshift.remediation.kubernetes.rollback import RollbackPolicy, roll_back
from nightshift.remediation.models import Action, Refusal, Risk, Target
from nightshift.remediation.requests.evidence import ComposeDeployed, RequestEvidence
from nightshift.remediation.requests.policy import MeasuredRequests
from nightshift.remediation.text import printable

_START_SECONDS = 60.0


def take_back(target: Target, evidence: RequestEvidence, policy: MeasuredRequests, changes: Changes) -> bool:
    """Plan to go back where the newest release is to blame; True: it is, so that nothing else is looked for.

    Why it is not to blame, or why there is no way back, is put among the refusals.
    """
    what = f"Rolling back {printable(evidence.name, 100)}"
    if policy.rollback is None:
        changes.refusals.append(Refusal(what=what, reason="its runbook allows none", lifted_by="rollback"))
        return False
    said, deployed = policy.measure.shown(evidence.value), evidence.deployed
    if isinstance(deployed, RegressionDiagnosis):
        if innocent := why_not_to_blame(deployed, policy, policy.rollback):
            changes.refusals.append(Refusal(what=what, reason=innocent))
            return False
        reason = f"{said} since {format_duration(after_release(deployed))} after the release."
        roll_back(target, deployed.release, policy.rollback, reason, changes)
        return True
    if innocent := why_not_the_release(deployed.look, evidence.since, policy.rollback):
        changes.refusals.append(Refusal(what=what, reason=innocent))
        return False
    _image_before(target, evidence, deployed, policy.rollback, said, changes)
    return True


@serves("trading_signals.HighErrorRate: r6.1", "bybit_strategy_tester.HighErrorRate: r1.1 r1.2 r1.3 r1.4")
def _image_before(
    target: Target,
    evidence: RequestEvidence,
    deployed: ComposeDeployed,
    policy: RollbackPolicy,
    said: str,
    changes: Changes,
) -> None:
    released = released_at(deployed.look)
    after = (evidence.since - released).total_seconds() if evidence.since and released else 0.0
    reason = f"{said} since {format_duration(after)} after its newest container was made"
    actions = list[Action]()
    for one in deployed.look.containers:
        found = deciding.roll_back(target, deployed.engine, deployed.look, one, reason, _START_SECONDS)
        if isinstance(found, Refusal):
            changes.refusals.append(found)
            return  # half of its containers of another release would be a third trouble
        actions.append(_asked(found) if changes_a_schema(one, policy) else found)
    changes.actions += actions


def _asked(action: Action) -> Action:
    asks = "The release changed a schema: the old version must be able to work with the new one."
    return action.model_copy(update={"asks": asks, "risk": Risk.HIGH})
