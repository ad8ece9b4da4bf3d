"""What a namespace lets its pods ask for, compared before a workload asks for more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.remediation.kubernetes.namespace_rules import Growth, Left, NamespaceRules, why_refused
from nightshift.remediation.kubernetes.objects import Container, LimitRange, Metadata, Resources

MIB = 2**20


def container(memory: int | None, *, request: int | None = None, name: str = "app", is_init: bool = False) -> Container:
    limits, requests = Resources(memory_bytes=memory), Resources(memory_bytes=request)
    return Container(name=name, limits=limits, requests=requests, is_init=is_init)


def growth(before: int, after: int, *beside: Container, pods: int = 2, surges: bool = False) -> Growth:
    old, new = (container(before), *beside), (container(after), *beside)
    return Growth(before=old, after=new, pods_before=pods, pods_after=pods, surges=surges)


def ranged(containers: int | None = None, pods: int | None = None) -> NamespaceRules:
    found = LimitRange(
        meta=Metadata(name="most", namespace="shop", uid="u"),
        of_containers=Resources(memory_bytes=containers),
        of_pods=Resources(memory_bytes=pods),
    )
    return NamespaceRules(limits=(found,))


def leaving(name: str, amount: int) -> NamespaceRules:
    return NamespaceRules(left=(Left(name="team", amounts={name: amount}),))


def test_a_limit_range_judges_each_container_that_grows_and_all_of_a_pod() -> None:
    sidecar, starter = container(300, name="sidecar"), container(900, name="starter", is_init=True)

    assert why_refused(ranged(containers=512), growth(256, 512)) == ""
    assert "a container at most 512 B of memory, not 513 B" in why_refused(ranged(containers=512), growth(256, 513))
    assert why_refused(ranged(containers=256), growth(128, 256, sidecar)) == "", "the sidecar was there before"
    assert "a pod at most 512 B" in why_refused(ranged(pods=512), growth(128, 256, sidecar))
    assert why_refused(ranged(pods=556), growth(128, 256, sidecar, starter)) == "", "starters have ended by then"


@pytest.mark.parametrize(("surges", "wanted"), [(False, 2 * 128), (True, 2 * 128 + 256)])
def test_a_quota_must_hold_all_new_pods_and_the_last_old_one_beside_them(surges: bool, wanted: int) -> None:
    seen = growth(256, 384, surges=surges)

    assert why_refused(leaving("limits.memory", wanted), seen) == ""
    assert f"will ask for {wanted} B more" in why_refused(leaving("limits.memory", wanted - 1), seen)


def test_more_pods_count_with_all_that_they_ask_for() -> None:
    same = (container(256 * MIB, request=128 * MIB),)
    seen = Growth(before=same, after=same, pods_before=2, pods_after=5)

    assert "leaves 2 of pods, and its pods will ask for 3 more" in why_refused(leaving("pods", 2), seen)
    assert "384.0 MiB" in why_refused(leaving("memory", 0), seen), "short for requests.memory"
    assert why_refused(leaving("limits.cpu", 0), seen) == "", "no CPU is asked for"


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 50), st.booleans())
def test_what_does_not_grow_is_never_refused(one: int, other: int, pods: int, surges: bool) -> None:
    less, more = sorted((one, other))
    full = NamespaceRules(limits=ranged(0, 0).limits, left=(Left(name="team", amounts={"limits.memory": -1}),))

    assert why_refused(full, growth(more, less, pods=pods, surges=surges)) == ""
