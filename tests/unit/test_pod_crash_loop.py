"""Why a pod crashes is told apart, what it needs comes first, and only what is known to help is done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.remediation.kubernetes.arguments import DeletePod, RolloutRestart, RolloutUndo, SetResources
from nightshift.remediation.kubernetes.claim_diagnosis import ClaimDiagnosis
from nightshift.remediation.kubernetes.crash_cause import Cause, explain
from nightshift.remediation.kubernetes.crash_diagnosis import CrashDiagnosis, Dependency, Reference, shown
from nightshift.remediation.kubernetes.crash_findings import evidence_markdown, findings_of, in_words
from nightshift.remediation.kubernetes.crash_planner import NOTHING_TO_DO, plan_crash_repair
from nightshift.remediation.kubernetes.crash_policy import MemoryPolicy, PodCrashLoopPolicy
from nightshift.remediation.kubernetes.objects import (
    Claim,
    Container,
    ContainerStatus,
    Event,
    Pod,
    Resources,
    Termination,
    WorkloadKind,
)
from nightshift.remediation.kubernetes.pods_verification import PodsSample, judge
from nightshift.remediation.kubernetes.rollback import Release, RollbackPolicy
from nightshift.remediation.models import Plan, Risk, Target
from tests.unit.kubernetes_values import NOW, ago, deployment, meta, node, pod, revision, template

TARGET = Target(system="shop", path=("cluster", "main", "namespace", "shop", "pod", "web-1-a"))
MIB = 2**20
POLICY = PodCrashLoopPolicy(
    memory=MemoryPolicy(ceiling=1024 * MIB),
    rollback=RollbackPolicy(),
    dependencies=("db",),
    restart_dependencies=True,
)
RELEASE = Release(workload=deployment(), revisions=(revision(3, "new", made=600), revision(2, "good", made=90_000)))
APP = Container(name="app", image="shop/web:2", limits=Resources(memory_bytes=512 * MIB))


def crashed(reason: str = "Error", code: int = 1, message: str = "") -> ContainerStatus:
    ended = Termination(exit_code=code, reason=reason, message=message)
    return ContainerStatus(name="app", restarts=7, waiting_reason="CrashLoopBackOff", last_termination=ended)


def waiting(reason: str, message: str = "") -> ContainerStatus:
    return ContainerStatus(name="app", image="shop/web:2", waiting_reason=reason, waiting_message=message)


def said(*lines: str) -> dict[str, Any]:
    return {"logs": {"app": "\n".join(lines)}}


def event(reason: str, message: str = "", **more: Any) -> Event:
    return Event(meta=meta(reason), type="Warning", reason=reason, message=message, **more)


def seen(status: ContainerStatus | None = None, /, **more: Any) -> CrashDiagnosis:
    this: Pod = more.pop("pod", pod(ready=False, statuses=(status or crashed(),), containers=(APP,)))
    values: dict[str, Any] = {"release": RELEASE, "crashing_since": ago(500), "node": node(), "now": NOW}
    return CrashDiagnosis(pod=this, **{**values, **more})


def plan(diagnosis: CrashDiagnosis, **policy: Any) -> Plan:
    return plan_crash_repair(TARGET, diagnosis, POLICY.model_copy(update=policy))


def kinds(plan: Plan) -> list[str]:
    return [action.kind for action in plan.actions]


PANIC = ("panic: runtime error: index out of range [3] with length 3", "goroutine 1 [running]:", "main.main()")
REFUSED = "dial tcp 10.0.0.7:5432: connect: connection refused"


@pytest.mark.parametrize(
    ("diagnosis", "cause"),
    [
        (seen(node=node(ready="Unknown"), **said(*PANIC)), Cause.NODE),
        (seen(crashing_on_node=3), Cause.NODE),
        (seen(crashing_on_node=3, crashing_elsewhere=2), Cause.UNKNOWN),
        (seen(waiting("ImagePullBackOff", "manifest unknown")), Cause.IMAGE),
        (seen(waiting("InvalidImageName")), Cause.IMAGE),
        (seen(waiting("CreateContainerConfigError", 'configmap "web-config" not found')), Cause.CONFIGURATION),
        (
            seen(waiting("CreateContainerConfigError", "couldn't find key URL in ConfigMap shop/web")),
            Cause.CONFIGURATION,
        ),
        (
            seen(waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root")),
            Cause.PERMISSION,
        ),
        (seen(waiting("RunContainerError", 'exec: "serve": executable file not found in $PATH')), Cause.CONFIGURATION),
        (seen(crashed("StartError", 128, "exec: permission denied")), Cause.PERMISSION),
        (
            seen(waiting("ContainerCreating"), events=[event("FailedMount", "timed out waiting for the condition")]),
            Cause.MOUNT,
        ),
        (
            seen(waiting("ContainerCreating"), events=[event("FailedMount", 'secret "tls" not found')]),
            Cause.CONFIGURATION,
        ),
        (seen(claims=[Claim(meta=meta("data"), phase="Lost")]), Cause.MOUNT),
        (seen(references=[Reference(kind="claim", name="data", exists=False)]), Cause.MOUNT),
        (seen(crashed("OOMKilled", 137)), Cause.MEMORY),
        (seen(crashed("Error", 137), events=[event("OOMKilling")]), Cause.MEMORY),
        (seen(crashed("Error", 137), events=[event("Unhealthy", "Liveness probe failed: 500")]), Cause.PROBE),
        (
            seen(crashed("Error", 1), events=[event("Unhealthy", "Liveness probe failed: 500")], **said(*PANIC)),
            Cause.PANIC,
        ),
        (seen(**said(*PANIC)), Cause.PANIC),
        (seen(**said(REFUSED)), Cause.DEPENDENCY),
        (seen(**said(f"panic: {REFUSED}", *PANIC[1:])), Cause.DEPENDENCY),
        (seen(**said(REFUSED, *["retrying"] * 30, "connected", *PANIC)), Cause.PANIC),
        (seen(**said(*PANIC, *["  at somewhere"] * 30)), Cause.PANIC),
        (seen(**said("Traceback (most recent call last):", "KeyError: 'DATABASE_URL'")), Cause.CONFIGURATION),
        (seen(**said("PermissionError: [Errno 13] Permission denied: '/data'")), Cause.PERMISSION),
        (seen(**said("java.lang.OutOfMemoryError: Java heap space")), Cause.HEAP),
        (seen(crashed(message="fatal error: all goroutines are asleep")), Cause.PANIC),
        (seen(dependencies=[Dependency(service="db", ready_endpoints=0)]), Cause.DEPENDENCY),
        (seen(crashed("Completed", 0)), Cause.UNKNOWN),
    ],
)
def test_causes_are_told_apart(diagnosis: CrashDiagnosis, cause: Cause) -> None:
    assert explain(diagnosis).cause is cause


def test_when_its_node_is_down_nothing_is_done_about_the_pod() -> None:
    made = plan(seen(crashed("OOMKilled", 137), node=node(ready="Unknown")))

    assert made.actions == ()
    assert "the node is the trouble" in made.refusals[0].reason
    handed = made.proposals[0].hand_over
    assert handed is not None
    assert (handed.flows, handed.place) == (("node-not-ready",), {"cluster": "main", "node": "n1"})


def test_a_pending_claim_is_left_to_its_own_runbook_and_a_lost_one_to_people() -> None:
    pending, lost = (Claim(meta=meta("data"), phase=phase) for phase in ("Pending", "Lost"))
    mounted = [one.hand_over for one in plan(waiting_for(pending)).proposals]
    gone = [one.hand_over for one in plan(waiting_for(lost)).proposals]

    assert mounted[0] is not None
    assert (mounted[0].flows, mounted[0].place) == (
        ("volume-claim-pending",),
        {"cluster": "main", "namespace": "shop", "claim": "data"},
    )
    assert gone == [None]


def waiting_for(claim: Claim) -> CrashDiagnosis:
    return seen(claims=[claim], unbound=[ClaimDiagnosis(claim=claim, now=NOW)])


def test_a_pod_that_runs_is_nothing_to_do() -> None:
    fine = pod(statuses=(ContainerStatus(name="app", ready=True, running_since=ago(900)),))

    made = plan(seen(pod=fine))

    assert (made.goal, made.actions, made.refusals, made.proposals) == (NOTHING_TO_DO, (), (), ())


@pytest.mark.hazard("octollm.PodCrashLoopBackOff.r2.2")
def test_killed_for_memory_the_limit_is_raised_by_the_factor() -> None:
    (action,) = plan(seen(crashed("OOMKilled", 137))).actions

    arguments = SetResources.from_json(action.arguments)
    assert (arguments.container, arguments.was_memory_limit_bytes) == ("app", 512 * MIB)
    assert arguments.memory_limit_bytes == 768 * MIB
    assert arguments.memory_request_bytes is None
    assert action.risk is Risk.MEDIUM


def test_a_guaranteed_pod_stays_guaranteed() -> None:
    same = Resources(memory_bytes=512 * MIB)
    release = replace(RELEASE, workload=deployment(template=template(requests=same)))

    (action,) = plan(seen(crashed("OOMKilled", 137), release=release)).actions

    assert SetResources.from_json(action.arguments).memory_request_bytes == 768 * MIB


def test_a_database_is_not_resized_without_a_person() -> None:
    release = Release(workload=deployment(kind=WorkloadKind.STATEFUL_SET))

    assert plan(seen(crashed("OOMKilled", 137), release=release)).risk is Risk.HIGH


@pytest.mark.hazard("octollm.PodCrashLoopBackOff.r2.2")
@pytest.mark.parametrize(
    ("more", "policy", "reason"),
    [
        ({}, {"memory": None}, "the policy allows no larger limit"),
        ({}, {"memory": MemoryPolicy(ceiling=512 * MIB)}, "the ceiling is 512.0 MiB"),
        ({}, {"memory": MemoryPolicy(ceiling=100 * MIB)}, "the ceiling is 100.0 MiB"),
        ({"kills_last_hour": 4}, {}, "4 kills within an hour: it may leak"),
        ({"memory_left_on_node": 10 * MIB}, {}, "its node has only 10.0 MiB left"),
        ({"release": None}, {}, "no workload that can be changed"),
        (
            {"release": Release(workload=deployment(template=template(limits=Resources(memory_bytes=900 * MIB))))},
            {},
            "its workload allows 900.0 MiB already",
        ),
    ],
)
def test_when_no_limit_is_raised(more: dict[str, Any], policy: dict[str, Any], reason: str) -> None:
    made = plan(seen(crashed("OOMKilled", 137), **more), **{"rollback": None, **policy})

    assert made.actions == ()
    assert reason in made.refusals[0].reason


@pytest.mark.parametrize(
    "diagnosis", [seen(**said(*PANIC)), seen(waiting("ErrImagePull")), seen(crashed("Completed", 0))]
)
def test_what_a_release_brought_is_taken_back(diagnosis: CrashDiagnosis) -> None:
    assert kinds(plan(diagnosis)) == [RolloutUndo.KIND]


def test_what_began_before_the_release_is_named_for_people() -> None:
    made = plan(seen(**said(*PANIC), crashing_since=ago(5000)))

    assert made.actions == ()
    assert "before the newest release" in made.refusals[0].reason
    assert "Open a ticket with these last words" in made.proposals[0].title


@pytest.mark.hazard("octollm.PodCrashLoopBackOff.r3.2")
def test_no_tag_is_ever_guessed() -> None:
    made = plan(seen(waiting("ErrImagePull", "not found"), crashing_since=ago(5000)))

    assert made.actions == ()
    assert "Check that the image exists and may be pulled: shop/web:2" in made.proposals[0].title


def needs(ready: int | None, **more: Any) -> CrashDiagnosis:
    return seen(dependencies=[Dependency(service="db", ready_endpoints=ready, **more)], **said(REFUSED))


def test_a_dependency_that_is_down_is_restarted_before_the_pod_is_touched() -> None:
    restart, again = plan(needs(0, workload=deployment("db"))).actions

    assert RolloutRestart.from_json(restart.arguments).name == "db"
    assert DeletePod.from_json(again.arguments).needs_service == "db"


def test_a_dependency_that_keeps_state_is_left_to_a_person() -> None:
    made = plan(needs(0, workload=deployment("db", kind=WorkloadKind.STATEFUL_SET)))

    assert made.actions == ()
    assert made.refusals[0].reason == "it keeps state"
    assert "describe statefulset db" in made.proposals[0].title


@pytest.mark.parametrize("more", [{}, {"workload": deployment("db", replicas=0)}])
def test_a_dependency_that_was_switched_off_is_not_switched_on(more: dict[str, Any]) -> None:
    assert plan(needs(0, **more)).actions == ()


def test_once_its_dependency_answers_again_the_pod_need_not_wait() -> None:
    (action,) = plan(needs(2)).actions
    assert not DeletePod.from_json(action.arguments).needs_service

    assert DeletePod.from_json(action.arguments).pod.name == "web-1-a"


@pytest.mark.hazard("octollm.PodCrashLoopBackOff.r1.5")
def test_a_pod_that_nobody_makes_again_is_not_deleted() -> None:
    lonely = pod(ready=False, owners=(), statuses=(crashed(),))

    assert plan(replace(needs(2), pod=lonely, release=None)).actions == ()


@pytest.mark.parametrize(
    ("line", "shown_as"),
    [
        ("postgres://app:hunter2@db/shop", "postgres\\x3a//…@db/shop"),
        ("password=hunter2 user=x", "password=… user=x"),
        ("Authorization: Bearer abc.def", "Authorization: …"),
        ('{"api_key": "abc"}', '\\x7b"api_key": …"\\x7d'),
        ("\x1b[31mred|<b>", "\\x1b\\x5b31mred\\x7c\\x3cb\\x3e"),
    ],
)
def test_what_a_program_said_is_shown_without_credentials_and_markup(line: str, shown_as: str) -> None:
    assert shown(line) == shown_as


def test_findings_name_the_cause_first() -> None:
    diagnosis = seen(**said("password=hunter2", *PANIC), events=[event("BackOff", "back-off `x`", count=9)])
    found = findings_of(diagnosis, explain(diagnosis))

    assert found[0].title == "Cause: the program fails by itself"
    assert in_words(diagnosis) == "web-1-a not ready, app: CrashLoopBackOff, 7 restarts, ended with code 1 (Error)"
    evidence = evidence_markdown(diagnosis)
    assert "hunter2" not in evidence
    assert "| BackOff | 9 | back-off \\x60x\\x60 |" in evidence


@pytest.mark.hazard("octollm.PodCrashLoopBackOff.d7")
def test_findings_name_variables_but_never_show_one_and_say_why_a_claim_has_no_volume() -> None:
    container = replace(APP, env=("DATABASE_URL", "<b>"), env_from=("secret/db",))
    claim = Claim(meta=meta("data"), phase="Pending", storage_class="gone")
    said = Event(meta=meta("e"), reason="ProvisioningFailed", message="no `gone`")
    diagnosis = seen(
        pod=pod(ready=False, statuses=(crashed(),), containers=(container,)),
        unbound=[ClaimDiagnosis(claim=claim, events=[said], now=NOW)],
    )
    found = {one.title: one.detail for one in findings_of(diagnosis, explain(diagnosis))}

    environment = found["Environment of app: 2 variables, 1 source"]
    assert environment == "DATABASE_URL, \\x3cb\\x3e, secret/db"
    assert found["data is Pending"].endswith("of gone, which does not exist")
    assert found["Event ProvisioningFailed"] == "no \\x60gone\\x60"


hostile = st.sampled_from(["", "x" * 70_000, "\x00\n" * 5000, *PANIC, REFUSED, "a=" * 3000, "KeyError: '", "//@" * 900])
statuses = st.sampled_from(
    [crashed(), crashed("OOMKilled", 137), waiting("ErrImagePull", "<b>"), waiting("ContainerCreating")]
)


@given(statuses, st.lists(hostile, max_size=4), st.integers(0, 9), st.booleans())
@settings(max_examples=80)
def test_whatever_a_program_says_the_plan_stays_within_its_bounds(
    status: ContainerStatus, lines: list[str], kills: int, node_is_ready: bool
) -> None:
    there = node(ready="True" if node_is_ready else "False")
    made = plan(seen(status, node=there, kills_last_hour=kills, **said(*lines)))

    assert len(made.actions) <= 1
    assert not (made.actions and not node_is_ready)
    assert made.actions or made.refusals or made.proposals
    for action in made.actions:
        if action.kind == SetResources.KIND:
            limit = SetResources.from_json(action.arguments).memory_limit_bytes
            assert limit is not None
            assert 512 * MIB < limit <= 1024 * MIB
            assert kills <= 3
    for proposal in made.proposals:
        assert not set("<>`|\x00") & set(proposal.title + proposal.detail)


def sample(at: float, *pods: Pod, **more: Any) -> PodsSample:
    return PodsSample(at=at, pods=pods, workload=deployment(**more))


def running(restarts: int = 7, name: str = "web-1-a", **more: Any) -> Pod:
    return pod(name, statuses=(ContainerStatus(name="app", restarts=restarts),), **more)


@pytest.mark.parametrize(
    ("samples", "healthy", "inconclusive", "words"),
    [
        ([], False, True, "not looked at"),
        ([sample(0, running()), sample(600, running())], True, False, "1 pod ready, and none restarted for 10m"),
        ([sample(0, running()), sample(300, running())], False, True, "for 5m only"),
        ([sample(0, running()), sample(300, running(8)), sample(650, running(8))], False, False, "for 5m 50s only"),
        ([sample(0, running()), sample(700, running(ready=False))], False, False, "1 pod not ready: web-1-a"),
        ([sample(0, running()), sample(700, running(), available=1)], False, False, "1 of 2 pods are available"),
        ([sample(0, running()), sample(700, running(0, "web-2-b"))], True, False, "1 pod ready"),
        ([sample(0, running()), sample(700, running(2, "web-2-b"))], False, False, "0.0s only"),
        ([sample(0)], False, False, "There is no pod"),
    ],
)
def test_repaired_means_ready_and_not_restarted_for_long_enough(
    samples: list[PodsSample], healthy: bool, inconclusive: bool, words: str
) -> None:
    verdict = judge(samples, 600)

    assert (verdict.healthy, verdict.inconclusive) == (healthy, inconclusive)
    assert words in verdict.reason


@pytest.mark.hazard("octollm.PodCrashLoopBackOff.d1")
def test_the_container_that_crashes_is_found_wherever_it_stands_in_its_pod() -> None:
    calm = ContainerStatus(name="sidecar", ready=True)
    beside = Container(name="sidecar")
    both = pod(ready=False, statuses=(calm, crashed("OOMKilled", 137)), containers=(beside, APP))

    assert explain(seen(pod=both)).container == "app"
