"""Requests that fail: a bad release is taken back, causes are left to their runbooks, the rest is restarted once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from nightshift.remediation.clients.request_surroundings import around_pods
from nightshift.remediation.compose.arguments import RestartContainer, RollBackContainer
from nightshift.remediation.compose.objects import Container, Image, ServiceLook
from nightshift.remediation.compose.releases import why_not_the_release
from nightshift.remediation.kubernetes.arguments import RolloutRestart, RolloutUndo, ScaleWorkload
from nightshift.remediation.kubernetes.objects import Container as PodContainer
from nightshift.remediation.kubernetes.objects import ContainerStatus, Template
from nightshift.remediation.kubernetes.regression import RegressionDiagnosis
from nightshift.remediation.kubernetes.rollback import Release, RollbackPolicy
from nightshift.remediation.models import Plan, Risk, Target
from nightshift.remediation.requests.errors_planner import NOTHING_TO_DO, plan_error_repair
from nightshift.remediation.requests.errors_policy import HttpErrorRatePolicy
from nightshift.remediation.requests.evidence import Answered, ComposeDeployed, Pressure, RequestEvidence
from nightshift.remediation.requests.findings import findings_of
from nightshift.remediation.requests.groups import group_errors
from nightshift.remediation.requests.shares import Share
from tests.unit.kubernetes_values import NOW, ago, deployment, pod, revision

WEB = Target(system="shop", path=("compose", "main", "service", "web"))
IN_CLUSTER = Target(system="shop", path=("cluster", "main", "namespace", "shop", "deployment", "web"))
HOUR, DAY = 3600.0, 86400.0
REPAIRS = {"DatabaseDown": "nightshift run database-unavailable --system shop --target database"}


def container(made: float = 2 * HOUR, **more: Any) -> Container:
    values = {"id": "c1", "name": "shop-web-1", "service": "web", "number": 1, "image": "web:2", "image_id": "i2"}
    return Container(**{**values, "state": "running", "created": NOW.timestamp() - made, "started_at": "t", **more})


def look(*containers: Container, arrived: float = 3 * HOUR) -> ServiceLook:
    came = NOW.timestamp() - arrived
    images = (
        Image(id="i2", tags=("web:2",), created=came, arrived=came),
        Image(id="i1", tags=("web:1",), created=came - DAY),
    )
    return ServiceLook(service="web", containers=containers or (container(),), images=images, tagged="i2")


def policy(**more: Any) -> HttpErrorRatePolicy:
    values = {
        "runs_on": "compose",
        "prometheus": "metrics",
        "measure": {"kind": "errors", "at_most_percent": 5},
        "rollback": {},
        "restart": {},
        **more,
    }
    return HttpErrorRatePolicy.model_validate(values)


def evidence(service: ServiceLook | None = None, *, since: float | None = 600, **more: Any) -> RequestEvidence:
    deployed = ComposeDeployed(engine="main", look=service or look())
    values = {"name": "web", "value": 40.0, "since": None if since is None else ago(since), "deployed": deployed}
    return RequestEvidence(**{**values, **more})


def plan(seen: RequestEvidence | None = None, limits: HttpErrorRatePolicy | None = None, **more: Any) -> Plan:
    return plan_error_repair(WEB, seen or evidence(), limits or policy(), REPAIRS, **more)


def kinds(made: Plan) -> list[str]:
    return [action.kind for action in made.actions]


def answered(**more: Any) -> Answered:
    return Answered(**{"name": "database", "kind": "database", "answers": True, **more})


def test_within_the_limit_there_is_nothing_to_do() -> None:
    assert plan(evidence(value=5.0)).goal == NOTHING_TO_DO
    assert kinds(plan(evidence(value=5.0))) == []


def test_a_release_right_before_the_errors_is_taken_back_to_the_image_before() -> None:
    made = plan(evidence(look(container(900), arrived=1000)))

    assert kinds(made) == [RollBackContainer.KIND]
    assert made.actions[0].arguments["to_image_id"] == "i1"
    assert "hold further releases" in made.proposals[0].title


@pytest.mark.hazard("trading_signals.HighErrorRate.r6.1")
def test_a_release_that_changes_a_schema_is_taken_back_by_a_persons_word_only() -> None:
    migrates = container(900, labels={"nightshift.dev/migration": "true"})
    (action,) = plan(evidence(look(migrates, arrived=1000))).actions

    assert action.risk is Risk.HIGH
    assert "schema" in action.asks


def test_no_container_goes_back_where_one_of_them_cannot() -> None:
    first, other = container(900), container(900, id="c2", name="shop-web-2", number=2, image_id="i1")
    made = plan(evidence(look(first, other, arrived=1000)))

    assert made.actions == ()
    assert "no older image" in made.refusals[0].reason


@pytest.mark.hazard("bybit_strategy_tester.HighErrorRate.d5")
@pytest.mark.parametrize(
    ("service", "since", "why"),
    [
        (look(container(300), arrived=400), 600, "before its newest container was made"),
        (look(container(2 * DAY), arrived=2 * DAY), 600, "before the trouble"),
        (look(container(900), arrived=5 * DAY), 600, "something else changed"),
        (look(container(900, replaces="c0"), arrived=1000), 600, "Nightshift itself put its container"),
        (look(container(900), arrived=1000), None, "cannot be told when the trouble began"),
        (look(container(900, created=None), arrived=1000), 600, "cannot be told when its containers were made"),
        (look(container(900, image_id="gone"), arrived=1000), 600, "cannot be told when its image came"),
    ],
)
def test_what_is_not_proven_to_follow_from_the_release_does_not_blame_it(
    service: ServiceLook, since: float | None, why: str
) -> None:
    began = None if since is None else ago(since)

    assert why in why_not_the_release(service, began, RollbackPolicy())


def test_what_it_needs_goes_before_the_release_and_is_left_to_its_own_runbook() -> None:
    down = answered(answers=False, says="does not answer", repaired_by="DatabaseDown")
    made = plan(evidence(look(container(900), arrived=1000), dependencies=(down,)))

    assert made.actions == ()
    assert made.proposals[0].title.startswith("Left to the runbook DatabaseDown")
    assert made.proposals[0].detail == REPAIRS["DatabaseDown"]
    assert "database does not work" in made.refusals[0].reason


def test_a_part_of_the_service_that_fails_does_not_hide_the_release_that_broke_it() -> None:
    login = answered(name="login", kind="http", answers=False, itself=True, says="answers with 500")
    made = plan(evidence(look(container(900), arrived=1000), dependencies=(login,)))

    assert kinds(made) == [RollBackContainer.KIND]


def test_a_runbook_that_no_flow_answers_repairs_nothing() -> None:
    down = answered(answers=False, says="does not answer", repaired_by="NobodyYet")

    assert "Bring back what it needs" in plan(evidence(dependencies=(down,))).proposals[0].title


@pytest.mark.hazard("cryptofunk.HighErrorRate.r1.2", "octollm.HighErrorRate.r2.4", "octollm.HighErrorRate.r4.3")
@pytest.mark.parametrize(
    ("more", "title"),
    [
        ({"dependencies": (answered(full=True, says="100 of 100"),)}, "Free connections"),
        ({"pressure": Pressure(pool_percent=99.0)}, "Free connections"),
        ({"pressure": Pressure(killed=("web-1",))}, "Give it more memory"),
        ({"pressure": Pressure(memory_percent=97.0)}, "Give it more memory"),
        ({"dependencies": (answered(answers=False, external=True),)}, "Look at the provider's status page"),
        ({"dependencies": (answered(answers=None, limits_us=True, external=True),)}, "Lower the rate of requests"),
        ({"dependencies": (answered(answers=None, refuses_us=True),)}, "Check the credentials"),
        (
            {"shares": (Share(endpoint="/a", status="401", value=4), Share(endpoint="/b", status="500", value=1))},
            "Check how long login tokens live",
        ),
        ({"shares": (Share(endpoint="/a", status="422", value=4),)}, "See whether a new frontend asks"),
        ({"groups": group_errors(["ERROR 429 Too Many Requests from api.x"] * 3)}, "Lower the rate of requests"),
        ({"groups": group_errors(["ERROR column orders.price does not exist"])}, "Run the migrations that are pending"),
        ({"groups": group_errors(["ERROR QueuePool limit of size 5 overflow 10 reached"])}, "Free connections"),
    ],
)
def test_a_cause_that_a_restart_does_not_touch_is_told_and_nothing_is_restarted(
    more: dict[str, Any], title: str
) -> None:
    made = plan(evidence(look(container(DAY), arrived=DAY), **more))

    assert made.actions == ()
    assert made.proposals[0].title.startswith(title)
    assert any(refusal.what == "Restarting web" for refusal in made.refusals)


def test_a_full_disk_is_a_fact_that_no_older_release_changes() -> None:
    full = policy(disk={"host": "h", "mount": "/"})
    made = plan(evidence(look(container(900), arrived=1000), pressure=Pressure(disk_percent=99.0)), full)

    assert made.actions == ()
    assert "99.0 % full" in made.refusals[0].reason


def test_a_frontend_that_was_released_right_before_is_named() -> None:
    wrong = evidence(shares=(Share(endpoint="/a", status="404", value=4),), frontend_released=ago(700))

    assert "spa was released 1m 40s before it began" in plan(wrong, policy(frontend="spa")).proposals[0].reason


def test_without_a_cause_it_is_restarted_and_only_once() -> None:
    calm = evidence(look(container(DAY), arrived=DAY), groups=group_errors(["ERROR boom"]))

    assert kinds(plan(calm)) == [RestartContainer.KIND]
    assert kinds(plan(calm, restarted=True)) == []
    assert kinds(plan(calm, policy(restart=None))) == []
    assert kinds(plan(calm, policy(restart={"never": ["web"]}))) == []


def in_cluster(limits: HttpErrorRatePolicy | None = None, *, made: float = 900, **more: Any) -> Plan:
    workload = more.pop("workload", deployment())
    release = Release(workload=workload, revisions=(revision(3, "new", made=made), revision(2, "good", made=90_000)))
    deployed = RegressionDiagnosis(release=release, value=40.0, since=ago(800))
    seen = evidence(deployed=deployed, since=800, **more)
    return plan_error_repair(IN_CLUSTER, seen, limits or policy(runs_on="kubernetes"), REPAIRS)


def test_in_a_cluster_the_same_rules_hold() -> None:
    assert kinds(in_cluster()) == [RolloutUndo.KIND]
    assert kinds(in_cluster(made=40_000)) == [RolloutRestart.KIND]


def test_a_slow_service_that_it_asks_gets_more_pods_up_to_its_ceiling() -> None:
    slow = deployment(name="search", template=Template(digest="s", containers=(PodContainer(name="main"),)))
    needed = answered(name="search", kind="service", slow=True, says="3 s", workload=slow, ceiling=4)

    (action,) = in_cluster(made=40_000, dependencies=(needed,)).actions
    assert action.kind == ScaleWorkload.KIND
    assert action.arguments["to_replicas"] == min(4, slow.replicas + max(1, -(-slow.replicas // 2)))
    assert in_cluster(made=40_000, dependencies=(replace(needed, ceiling=None),)).actions == ()


def test_a_policy_that_cannot_be_meant_is_refused() -> None:
    for wrong in (
        {"dependencies": [{"kind": "service", "service": "search"}]},
        {"runs_on": "kubernetes", "frontend": "spa"},
        {"dependencies": [{"kind": "http", "connection": "x", "field": "status"}]},
        {"dependencies": [{"kind": "http", "connection": "x", "path": "no/slash"}]},
    ):
        with pytest.raises(ValidationError):
            policy(**wrong)


def test_findings_tell_the_commit_and_nothing_that_a_terminal_would_obey() -> None:
    labels = {"org.opencontainers.image.revision": "abc123\x1b[2J"}
    seen = evidence(
        look(container(labels=labels)),
        shares=(Share(endpoint="/<b>", status="500", value=2),),
        counted=(("failed logins", 0.5),),
        groups=group_errors(["ERROR password=hunter2 refused"]),
    )
    words = " ".join(f"{one.title} {one.detail}" for one in findings_of(seen, policy()))

    assert "commit abc123\\x1b" in words
    assert "hunter2" not in words
    assert "<b>" not in words
    assert "failed logins: 0.5 a second" in words


class _Pods:
    """Remembers what was asked of the logs of each pod."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def logs(self, pod: str, _namespace: str, _container: str, *, tail: int, since_seconds: float) -> str:
        assert since_seconds > 0
        self.asked.append((pod, tail))
        return "ERROR 429 Too Many Requests from api.x"


@pytest.mark.hazard("octollm.HighErrorRate.r4.1")
def test_the_log_of_each_pod_is_read_with_more_than_its_last_lines() -> None:
    cluster = _Pods()
    status = ContainerStatus(name="app", ready=True)
    both = [pod("web-1-a", statuses=(status,)), pod("web-1-b", statuses=(status,))]

    seen = around_pods(cluster, both, policy())  # type: ignore[arg-type]

    assert sorted(cluster.asked) == [("web-1-a", 1000), ("web-1-b", 1000)]
    assert len(seen.lines) == 2
