"""Users reject most signals: show which, since when and in what market, to whoever owns them. Nothing is changed."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State

from nightshift.flows.incident import Conclusion, Incident
from nightshift.flows.runbook import NOWHERE, Request, answer
from nightshift.remediation.connections import HttpConnection, PostgresConnection
from nightshift.remediation.signals.facts import SignalDiagnosis
from nightshift.remediation.signals.findings import evidence_markdown, findings_of
from nightshift.remediation.signals.policy import SignalQualityPolicy
from nightshift.remediation.signals.review import in_words, may_be_the_market, plan_review
from nightshift.tasks.signal_quality import diagnose_signals, watch_signals

NAME = "signal-quality-review"


@flow(name=NAME, persist_result=False, result_storage=NOWHERE)
def signal_quality_review(
    system: str, target: str, incident: int | None = None, attempt: int = 1, dry_run: bool = False
) -> State[str]:
    """Report rejected signals by instrument, source and hour; a volatile market is watched first.

    Args:
        system: A system of the catalogue, e.g. `trading_signals`.
        target: The database that keeps the signals, e.g. `trading_signals/database/database`.
        incident: The incident to work on. Leave it empty: then one is opened by hand.
        attempt: Leave it at 1. The gateway counts the attempts on an incident.
        dry_run: Make and show the report, do not watch.
    """
    return answer(Request(NAME, system, target, incident, attempt, dry_run), review)


def review(incident: Incident) -> Conclusion:
    """Diagnose, perhaps watch, plan what people have to know, report."""
    policy = incident.policy(SignalQualityPolicy)
    name = incident.target.part("database")
    metrics = {key: one for key, one in incident.connections.items() if isinstance(one, HttpConnection)}
    place = (name, incident.connection(name, PostgresConnection), metrics, policy)

    diagnosis = diagnose_signals(*place)
    _record(incident, diagnosis, policy)
    if may_be_the_market(diagnosis, policy) and not incident.limits.dry_run:
        diagnosis = watch_signals(*place)
        _record(incident, diagnosis, policy)

    plan = plan_review(incident.target, diagnosis, policy)
    incident.carry_out(plan, enough=lambda: False)
    return incident.without_change()


def _record(incident: Incident, diagnosis: SignalDiagnosis, policy: SignalQualityPolicy) -> None:
    incident.diagnosed(in_words(diagnosis), findings_of(diagnosis, policy), evidence_markdown(diagnosis))
