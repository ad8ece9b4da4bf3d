"""Find why calls to a provider fail, and let the system do without it meanwhile where it can."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.finding_list import as_markdown
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.configuring import UpdateConfigMap
from nightshift.remediation.program_settings.arguments import UpdateSetting
from nightshift.remediation.providers.findings import findings_of
from nightshift.remediation.providers.look import Cause, ProviderLook, cause_of
from nightshift.remediation.providers.planner import in_words, plan_provider
from nightshift.remediation.providers.policy import ProviderFailurePolicy
from nightshift.remediation.providers.verification import judge_provider
from nightshift.tasks.providers import diagnose_provider, measure_provider, watch_provider

NAME = "external-dependency-failure"
_PASS_BY_THEMSELVES = (Cause.OUTAGE, Cause.NETWORK, Cause.PASSING)
"""Waiting cannot help against the others, so that people are told at once."""


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def external_dependency_failure(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Tell outage, credential, quota, request and network apart; at most the fallback is switched on, for a time.

    Args:
        system: A system of the catalogue, e.g. `test_watcher`.
        target: The provider, e.g. `test_watcher/provider/deepseek`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the plan, change nothing.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), do_without)


@serves("cryptofunk.CircuitBreakerOpen: d1")
def do_without(incident: Incident) -> Conclusion:
    """Diagnose, plan, approve, remediate, wait for the breaker to try again by itself, verify, report."""
    policy = incident.policy(ProviderFailurePolicy)
    provider = incident.target.part("provider")
    connections = dict(incident.connections)

    look = diagnose_provider(provider, connections, policy)
    contradicted = look.measured.healthy(policy) and not incident.changed_something
    if contradicted:
        # The alert says otherwise: watched, and looked at again.
        watch_provider(provider, connections, policy, policy.watch, policy.watch)
        look = diagnose_provider(provider, connections, policy)
    findings = findings_of(look, policy)
    incident.diagnosed(in_words(look.measured), findings, as_markdown(findings))

    begun = incident.unfinished(UpdateSetting.KIND) or incident.unfinished(UpdateConfigMap.KIND)
    plan = plan_provider(incident.target, look, policy, begun)
    incident.carry_out(plan, enough=lambda: measure_provider(provider, connections, policy).healthy(policy))
    if not incident.changed_something and not _waits(incident, look, policy):
        return incident.without_change()

    incident.verifying()
    looks = watch_provider(provider, connections, policy, policy.half_open, policy.hold)
    verdict = judge_provider(looks, policy, policy.hold, changed=incident.changed_something)
    return incident.judged(verdict, measured=in_words(looks[-1]))


def _waits(incident: Incident, look: ProviderLook, policy: ProviderFailurePolicy) -> bool:
    """Whether it is waited for although nothing was done: it may pass, and nobody has said that nothing is done."""
    passes = look.measured.trouble(policy) and cause_of(look) in _PASS_BY_THEMSELVES
    return passes and not incident.limits.dry_run and not incident.stopped
