"""Why calls to a provider fail, and what is done about each cause."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import pytest

from lab.http_service import HttpService
from nightshift.remediation.clients import provider_metrics
from nightshift.remediation.clients.provider_metrics import _failures
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.databases.down_planner import Answering
from nightshift.remediation.models import Target
from nightshift.remediation.program_settings.planning import SettingSeen
from nightshift.remediation.providers.facts import Failure, ProviderStatus, Reached
from nightshift.remediation.providers.findings import findings_of
from nightshift.remediation.providers.look import (
    Cause,
    DatabaseSeen,
    Measured,
    ProviderLook,
    cause_of,
    class_of,
    classes_of,
)
from nightshift.remediation.providers.planner import plan_provider
from nightshift.remediation.providers.policy import BreakerState, CallCounts, ProviderFailurePolicy
from nightshift.remediation.providers.verification import judge_provider

TARGET = Target(system="test_watcher", path=("provider", "deepseek"))
FAILING = Measured(at=0, per_second=2, failing_percent=100)
WELL = Measured(at=0, per_second=2, failing_percent=1)
OUT = ProviderStatus(indicator="major", description="API down")
FINE = ProviderStatus(indicator="none")


def policy(**changes: Any) -> ProviderFailurePolicy:
    place = {"type": "file", "host": "watcher1", "file": "/opt/x/.env", "key": "FALLBACK"}
    rule = {
        "calls": {"calls": "calls_total"},
        "endpoint": {
            "address": "api.example",
            "credential": {"secret": {"env": "KEY"}},
            "test_path": "/v1/models",
        },
        "fallback": {"setting": place, "to": "on", "usually": "off", "back_after": "4h"},
        "own_database": {"database": "main", "runbooks": ["DatabaseDown"]},
        **changes,
    }
    return ProviderFailurePolicy.model_validate({"prometheus": "prometheus", "providers": {"deepseek": rule}})


def answered(status: int | None = 200, **changes: Any) -> Reached:
    return Reached(**{"place": "watcher1", "status": status, **changes})


def look(**changes: Any) -> ProviderLook:
    known = ProviderLook(
        provider="deepseek",
        measured=FAILING,
        now=0,
        reached=answered(),
        credential=answered(),
        status=FINE,
        fallback=SettingSeen(value="off"),
    )
    return replace(known, **changes)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"status": OUT}, Cause.OUTAGE),
        ({"status": OUT, "reached": answered(None, stage="tcp", why="refused")}, Cause.OUTAGE),
        ({"credential": answered(503)}, Cause.OUTAGE),
        ({"credential": answered(401)}, Cause.CREDENTIALS),
        ({"credential": answered(403), "status": OUT}, Cause.CREDENTIALS),
        ({"credential": None, "no_credential": "no KEY in .env"}, Cause.CREDENTIALS),
        ({"credential": answered(429)}, Cause.QUOTA),
        ({"reached": answered(None, stage="dns", why="unknown"), "credential": None}, Cause.NETWORK),
        ({"credential": answered(None, stage="http", timed_out=True)}, Cause.NETWORK),
        ({"classes": {Failure.REQUEST: 9.0, Failure.SERVER: 1.0}}, Cause.REQUEST),
        ({"log_classes": {Failure.CREDENTIALS: 3.0}}, Cause.CREDENTIALS),
        ({"classes": {Failure.QUOTA: 2.0}, "log_classes": {Failure.NETWORK: 9.0}}, Cause.QUOTA),
        ({"classes": {Failure.REQUEST: 1.0, Failure.SERVER: 1.0, Failure.QUOTA: 1.0}}, Cause.PASSING),
        ({"reached": answered(404)}, Cause.PASSING),
        ({"database": DatabaseSeen(answering=Answering.FULL)}, Cause.DATABASE),
    ],
)
def test_the_cause_follows_from_what_is_tried_now_before_what_was_logged(changes: dict[str, Any], cause: Cause) -> None:
    seen = look(**changes)

    assert cause_of(seen) is cause
    plan = plan_provider(TARGET, seen, policy())
    assert bool(plan.actions) == (cause is Cause.OUTAGE)
    assert len(plan.proposals) == (0 if cause is Cause.PASSING else 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"measured": Measured(at=0, unknown="prometheus did not answer")},
        {"measured": Measured(at=0, per_second=0)},
        {"fallback": SettingSeen(value="on")},
        {"fallback": SettingSeen(value="half")},
        {"fallback": SettingSeen(complaint="no such file")},
        {"status": FINE, "classes": {Failure.SERVER: 9.0}},
        {"status": ProviderStatus(indicator="minor")},
    ],
)
def test_the_fallback_stays_as_it_is_without_a_measured_and_confirmed_outage(changes: dict[str, Any]) -> None:
    plan = plan_provider(TARGET, look(**{"status": OUT, **changes}), policy())

    assert plan.actions == ()
    assert any(refusal.what == "The fallback" for refusal in plan.refusals)


def test_what_is_measured_well_is_left_alone_whatever_the_status_page_says() -> None:
    plan = plan_provider(TARGET, look(measured=WELL, status=OUT), policy())

    assert (plan.actions, plan.refusals, plan.proposals) == ((), (), ())
    assert plan.goal.startswith("Nothing to do")


def test_a_change_that_was_begun_is_brought_to_its_end_as_it_was_begun() -> None:
    (begun,) = plan_provider(TARGET, look(status=OUT), policy()).actions

    later = look(status=OUT, fallback=SettingSeen(value="on", in_effect=False), now=900)
    plan = plan_provider(TARGET, later, policy(), begun)

    assert plan.actions == (begun,)


def test_an_open_breaker_is_never_forced_and_half_open_is_not_closed() -> None:
    for state in (1.0, 2.0):
        measured = Measured(at=0, breaker=state)
        plan = plan_provider(TARGET, look(measured=measured), policy())
        assert plan.actions == ()
        assert "Forcing the breaker closed" in [refusal.what for refusal in plan.refusals]


def test_a_failing_database_is_left_to_its_own_runbooks_with_what_was_seen() -> None:
    seen = DatabaseSeen(answering=Answering.WELL, used=98, room=97, volume_percent=91)

    (proposal,) = plan_provider(TARGET, look(database=seen), policy()).proposals

    assert "DatabaseDown" in proposal.title
    assert "98 of 97 connections in use; its volume is 91 % full" in proposal.detail


def test_a_key_that_the_program_uses_otherwise_is_told_from_one_that_is_refused() -> None:
    (refused,) = plan_provider(TARGET, look(credential=answered(401)), policy()).proposals
    (other,) = plan_provider(TARGET, look(log_classes={Failure.CREDENTIALS: 3.0}), policy()).proposals

    assert "environment variable KEY" in refused.detail
    assert "which key the program really uses" in other.title


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("401", Failure.CREDENTIALS),
        ("429", Failure.QUOTA),
        ("4xx", Failure.REQUEST),
        ("5XX", Failure.SERVER),
        ("504", Failure.NETWORK),
        ("ReadTimeout", Failure.NETWORK),
        ("rate_limit", Failure.QUOTA),
        ("something", Failure.OTHER),
        ("", Failure.OTHER),
    ],
)
def test_a_word_of_a_counter_says_what_failed(text: str, failure: Failure) -> None:
    assert class_of(text) is failure


def test_lines_of_a_log_count_by_their_status_and_good_ones_do_not() -> None:
    lines = [
        'status_code=200 path="/timeout"',
        '{"status_code": 400, "error": "bad"}',
        "HTTP/1.1 503 Service Unavailable",
        "ERROR connection refused",
        "ERROR it rained 401 frogs",
    ]

    assert classes_of(lines) == {Failure.REQUEST: 1, Failure.SERVER: 1, Failure.NETWORK: 1}


def test_findings_show_no_markup_of_the_provider() -> None:
    page = ProviderStatus(indicator=None, complaint="it does not answer as a status page")

    titles = [finding.title for finding in findings_of(look(status=page, unseen=("the log: gone",)), policy())]

    assert "Its status page could not be read" in titles
    assert "Could not look at the log: gone" in titles


def at(second: float, measured: Measured) -> Measured:
    return replace(measured, at=second)


@pytest.mark.parametrize(
    ("looks", "healthy", "inconclusive"),
    [
        ([at(0, FAILING), at(5, WELL), at(40, WELL)], True, False),
        ([at(0, WELL), at(10, WELL)], False, True),
        ([at(0, WELL), at(40, FAILING)], False, True),
        ([at(0, WELL), at(40, Measured(at=0, per_second=0))], False, True),
        ([at(0, WELL), at(40, Measured(at=0, unknown="gone"))], False, True),
        ([], False, True),
    ],
)
def test_it_is_over_when_calls_succeeded_for_as_long_as_is_asked(
    looks: list[Measured], healthy: bool, inconclusive: bool
) -> None:
    verdict = judge_provider(looks, policy(), 30, changed=True)

    assert (verdict.healthy, verdict.inconclusive) == (healthy, inconclusive)


def test_a_policy_names_what_is_wrong_with_it() -> None:
    with pytest.raises(ValueError, match="half_open must not be shorter"):
        ProviderFailurePolicy.model_validate({**policy().model_dump(mode="json"), "half_open": 10})
    with pytest.raises(ValueError, match="calls, breaker or both"):
        policy(calls=None)
    kept = {"on_host": {"file": "/x/.env", "key": "KEY"}}
    with pytest.raises(ValueError, match="name the host"):
        policy(endpoint={"address": "a.example", "credential": kept, "test_path": "/"})


@pytest.mark.hazard("cryptofunk.CircuitBreakerOpen.d7")
def test_failures_that_a_breaker_counted_are_asked_for_as_a_rate() -> None:
    sample = {"data": {"result": [{"metric": {}, "value": [0, "2"]}]}}
    breaker = BreakerState(state="breaker_state", failures="failures_total", labels={"service": "llm"})
    with HttpService({"/api/v1/query": (200, json.dumps(sample))}) as prometheus:
        found = _failures("p", HttpConnection.model_validate({"type": "http", "url": prometheus.url}), breaker, 300)

        (asked,) = [parse_qs(one.body.decode())["query"][0] for one in prometheus.asked]

    assert found == 2
    assert asked == 'sum(rate(failures_total{service="llm"}[300s]))'


@pytest.mark.hazard("test_watcher.DeepSeekAPIDown.d4")
@pytest.mark.parametrize("many", [1, 1000])
def test_calls_are_judged_by_the_share_that_fails_however_many_there_are(
    many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_metrics, "alive", lambda *_: None)
    counted = {"success": 9 * many, "error": many}
    samples = [{"metric": {"status": name}, "value": [0, str(value)]} for name, value in counted.items()]
    with HttpService({"/api/v1/query": (200, json.dumps({"data": {"result": samples}}))}) as prometheus:
        connection = HttpConnection.model_validate({"type": "http", "url": prometheus.url})
        whole, failing = provider_metrics._calls("p", connection, CallCounts(calls="calls_total"), 300)

    assert whole == 10 * many
    assert failing == pytest.approx(10)
