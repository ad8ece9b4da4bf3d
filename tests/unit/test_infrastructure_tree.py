"""The decision tree for infrastructure: each of its ways is taken, and the report says which and why."""

from __future__ import annotations

import pytest

from nightshift.remediation.kubernetes.infrastructure_tree import (
    InfrastructureTree,
    after_cleaning_up,
    walk,
    why_this_way,
)
from nightshift.remediation.kubernetes.node_diagnosis import NodeDiagnosis
from nightshift.remediation.kubernetes.node_planner import plan_node_repair
from nightshift.remediation.kubernetes.node_policy import NodeNotReadyPolicy
from nightshift.remediation.kubernetes.objects import Condition
from nightshift.remediation.models import Target, Verdict
from tests.unit.kubernetes_values import NOW, ago, node

TREE = InfrastructureTree(several=("engineering lead",), many=("VP", "GCP Support"), replacement=("on-call engineer",))
TARGET = Target(system="shop", path=("cluster", "main", "node", "n0"))
SHORT = node("n0", conditions=(Condition(type="MemoryPressure", status="True", since=ago(400)),))


def seen(broken: int, well: int, **more: object) -> NodeDiagnosis:
    nodes = [node(f"n{at}", ready="Unknown") for at in range(broken)]
    nodes += [node(f"n{at}") for at in range(broken, broken + well)]
    return NodeDiagnosis(node=nodes[0], nodes=nodes, now=NOW, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("diagnosis", "way"),
    [
        (seen(1, 4), "1 of 5 nodes not ready, 20 % → a single node: cordon it, drain it, replace it"),
        (seen(1, 0), "1 of 1 node not ready, 100 % → a single node: cordon it, drain it, replace it"),
        (seen(2, 8), "2 of 10 nodes not ready, 20 %; not more than 30 % → call engineering lead"),
        (seen(3, 7), "3 of 10 nodes not ready, 30 %; not more than 30 % → call engineering lead"),
        (seen(4, 6), "4 of 10 nodes not ready, 40 %; more than 30 % → critical: call VP and GCP Support"),
        (seen(0, 3), "0 of 3 nodes not ready, 0 %; no pressure on disk or memory → none of the tree's cases"),
    ],
)
def test_each_number_of_broken_nodes_has_its_way(diagnosis: NodeDiagnosis, way: str) -> None:
    assert walk(diagnosis, TREE).said == way
    assert why_this_way(diagnosis, TREE)[0].detail == way


def test_a_shortage_ends_with_whether_moving_pods_resolved_it() -> None:
    before = NodeDiagnosis(node=SHORT, nodes=(SHORT, node("n1")), now=NOW)
    resolved, not_resolved = (
        after_cleaning_up(Verdict(healthy=healthy, reason="So it is."), before, TREE).reason
        for healthy in (True, False)
    )

    assert "short of memory → move pods off it and watch" in walk(before, TREE).said.replace("the node is ", "")
    assert resolved == "So it is. That resolved its shortage of memory."
    assert not_resolved.endswith("call on-call engineer to replace it.")


def test_a_node_that_was_not_ready_has_no_shortage_to_clean_up() -> None:
    verdict = Verdict(healthy=False, reason="It is still away.")

    assert after_cleaning_up(verdict, seen(1, 4), TREE) == verdict
    assert after_cleaning_up(verdict, seen(1, 4), None) == verdict


def test_the_page_about_several_nodes_says_whom_the_tree_calls() -> None:
    plan = plan_node_repair(TARGET, seen(4, 6), NodeNotReadyPolicy(tree=TREE))

    assert plan.actions == ()
    assert "By the decision tree: critical: call VP and GCP Support" in plan.refusals[0].reason
    assert why_this_way(seen(4, 6), None) == ()
