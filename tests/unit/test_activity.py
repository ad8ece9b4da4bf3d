"""Nothing happens: when that is expected, what is started again, and what only people decide."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.remediation.activity.arguments import ExpireItems
from nightshift.remediation.activity.facts import (
    ActivityDiagnosis,
    LastEvent,
    ProducerSeen,
    QueueSeen,
    SourceSeen,
    SyntheticSeen,
)
from nightshift.remediation.activity.planner import plan_activity
from nightshift.remediation.activity.policy import ActivityStalledPolicy
from nightshift.remediation.activity.verification import judge_answers, judge_events
from nightshift.remediation.compose.arguments import RestartContainer
from nightshift.remediation.compose.objects import Container, ServiceLook
from nightshift.remediation.hours import Hours
from nightshift.remediation.http_probes import ProbeAnswer
from nightshift.remediation.kubernetes.arguments import RolloutRestart, RolloutUndo
from nightshift.remediation.kubernetes.levels import LevelSample
from nightshift.remediation.kubernetes.rollback import Release
from nightshift.remediation.models import Plan, Target
from nightshift.remediation.providers.facts import ProviderStatus
from tests.unit.kubernetes_values import ago, deployment, pod, revision

SIGNALS = Target(system="shop", path=("compose", "main", "service", "signal-generator"))
API = Target(system="shop", path=("cluster", "main", "namespace", "shop", "deployment", "api"))
QUEUE = {"database": "database", "table": "approvals", "older_than": "30m", "at_most": 5}
POLICY = ActivityStalledPolicy.model_validate(
    {
        "platform": "compose",
        "events": "trade signals",
        "limit": "10m",
        "looks": {
            "events": {"kind": "table", "database": "database", "table": "signals"},
            "database": "database",
            "source": {"probe": {"name": "signal source", "api": "source"}},
        },
        "repairs": {
            "backend": {"docker": "main", "service": "backend", "probe": {"name": "backend", "api": "backend"}},
            "queue": QUEUE,
            "fallback": "SIGNAL_SOURCE=fallback",
        },
    }
)
SEARCHES = ActivityStalledPolicy.model_validate(
    {
        "platform": "kubernetes",
        "events": "vector searches",
        "limit": "30m",
        "looks": {
            "events": {"kind": "counter", "prometheus": "metrics", "metric": "searches_total"},
            "hours": {"from_hour": 6, "to_hour": 22},
            "users": {"prometheus": "metrics", "expression": "users", "at_least": 1},
            "synthetic": {"api": "api", "path": "/similar", "body": {"query": "x"}},
        },
        "repairs": {"rollback": {"within": "1h"}, "code": "internal/api/decisions", "owner": "the API team"},
    }
)
QUIET = LastEvent(age=3600)


def container(state: str = "running", service: str = "signal-generator") -> Container:
    return Container(
        id="1" * 64,
        name=f"shop-{service}-1",
        service=service,
        number=1,
        image="shop:1",
        image_id="sha256:1",
        state=state,
    )


def signals(*, state: str = "running", last: LastEvent = QUIET, **more: Any) -> ActivityDiagnosis:
    """A signal generator, and no signal for an hour."""
    producer = ProducerSeen(service=ServiceLook(service="signal-generator", containers=(container(state),)))
    return ActivityDiagnosis(**{"last": last, "producer": producer, **more})


def searches(**more: Any) -> ActivityDiagnosis:
    """An API that runs, and no search."""
    release = Release(
        workload=deployment("api", revision=3),
        revisions=(revision(2, "old", made=90_000), revision(3, "new", made=600)),
    )
    values = {"last": LastEvent(), "users": 5.0, "began": ago(500), **more}
    return ActivityDiagnosis(producer=ProducerSeen(release=release, pods=(pod("api-1"),)), **values)


def plan(diagnosis: ActivityDiagnosis, policy: ActivityStalledPolicy = POLICY) -> Plan:
    return plan_activity(SIGNALS if policy.platform == "compose" else API, diagnosis, policy)


def nothing(made: Plan) -> bool:
    return not (made.actions or made.refusals or made.proposals)


ANSWERED = SyntheticSeen(status=200)


@pytest.mark.parametrize(
    ("diagnosis", "policy", "said"),
    [
        (signals(last=LastEvent(age=60)), POLICY, "The last of the trade signals is 1m old"),
        (searches(within_hours=False, users=0.0), SEARCHES, "outside of its hours, and nobody is there"),
        (searches(users=0.0, synthetic=ANSWERED), SEARCHES, "nobody is there to ask"),
    ],
)
def test_silence_that_is_over_or_expected_is_left_alone(
    diagnosis: ActivityDiagnosis, policy: ActivityStalledPolicy, said: str
) -> None:
    made = plan(diagnosis, policy)

    assert nothing(made)
    assert said in made.goal


@pytest.mark.parametrize(
    "diagnosis",
    [
        searches(within_hours=False, users=5.0, synthetic=ANSWERED),
        searches(within_hours=False, users=None, synthetic=ANSWERED),
        searches(users=0.0, synthetic=None),
        searches(users=0.0, synthetic=SyntheticSeen(status=500, why="was answered 500")),
    ],
)
def test_silence_is_not_expected_while_somebody_may_be_there_or_nothing_answers(diagnosis: ActivityDiagnosis) -> None:
    assert not nothing(plan(diagnosis, SEARCHES))


@pytest.mark.parametrize("state", ["exited", "dead", "restarting"])
def test_a_producer_that_is_down_is_started(state: str) -> None:
    (action,) = plan(signals(state=state)).actions

    assert (action.kind, action.asks) == (RestartContainer.KIND, "")


def test_one_that_runs_is_restarted_only_as_a_person_decides_and_once() -> None:
    (action,) = plan(signals()).actions
    assert "does it hang?" in action.asks

    again = plan(signals(restarted=True))
    assert again.actions == ()
    assert "that did not help" in again.refusals[0].reason


def test_without_its_database_nothing_is_restarted() -> None:
    made = plan(signals(state="exited", database="database did not answer."))

    assert made.actions == ()
    assert "the database does not work" in made.refusals[0].reason


def test_an_unknown_age_restarts_nothing() -> None:
    made = plan(signals(last=LastEvent(complaint="permission denied for table signals")))

    assert made.actions == ()
    assert "is not known: permission denied" in made.refusals[0].reason


def test_a_backend_that_does_not_answer_is_restarted_while_its_database_works() -> None:
    down: dict[str, Any] = {
        "backend": ServiceLook(service="backend", containers=(container(service="backend"),)),
        "backend_answer": ProbeAnswer(name="backend", complaint="answered 503"),
    }

    (action,) = plan(signals(**down)).actions

    assert "shop-backend-1" in action.title
    assert "backend answered 503" in action.reason


def test_a_source_that_is_down_is_the_vendors_and_its_fallback_a_persons() -> None:
    seen = SourceSeen(
        answer=ProbeAnswer(name="signal source", complaint="did not answer (ConnectError)"),
        vendor=ProviderStatus(indicator="major", description="Feed delayed"),
        calls=4,
        failures=4,
    )

    made = plan(signals(source=seen))

    assert made.actions == ()
    (proposal,) = made.proposals
    assert "Enable the fallback source" in proposal.title
    assert "its vendor says: Feed delayed" in proposal.reason
    assert "4 of 4 calls to it failed" in proposal.reason


@pytest.mark.hazard("trading_signals.SignalIngestionStopped.r4.1")
def test_old_items_expire_by_a_persons_word_and_too_many_are_refused() -> None:
    (action,) = plan(signals(queue=QueueSeen(waiting=9, stuck=("7", "8"), oldest_age=7200))).actions

    assert (action.kind, action.items, action.bound.amount) == (ExpireItems.KIND, ("7", "8"), 2)
    assert "None is approved" in action.asks
    refused = plan(signals(queue=QueueSeen(waiting=9, stuck=tuple("123456"))))
    assert refused.actions == ()
    assert "more than 5" in refused.refusals[0].reason


@pytest.mark.hazard("trading_signals.SignalIngestionStopped.r4.1")
@given(stuck=st.lists(st.text(min_size=1, max_size=5), max_size=8, unique=True), down=st.booleans())
def test_never_more_expires_than_the_policy_allows_and_never_without_a_person(stuck: list[str], down: bool) -> None:
    made = plan(signals(state="exited" if down else "running", queue=QueueSeen(waiting=9, stuck=tuple(stuck))))

    for action in made.actions:
        if action.kind == ExpireItems.KIND:
            assert action.asks
            assert action.bound.amount == len(action.items) <= 5


def test_a_request_that_fails_since_a_release_leads_back_as_a_person_decides() -> None:
    missing = SyntheticSeen(status=404, why="was answered 404")

    made = plan(searches(synthetic=missing), SEARCHES)

    (action,) = made.actions
    assert action.kind == RolloutUndo.KIND
    assert "Is it the release?" in action.asks
    assert "Nothing is registered under its path" in action.reason
    (ticket,) = made.proposals
    assert "the API team" in ticket.title
    assert "git log -- internal/api/decisions" in ticket.detail
    earlier = plan(searches(synthetic=missing, began=ago(7200)), SEARCHES)
    assert earlier.actions == ()
    assert earlier.proposals


def test_what_users_do_not_use_is_told_to_its_owner_and_a_pod_that_is_not_ready_is_restarted() -> None:
    told = plan(searches(synthetic=ANSWERED), SEARCHES)
    assert told.actions == ()
    assert "All that was looked at works" in told.proposals[0].reason

    seen = searches()
    sick = replace(seen, producer=replace(seen.producer, pods=(pod("api-1", ready=False),)))
    assert [action.kind for action in plan(sick, SEARCHES).actions] == [RolloutUndo.KIND]
    long_ago = replace(sick, began=ago(7200))
    assert [action.kind for action in plan(long_ago, SEARCHES).actions] == [RolloutRestart.KIND]
    paused = replace(sick.producer, release=Release(workload=deployment("api", paused=True)))
    assert plan(replace(long_ago, producer=paused), SEARCHES).actions == ()


def samples(*values: float) -> list[LevelSample]:
    return [LevelSample(at=60.0 * number, value=value) for number, value in enumerate(values)]


def test_events_count_when_the_last_one_stays_young_and_requests_when_they_stay_answered() -> None:
    assert judge_events(samples(30, 40, 50), POLICY).healthy
    assert not judge_events(samples(30, 40, float("inf")), POLICY).healthy
    assert judge_answers(samples(1, 0, 0, 0), SEARCHES).healthy
    assert not judge_answers(samples(0, 0, 1), SEARCHES).healthy


def test_hours_are_those_of_the_system() -> None:
    moment = datetime(2026, 3, 2, 5, 30, tzinfo=UTC)  # a Monday

    assert Hours(from_hour=6, to_hour=22).contain(moment, "Europe/Berlin")
    assert not Hours(from_hour=6, to_hour=22).contain(moment, "UTC")
