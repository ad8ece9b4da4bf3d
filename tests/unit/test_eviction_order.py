"""What a budget keeps waits its turn and never keeps the others."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.remediation.kubernetes.arguments import ListedPod
from nightshift.remediation.kubernetes.eviction_order import EvictionOrder


def listed(name: str, budget: str = "") -> ListedPod:
    return ListedPod(namespace="shop", name=name, uid=name, budget=budget)


def test_while_one_budget_is_spent_all_others_go() -> None:
    order = EvictionOrder([listed("a", "x"), listed("b", "x"), listed("c"), listed("d", "y")])
    first = order.next(0)
    assert first is not None
    order.blocked(first, 0, "spent")

    gone = []
    while (pod := order.next(0)) is not None:
        order.gone(pod)
        gone.append(pod.name)

    assert gone == ["c", "d"]
    assert [pod.name for pod in order.left] == ["a", "b"]
    assert order.wait(0) == 5
    assert order.refusals == {"shop/a#a": "spent", "shop/b#b": "spent"}


def test_within_a_budget_the_blocked_pod_lets_the_next_one_try() -> None:
    order = EvictionOrder([listed("a", "x"), listed("b", "x")])
    order.blocked(listed("a", "x"), 0, "spent")

    assert order.next(4.9) is None
    assert order.next(5) == listed("b", "x")


def test_patience_grows_and_the_server_may_ask_for_more() -> None:
    order = EvictionOrder([listed("a", "x")])
    waits = []
    for _ in range(6):
        order.blocked(listed("a", "x"), 0, "spent")
        waits.append(order.wait(0))
    order.blocked(listed("a", "x"), 0, "spent", retry_after=300)

    assert waits == [5, 10, 20, 40, 60, 60]
    assert order.wait(0) == 300


def test_when_one_may_go_the_next_is_tried_at_once() -> None:
    order = EvictionOrder([listed("a", "x"), listed("b", "x")])
    order.blocked(listed("a", "x"), 0, "spent")
    order.gone(listed("b", "x"))

    assert order.next(0) == listed("a", "x")


@given(
    st.lists(st.sampled_from(["", "x", "y"]), max_size=15),
    st.dictionaries(st.sampled_from(["x", "y"]), st.integers(0, 40), max_size=2),
)
@settings(max_examples=150)
def test_every_pod_goes_once_and_none_later_than_its_own_budget_demands(
    budgets: list[str], frees_at: dict[str, int]
) -> None:
    pods = [listed(str(number), budget) for number, budget in enumerate(budgets)]
    order, now, gone = EvictionOrder(pods), 0.0, dict[str, float]()
    while order.left:
        if (pod := order.next(now)) is None:
            assert order.wait(now) > 0
            now += order.wait(now)
        elif now < frees_at.get(pod.budget, 0):
            order.blocked(pod, now, "spent")
        else:
            order.gone(pod)
            assert pod.name not in gone
            gone[pod.name] = now

    assert set(gone) == {pod.name for pod in pods}
    for pod in pods:
        assert gone[pod.name] <= 2 * frees_at.get(pod.budget, 0) + 60 * (pod.budget in frees_at)
        if pod.budget not in frees_at:
            assert gone[pod.name] == 0
