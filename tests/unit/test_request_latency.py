"""Slow requests: what is done for each cause, and what is refused or left to people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import HttpUrl, ValidationError

from nightshift.remediation.caches.objects import Counters, RedisLook
from nightshift.remediation.clients.request_quality import Service, expression
from nightshift.remediation.compose.objects import Container as Box
from nightshift.remediation.compose.objects import Image, ServiceLook, Usage
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.databases.query_planner import Statement
from nightshift.remediation.databases.statement_plans import StatementPlan, WholeRead
from nightshift.remediation.kubernetes.levels import LevelSample
from nightshift.remediation.kubernetes.objects import Container, Resources, Template, WorkloadKind
from nightshift.remediation.kubernetes.pod_load_planner import PodLoad
from nightshift.remediation.kubernetes.regression import RegressionDiagnosis
from nightshift.remediation.kubernetes.rollback import Release
from nightshift.remediation.kubernetes.saturation import Use
from nightshift.remediation.models import Plan, Target
from nightshift.remediation.open_beside import OpenBeside
from nightshift.remediation.requests.evidence import Answered, ComposeDeployed, RequestEvidence
from nightshift.remediation.requests.latency_evidence import (
    CacheSeen,
    ComposeLoad,
    LatencyEvidence,
    PartSeen,
    StatementsSeen,
    Steps,
)
from nightshift.remediation.requests.latency_findings import findings_of
from nightshift.remediation.requests.latency_planner import NOTHING_TO_DO, plan_slow_requests
from nightshift.remediation.requests.latency_policy import PartRule, RequestLatencyPolicy
from nightshift.remediation.requests.latency_verification import judge_latency
from nightshift.remediation.requests.slow_lines import slow_lines
from nightshift.remediation.requests.traces import Part, Repeated, SlowCall
from tests.unit.kubernetes_values import ago, deployment, pod, revision

WEB = Target(system="shop", path=("cluster", "main", "namespace", "shop", "deployment", "web"))
BACKEND = Target(system="shop", path=("compose", "main", "service", "backend"))
HISTORY = (revision(3, "new", made=900), revision(2, "good", made=90_000))
APP = Container(name="app", requests=Resources(cpu_millicores=250), limits=Resources(cpu_millicores=500))
ANSWERS = Answered(name="db", kind="database", answers=True, says="answers")


def policy(runs_on: str = "kubernetes", **more: Any) -> RequestLatencyPolicy:
    grow: dict[str, Any] = (
        {"cpu": {"cpu_factor": 2, "cpu_ceiling_millicores": 1000, "most_replicas": 6}}
        if runs_on == "kubernetes"
        else {"copies": {"ceiling": 3}}
    )
    values = {"prometheus": "metrics", "measure": {"kind": "latency", "at_most_seconds": 1}, "runs_on": runs_on}
    return RequestLatencyPolicy.model_validate({**values, "rollback": {}, "hold": 60, **grow, **more})


def load(used: int = 200, throttled: float | None = 0.0, limit: int = 500) -> PodLoad:
    container = replace(APP, limits=Resources(cpu_millicores=limit))
    template = Template(digest="new", labels={"app": "web"}, containers=(container,))
    return PodLoad(
        pod=pod(containers=(container,)),
        container=container,
        uses=(Use(at=0, amount=used),),
        throttled_percent=throttled,
        workload=deployment(template=template),
        left_on_node=4000,
    )


def slow(
    since: float | None = 800_000, *, value: float = 3, needs: Sequence[Answered] = (), **more: Any
) -> LatencyEvidence:
    began = None if since is None else ago(since)
    release = Release(workload=deployment(), revisions=HISTORY)
    deployed = RegressionDiagnosis(release=release, value=value, since=began)
    requests = RequestEvidence(name="web", value=value, since=began, deployed=deployed, dependencies=needs)
    values: dict[str, Any] = {"load": load(), "per_second": 20.0, "usual_per_second": 20.0, **more}
    return LatencyEvidence(requests=requests, **values)


def box(number: int = 1, **more: Any) -> Box:
    known = {"id": f"c{number}", "name": f"shop-backend-{number}", "service": "backend", "number": number}
    return Box(**{**known, "image": "web:1", "image_id": "i1", "state": "running", "created": 1.0, **more})


def slow_backend(*boxes: Box, cpus: float = 0.9, host_cpus: int = 8, **more: Any) -> LatencyEvidence:
    look = ServiceLook(service="backend", containers=boxes or (box(),), images=(Image(id="i1"),), tagged="i1")
    usages = {one.id: Usage(memory=2**20, memory_limit=2**30, cpus=cpus) for one in look.containers}
    seen = ComposeLoad(service=look, usages=usages, host_cpus=host_cpus, host_memory=2**34)
    deployed = ComposeDeployed(engine="main", look=look)
    requests = RequestEvidence(name="backend", value=3, since=ago(50), deployed=deployed)
    return LatencyEvidence(requests=requests, load=seen, **more)


def plan(evidence: LatencyEvidence, **more: Any) -> Plan:
    return plan_slow_requests(WEB, evidence, policy(**more))


def plan_backend(evidence: LatencyEvidence, **more: Any) -> Plan:
    return plan_slow_requests(BACKEND, evidence, policy("compose", **more))


def kinds(made: Plan) -> list[str]:
    return [action.kind for action in made.actions]


def refused(made: Plan) -> str:
    return " | ".join(f"{one.what}: {one.reason}" for one in made.refusals)


def proposed(made: Plan) -> str:
    return " | ".join(f"{one.title} {one.detail} {one.reason}" for one in made.proposals)


def calls(part: Part, share: float = 0.8) -> Steps:
    call = SlowCall(part=part, service="web", whom="select 1", traces=4, calls=9, seconds=4, share=share)
    return Steps(traces=5, calls=(call,))


def test_within_the_limit_there_is_nothing_to_do() -> None:
    assert plan(slow(value=1)).goal == NOTHING_TO_DO


def test_the_release_since_which_requests_are_slow_is_taken_back_and_nothing_else_is_done() -> None:
    made = plan(slow(800, load=load(throttled=90)))

    assert kinds(made) == ["rollout_undo"]
    assert "95% of requests took at most 3 s" in made.actions[0].reason


def test_a_service_held_back_at_its_limit_gets_a_larger_one_up_to_the_ceiling_and_then_more_pods() -> None:
    first = plan(slow(load=load(throttled=60)))
    then = plan(slow(load=load(throttled=60, limit=1000)))

    assert kinds(first) == ["set_resources"]
    assert "from 500m to 1000m" in first.actions[0].title
    assert kinds(then) == ["scale_workload"]
    assert "from 2 to 3 pods" in then.actions[0].title


def test_too_many_requests_get_more_pods_counted_from_what_there_is() -> None:
    made = plan(slow(per_second=60.0))

    assert kinds(made) == ["scale_workload"]
    assert "3.0 times as many requests as usual" in made.actions[0].reason
    assert "kubectl autoscale deployment/web" in proposed(made)
    assert "--min=2 --max=6" in proposed(made)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({}, "1.0 times as many requests as usual: that is no overload"),
        ({"usual_per_second": None}, "cannot be told whether there are more requests"),
        ({"per_second": 60.0, "steps": calls(Part.DATABASE)}, "requests wait for the database"),
        ({"per_second": 60.0, "steps": calls(Part.LLM)}, "requests wait for the LLM"),
    ],
)
def test_more_pods_are_refused_where_they_would_not_help(more: dict[str, Any], reason: str) -> None:
    made = plan(slow(**more))

    assert kinds(made) == []
    assert reason in refused(made)


@pytest.mark.hazard("trading_signals.HighAPILatency.r5.1")
def test_more_pods_must_leave_the_database_its_connections() -> None:
    def with_left(left: int | None) -> Plan:
        return plan(slow(per_second=60.0, database=StatementsSeen(connections_left=left)), connections_each=20)

    assert kinds(with_left(25)) == ["scale_workload"]
    assert "they would open 20 connections, and the database has 19 left" in refused(with_left(19))
    assert "not known" in refused(with_left(None))


def test_a_dependency_that_is_down_is_the_trouble_even_right_after_a_release() -> None:
    down = replace(ANSWERS, answers=False, says="does not answer", repaired_by="DatabaseDown")

    made = plan(slow(800, needs=[down], load=load(throttled=90)))

    assert kinds(made) == []
    assert "See the runbook DatabaseDown" in proposed(made)
    assert "Any change to web: db does not work" in refused(made)


@pytest.mark.hazard("trading_signals.HighAPILatency.r2.1")
def test_an_exhausted_pool_is_handed_to_its_runbook() -> None:
    full = replace(ANSWERS, full=True, says="40 of 40 connections in use", pool_repaired_by="ConnectionPoolExhausted")

    made = plan(slow(needs=[full], per_second=60.0))

    assert kinds(made) == []
    assert "See the runbook ConnectionPoolExhausted" in proposed(made)


def test_another_open_incident_that_wants_less_makes_it_a_persons_decision() -> None:
    made = plan(slow(per_second=60.0, opposed=[OpenBeside(12, "APIRateLimitExceeded")]))

    assert kinds(made) == []
    assert "incident 12 (APIRateLimitExceeded) is open and wants less" in refused(made)
    assert "Decide between the two: Scale web from 2 to 3 pods, or leave it" in proposed(made)


def test_a_release_is_taken_back_whatever_else_is_open() -> None:
    assert kinds(plan(slow(800, opposed=[OpenBeside(12, "Quota")]))) == ["rollout_undo"]


def test_slow_statements_are_shown_with_the_table_that_they_read_whole() -> None:
    statement = Statement(shape="select * from orders where customer = $1", calls=2, milliseconds=1600)
    read = WholeRead(table="public.orders", rows=20_000, filter="(customer = $1)", columns=("customer",))
    seen = StatementsSeen(
        statements=(statement,), plans=(StatementPlan(shape=statement.shape, cost=431, whole_reads=(read,)),)
    )

    made = plan(slow(database=seen), statements={"database": "db", "repaired_by": "SlowQueries"})

    assert kinds(made) == []
    assert "create index concurrently on public.orders (customer)" in proposed(made)
    assert "See the runbook SlowQueries" in proposed(made)
    assert "a statement takes 800 ms on average" in refused(made)


@pytest.mark.hazard("bybit_strategy_tester.SlowResponseTime.d3")
def test_one_query_for_each_row_becomes_a_ticket_with_its_trace() -> None:
    one = Repeated(
        trace="4bf9", part=Part.DATABASE, service="web", whom="select item", calls=40, traces=3, seconds=2
    )  # fmt: skip

    made = plan(slow(steps=Steps(traces=5, repeated=(one,))))

    assert "Open a ticket: 40 calls of the same kind within one request (N+1) trace 4bf9: select item" in proposed(made)


def test_a_slow_model_is_for_people_with_the_way_out() -> None:
    rule = PartRule(title="calls of the LLM", kind="llm", buckets="llm_seconds_bucket", slow_seconds=3)

    made = plan(slow(per_second=60.0, parts=[PartSeen(rule=rule, name="", seconds=7)]))

    assert kinds(made) == []
    assert "Use a faster model, or give calls of the LLM more time" in proposed(made)


def test_a_provider_that_takes_the_time_is_named_with_its_status_page() -> None:
    call = SlowCall(
        part=Part.SERVICE, service="web", whom="POST of api.openai.com", traces=5, calls=9, seconds=4, share=0.7
    )
    rule = {"connection": "jaeger", "status_pages": {"openai": "https://status.openai.com"}}

    made = plan(slow(per_second=60.0, steps=Steps(traces=5, calls=(call,))), traces=rule)

    assert kinds(made) == []
    assert "its status page: https://status.openai.com" in proposed(made)
    assert "See how POST of api.openai.com is" in proposed(made)


def cache(hits: int, misses: int, **more: int) -> CacheSeen:
    def counted(**values: int) -> Counters:
        return Counters(at=0.0, **{"hits": 0, "misses": 0, "evicted": 0, "expired": 0, **values})

    look = RedisLook(
        run_id="r",
        version="7",
        role="master",
        uptime=9000,
        loading=False,
        used=10,
        maxmemory=100,
        policy="allkeys-lru",
        persistent=False,
        counters=counted(hits=hits, misses=misses, **more),
        earlier=counted(),
    )
    return CacheSeen(look=look, time_to_live="600s")


@pytest.mark.hazard("bybit_strategy_tester.SlowResponseTime.r3.1", "octollm.HighLatency.r2.3")
def test_a_cache_that_misses_is_never_emptied() -> None:
    rule = {
        "redis": "cache", "stale_prefix": "cache:", "repaired_by": "LowCacheHitRate",
        "time_to_live": {"configmap": "web-config", "raise_to": "1800s"},
    }  # fmt: skip

    expired = proposed(plan(slow(cache=cache(100, 900, expired=800)), cache=rule))
    evicted = proposed(plan(slow(cache=cache(100, 900, evicted=800)), cache=rule))

    assert "CACHE_TTL 1800s, now 600s" in expired
    assert "the runbook LowCacheHitRate" in evicted
    for made in (expired, evicted):
        assert "remove the keys that begin with cache:, and no others" in made
        assert "redis-cli FLUSH" not in made


def test_busy_containers_get_half_as_many_again() -> None:
    made = plan_backend(slow_backend(box(1), box(2)))

    assert kinds(made) == ["scale_service"]
    assert "Run 3 containers of backend instead of 2" in made.actions[0].title


@pytest.mark.hazard("bybit_strategy_tester.SlowResponseTime.r2.1", "trading_signals.HighAPILatency.r5.1")
@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (slow_backend(box(host_ports=(8000,))), "port 8000 of the host leads to it"),
        (slow_backend(box(name="backend")), "its configuration names the container backend"),
        (slow_backend(box(1), box(2), box(3)), "3 is the ceiling of the policy"),
        (slow_backend(host_cpus=1), "the project uses 0.9 of 1 processors already"),
        (slow_backend(cpus=0.1), "cannot be told whether there are more requests than usual"),
        (slow_backend(box(1, state="exited")), "none of its containers works"),
    ],
)
def test_containers_that_cannot_be_more_stay_as_they_are_with_the_reason(
    evidence: LatencyEvidence, reason: str
) -> None:
    made = plan_backend(evidence)

    assert kinds(made) == []
    assert reason in refused(made)
    assert made.proposals


@pytest.mark.parametrize("stateful", [WorkloadKind.STATEFUL_SET, WorkloadKind.DAEMON_SET])
def test_what_keeps_state_is_not_scaled(stateful: WorkloadKind) -> None:
    seen = load()
    assert seen.workload is not None
    evidence = slow(per_second=60.0, load=replace(seen, workload=replace(seen.workload, kind=stateful)))

    assert kinds(plan(evidence)) == []


@pytest.mark.hazard("trading_signals.HighAPILatency.r5.1")
@given(
    value=st.floats(0, 100), throttled=st.floats(0, 100), used=st.integers(0, 2000), limit=st.integers(50, 4000),
    now=st.none() | st.floats(0.1, 1e6), usual=st.none() | st.floats(0.1, 1e6), left=st.none() | st.integers(0, 500),
    opposed=st.booleans(), waits=st.booleans(),
)  # fmt: skip
def test_no_plan_goes_above_the_ceilings_or_below_what_there_is(
    value: float, throttled: float, used: int, limit: int, now: float | None, usual: float | None,
    left: int | None, opposed: bool, waits: bool,
) -> None:  # fmt: skip
    evidence = slow(
        value=value,
        load=load(used, throttled, limit),
        per_second=now,
        usual_per_second=usual,
        database=StatementsSeen(connections_left=left),
        opposed=[OpenBeside(1, "Quota")] if opposed else [],
        steps=calls(Part.DATABASE) if waits else Steps(),
    )
    made = plan(evidence, connections_each=20)

    assert value > 1 or made.goal == NOTHING_TO_DO
    assert value <= 1 or made.actions or made.refusals or made.proposals
    for action in made.actions:
        assert not opposed
        if action.kind == "scale_workload":
            assert 2 < action.arguments["to_replicas"] <= 6  # type: ignore[operator]
            assert left is not None
            assert (action.arguments["to_replicas"] - 2) * 20 <= left  # type: ignore[operator]
            assert not waits
        else:
            assert limit < action.arguments["cpu_limit_millicores"] <= 1000  # type: ignore[operator]
    findings_of(evidence, policy())


def samples(*values: float) -> tuple[LevelSample, ...]:
    return tuple(LevelSample(at=30.0 * number, value=value) for number, value in enumerate(values))


def test_speed_that_was_bought_with_errors_or_the_last_connections_does_not_count() -> None:
    limits = policy(errors={"kind": "errors", "at_most_percent": 5})
    fast = samples(0.2, 0.2, 0.2)

    assert judge_latency(fast, limits, (1.0, 1.0), ()).healthy
    assert not judge_latency(samples(0.2, 3.0), limits, (1.0, 1.0), ()).healthy
    errors = judge_latency(fast, limits, (1.0, 30.0), ())
    assert not errors.healthy
    assert "30 % of requests fail now, 1 % did before" in errors.reason
    assert (
        "db has no connection left" in judge_latency(fast, limits, (None, None), [replace(ANSWERS, full=True)]).reason
    )


def asked(**measure: Any) -> str:
    connection = HttpConnection(type="http", url=HttpUrl("http://metrics"))
    limits = policy("compose", measure={"kind": "latency", "at_most_seconds": 5, "buckets": "b", **measure})
    return expression(Service("metrics", connection, "", "backend"), limits)


def test_the_same_is_asked_as_in_the_rule() -> None:
    assert asked() == 'histogram_quantile(0.95, sum by (le) (rate(b{service="backend"}[300s])))'
    assert asked(worst_by="route").startswith("max(histogram_quantile(0.95, sum by (le, route) (rate(b{")
    assert 'le=~"5|5.0"' in asked(worst_by="route", capped=True)
    assert "< 0.95) * 0 + 5.005" in asked(capped=True)


def test_a_quantile_above_the_largest_bucket_is_told_as_what_it_is() -> None:
    measure = policy(measure={"kind": "latency", "at_most_seconds": 5, "capped": True}).measure

    assert measure.shown(measure.beyond) == "more than 5% of requests took longer than 5 s"
    assert measure.shown(4.2) == "95% of requests took at most 4.2 s"


@pytest.mark.parametrize(
    ("runs_on", "wrong"), [("compose", {"cpu": {"most_replicas": 3}}), ("kubernetes", {"copies": {"ceiling": 2}})]
)
def test_each_platform_has_its_own_way_to_grow(runs_on: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="is about"):
        policy(runs_on, **wrong)


LOG = """
2026-03-01 INFO ready in 5000 ms
external_api bybit GET /v5 took 2.4s token=hunter2
external_api coingecko latency_ms=3100
external_api coingecko took 12 ms
external_api 1.2.3.4 9999999999s
"""


def test_lines_are_chosen_by_word_and_time_and_hide_credentials() -> None:
    found = slow_lines(LOG, ["External_API"], 1.0)

    assert [round(line.seconds, 1) for line in found] == [3.1, 2.4]
    assert "hunter2" not in str(found)
