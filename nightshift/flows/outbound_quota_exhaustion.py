"""Call a provider less often that refuses calls for their number."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.finding_list import as_markdown
from nightshift.remediation.kubernetes.configuring import UpdateConfigMap
from nightshift.remediation.kubernetes.levels import judge_level
from nightshift.remediation.program_settings.arguments import UpdateSetting
from nightshift.remediation.providers.quota import findings_of, in_words, is_over, plan_quota
from nightshift.remediation.providers.quota_policy import QuotaPolicy
from nightshift.tasks.outbound_quota import look_at_quota, watch_quota

NAME = "outbound-quota-exhaustion"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def outbound_quota_exhaustion(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Lower the client's rate within its bounds and for a time; while the quota is used up, pause what can wait.

    Args:
        system: A system of the catalogue, e.g. `test_watcher`.
        target: The provider, e.g. `test_watcher/provider/deepseek`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), call_less)


def call_less(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, verify, report."""
    policy = incident.policy(QuotaPolicy)
    provider, connections = incident.target.part("provider"), dict(incident.connections)
    beside = incident.open_beside(policy.opposite)

    look = look_at_quota(provider, connections, policy)
    if is_over(look, policy) and not incident.changed_something:
        # The alert says otherwise: watched, and looked at again.
        watch_quota(provider, connections, policy, policy.watch, policy.watch)
        look = look_at_quota(provider, connections, policy)
    findings = findings_of(look, policy, beside)
    incident.diagnosed(in_words(look), findings, as_markdown(findings))

    begun = incident.unfinished(UpdateSetting.KIND) or incident.unfinished(UpdateConfigMap.KIND)
    plan = plan_quota(incident.target, look, policy, beside, begun)
    incident.carry_out(plan, enough=lambda: is_over(look_at_quota(provider, connections, policy), policy))
    if not incident.changed_something:
        return incident.without_change()

    incident.verifying()
    looks = watch_quota(provider, connections, policy, policy.wait, policy.hold)
    verdict = judge_level(looks, policy.refused_per_second, policy.hold, shown)
    measured = shown(looks[-1].value) if looks[-1].value is not None else f"not measured: {looks[-1].unknown}"
    return incident.judged(verdict, measured=measured)


def shown(refused: float) -> str:
    """A rate in words for people."""
    return f"{refused:.3g} calls a second refused"
