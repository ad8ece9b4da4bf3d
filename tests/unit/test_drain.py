"""Which pods a drain evicts: as kubectl would, but for what it does better."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.remediation.kubernetes.arguments import DrainNode
from nightshift.remediation.kubernetes.drain import DrainOptions, Fate, PodVerdict, Scene, verdicts
from nightshift.remediation.kubernetes.drain_plan import drain_action, refusals_of, verdicts_markdown
from nightshift.remediation.kubernetes.objects import (
    MIRROR_ANNOTATION,
    DisruptionBudget,
    PersistentVolume,
    Pod,
    Volume,
)
from nightshift.remediation.models import Risk, Target
from tests.unit.kubernetes_values import NOW, ago, budget, meta, node, owned_by, pod

TARGET = Target(system="shop", path=("cluster", "main", "node", "n1"))
DAEMON = owned_by("DaemonSet", "agent")


def verdict_of(pod: Pod, *budgets: DisruptionBudget, **options: bool) -> PodVerdict:
    return verdicts([pod], Scene(now=NOW, budgets=budgets, options=DrainOptions(**options)))[0]


def kubectl_deletes(pod: Pod, *, force: bool = False, delete_empty_dir: bool = False) -> bool | str:
    """What ``kubectl drain --ignore-daemonsets`` does: True deletes, False skips, a text refuses the whole drain.

    The filters of kubernetes/kubernetes staging/src/k8s.io/kubectl/pkg/drain/filters.go in their order; the first
    that does not say "delete" ends it (``GetPodsForDeletion``).
    """
    controller = pod.meta.controller
    if controller is not None and controller.kind == "DaemonSet" and not pod.is_finished:
        return False
    if pod.is_mirror:
        return False
    local = any(volume.kind == "emptyDir" for volume in pod.volumes)
    if local and not pod.is_finished and not delete_empty_dir:
        return "cannot delete Pods with local storage (use --delete-emptydir-data to override)"
    if not pod.is_finished and controller is None and not force:
        return "cannot delete Pods that declare no controller (use --force to override)"
    return True


@pytest.mark.hazard("octollm.NodeNotReady.r1.6", "octollm.NodeNotReady.r2.5")
@pytest.mark.parametrize(
    ("pod", "fate", "reason"),
    [
        (pod(), Fate.EVICT, "its ReplicaSet makes it again"),
        (pod(owners=DAEMON), Fate.STAYS, "its DaemonSet runs one on every node"),
        (pod(annotations={MIRROR_ANNOTATION: "x"}, owners=owned_by("Node", "n1")), Fate.STAYS, "static pod"),
        (pod(owners=()), Fate.REFUSED, "no controller would make it again"),
        (pod(empty_dir=True), Fate.REFUSED, "emptyDir scratch would be lost"),
        (pod(owners=(), phase="Succeeded", empty_dir=True), Fate.EVICT, "it has finished"),
        (pod(owners=DAEMON, phase="Failed"), Fate.EVICT, "it has finished"),
        (pod(deletion_at=ago(-10)), Fate.STAYS, "terminating already"),
        (pod(deletion_at=ago(3600)), Fate.STUCK, "nobody confirms that it ended"),
    ],
)
def test_every_pod_has_a_verdict_with_its_reason(pod: Pod, fate: Fate, reason: str) -> None:
    verdict = verdict_of(pod)

    assert verdict.fate is fate
    assert reason in verdict.reason


@pytest.mark.hazard("octollm.NodeNotReady.r1.6")
@pytest.mark.parametrize(
    ("pod", "option"), [(pod(owners=()), "evict_unmanaged"), (pod(empty_dir=True), "delete_empty_dir")]
)
def test_a_refusal_names_the_option_that_lifts_it(pod: Pod, option: str) -> None:
    assert option in str(verdict_of(pod).lifted_by)
    assert verdict_of(pod, **{option: True}).fate is Fate.EVICT


def test_a_pod_whose_daemon_set_is_gone_would_not_come_back() -> None:
    scene = Scene(now=NOW, daemon_sets=frozenset({("shop", "other")}))

    assert verdicts([pod(owners=DAEMON)], scene)[0].fate is Fate.REFUSED


def test_a_pod_whose_volume_exists_on_this_node_only_stays() -> None:
    claim = Volume(name="data", kind="persistentVolumeClaim", source="db")
    volume = PersistentVolume(meta=meta("pv-1", ""), claim="shop/db", nodes=("n1",))
    scene = Scene(now=NOW, volumes=[volume])

    verdict = verdicts([pod(volumes=(claim,))], scene)[0]

    assert verdict.fate is Fate.REFUSED
    assert "pv-1 exists on this node only" in verdict.reason


def test_two_budgets_on_one_pod_are_told_before_the_server_answers_500() -> None:
    verdict = verdict_of(pod(), budget("a"), budget("b"))

    assert verdict.fate is Fate.REFUSED
    assert "2 disruption budgets count it (a, b)" in verdict.reason


@pytest.mark.parametrize(
    ("pod", "budget", "fate"),
    [
        (pod(), budget(allowed=0, healthy=2), Fate.EVICT_LATER),
        (pod(), budget(allowed=0, desired=3), Fate.REFUSED),  # minAvailable is all of them: never
        (pod(), budget(allowed=0, desired=0, expected=0), Fate.REFUSED),  # pods of no controller
        (pod(), budget(allowed=1, generation=2), Fate.EVICT_LATER),  # "still being processed by the server"
        (pod(ready=False), budget(allowed=0, healthy=2), Fate.EVICT),  # as many healthy as wanted
        (pod(ready=False), budget(allowed=0, healthy=1), Fate.EVICT_LATER),
        (pod(ready=False), budget(allowed=0, healthy=0, unhealthy_eviction="AlwaysAllow"), Fate.EVICT),
        (pod(phase="Pending", ready=False), budget(allowed=0, healthy=0, desired=3), Fate.EVICT),
        (pod(phase="Succeeded"), budget(allowed=0, healthy=0, desired=3), Fate.EVICT),
        (pod(), budget(app="other", allowed=0), Fate.EVICT),
        (pod(), budget(namespace="elsewhere", allowed=0), Fate.EVICT),
    ],
)
def test_what_the_eviction_api_will_answer(pod: Pod, budget: DisruptionBudget, fate: Fate) -> None:
    assert verdict_of(pod, budget).fate is fate


def test_a_spent_budget_keeps_its_own_pods_behind_all_others() -> None:
    pods = [pod("web-a"), pod("web-b"), pod("zebra", labels={"app": "zebra"}, priority=9)]

    judged = verdicts(pods, Scene(now=NOW, budgets=[budget(allowed=1)]))

    assert [(v.pod.name, v.fate) for v in judged] == [
        ("web-a", Fate.EVICT),
        ("zebra", Fate.EVICT),
        ("web-b", Fate.EVICT_LATER),
    ]


def test_less_important_pods_go_first_from_a_node_that_serves() -> None:
    pods = [pod("high", priority=1000), pod("low", priority=-5), pod("normal")]

    assert [v.pod.name for v in verdicts(pods, Scene(now=NOW))] == ["low", "normal", "high"]


def test_what_matters_most_goes_first_from_a_node_that_serves_nobody() -> None:
    pods = [pod("high", priority=1000), pod("low", priority=-5), pod("normal")]

    assert [v.pod.name for v in verdicts(pods, Scene(now=NOW, urgent_first=True))] == ["high", "normal", "low"]


def test_the_action_names_every_pod_with_its_grace_period_and_takes_no_more_than_it_may() -> None:
    judged = verdicts([pod(f"web-{n}", grace_seconds=40) for n in range(5)], Scene(now=NOW))

    action = drain_action(TARGET, node(), judged, seconds=600, most=3, reason="because")

    assert action is not None
    arguments = DrainNode.from_json(action.arguments)
    assert [(p.name, p.grace_seconds) for p in arguments.pods] == [("web-0", 40), ("web-1", 40), ("web-2", 40)]
    assert action.items == ("shop/web-0#uid-shop-web-0", "shop/web-1#uid-shop-web-1", "shop/web-2#uid-shop-web-2")
    assert (action.risk, action.bound.amount, action.bound.unit) == (Risk.HIGH, 3, "pods")


def test_nothing_to_evict_is_no_action() -> None:
    judged = verdicts([pod(owners=DAEMON)], Scene(now=NOW))

    assert drain_action(TARGET, node(), judged, seconds=600, most=3, reason="") is None


def test_refusals_are_grouped_by_reason() -> None:
    judged = verdicts([pod("a", owners=()), pod("b", owners=()), pod("c", deletion_at=ago(900))], Scene(now=NOW))

    assert [refusal.what for refusal in refusals_of(judged)] == [
        "Evicting 2 pods: shop/a, shop/b",
        "Evicting 1 pod: shop/c",
    ]


def test_the_table_shows_every_pod_and_no_markup_of_strangers() -> None:
    table = verdicts_markdown(verdicts([pod("evil|<b>`"), pod("b", owners=DAEMON)], Scene(now=NOW)))

    assert table.count("\n| shop/") == 2
    assert "<b>" not in table
    assert "evil\\x7c" in table


controllers = st.sampled_from([(), owned_by("ReplicaSet", "rs"), DAEMON, owned_by("StatefulSet", "db")])
pods = st.builds(
    pod,
    name=st.uuids().map(str),
    owners=controllers,
    labels=st.sampled_from(["web", "db", "both"]).map(lambda app: {"app": app}),
    annotations=st.sampled_from([{}, {}, {}, {MIRROR_ANNOTATION: "x"}]),
    ready=st.booleans(),
    phase=st.sampled_from(["Running", "Running", "Pending", "Succeeded", "Failed"]),
    empty_dir=st.booleans(),
    deletion_at=st.sampled_from([None, None, ago(-5), ago(900)]),
    priority=st.integers(-2, 2),
)
budgets = st.builds(
    budget,
    name=st.sampled_from("abc"),
    app=st.sampled_from(["web", "db"]),
    allowed=st.integers(0, 3),
    healthy=st.integers(0, 4),
    desired=st.integers(0, 4),
    expected=st.integers(0, 4),
    observed=st.integers(0, 1),
)
options = st.builds(DrainOptions, delete_empty_dir=st.booleans(), evict_unmanaged=st.booleans())


@given(
    st.lists(pods, max_size=12, unique_by=lambda p: p.uid),
    st.lists(budgets, max_size=3, unique_by=lambda b: b.uid),
    options,
)
@settings(max_examples=150)
def test_nothing_is_evicted_that_kubectl_would_not_evict(
    pods: list[Pod], budgets: list[DisruptionBudget], options: DrainOptions
) -> None:
    judged = verdicts(pods, Scene(now=NOW, budgets=budgets, options=options))

    assert Counter(v.pod.uid for v in judged) == Counter(p.uid for p in pods)
    for verdict in judged:
        kubectl = kubectl_deletes(verdict.pod, force=options.evict_unmanaged, delete_empty_dir=options.delete_empty_dir)
        assert verdict.reason
        if verdict.goes:
            assert kubectl is True
        if kubectl is True and not verdict.goes:  # only for what kubectl would wait for: budgets, termination
            assert verdict.pod.is_terminating or "disruption budget" in verdict.reason
        if isinstance(kubectl, str):
            assert verdict.fate is Fate.REFUSED or verdict.pod.is_terminating


@given(st.lists(pods, max_size=12, unique_by=lambda p: p.uid), st.lists(budgets, max_size=3, unique_by=lambda b: b.uid))
@settings(max_examples=150)
def test_no_budget_is_asked_for_more_than_it_allows(pods: list[Pod], budgets: list[DisruptionBudget]) -> None:
    judged = verdicts(pods, Scene(now=NOW, budgets=budgets))

    for one in budgets:
        taken = [v for v in judged if v.fate is Fate.EVICT and v.budget == one.name and one.covers(v.pod)]
        assert len(taken) <= one.disruptions_allowed
        assert all(sum(other.covers(v.pod) for other in budgets) == 1 for v in taken)
