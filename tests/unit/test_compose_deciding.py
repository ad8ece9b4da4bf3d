"""Which action on a service of Docker Compose is the right one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nightshift.remediation.compose import deciding
from nightshift.remediation.compose.objects import FILES_LABEL, FOLDER_LABEL, Container, Image, ServiceLook
from nightshift.remediation.connections import DockerConnection
from nightshift.remediation.models import Action, Refusal, Risk, Target

TARGET = Target(system="shop", path=("compose", "main", "service", "web"))
ONE = Container(
    id="c1",
    name="shop-web-1",
    service="web",
    number=1,
    image="web:live",
    image_id="i2",
    state="running",
    config_hash="a",
)
IMAGES = tuple(Image(id=f"i{age}", tags=(f"web:{age}",), created=float(age)) for age in (3, 2, 1))


def look(*containers: Container, tagged: str = "i2") -> ServiceLook:
    return ServiceLook(service="web", containers=containers or (ONE,), images=IMAGES, tagged=tagged)


@pytest.mark.parametrize(
    ("tagged", "kind"), [("i2", "restart_container"), ("i3", "recreate_container"), ("", "restart_container")]
)
def test_a_restart_is_not_chosen_where_it_would_run_an_old_image(tagged: str, kind: str) -> None:
    assert deciding.repair(TARGET, "main", look(tagged=tagged), ONE, "it hangs", 30).kind == kind


def test_what_only_compose_knows_is_proposed() -> None:
    other = replace(ONE, id="c2", name="shop-web-2", number=2, config_hash="b")

    assert deciding.differing_configurations(look()) is None
    proposal = deciding.differing_configurations(look(ONE, other))
    assert proposal is not None
    assert proposal.detail == "docker compose up -d --no-deps web"
    told = {FOLDER_LABEL: "/srv/shop", FILES_LABEL: "/srv/shop/docker-compose.yml"}
    proposal = deciding.differing_configurations(look(ONE, replace(other, created=2.0, labels=told)))
    assert proposal is not None
    assert proposal.detail.endswith("--no-deps web (in /srv/shop, with /srv/shop/docker-compose.yml)")


@pytest.mark.parametrize("tagged", ["i2", "i3"])
def test_a_container_of_an_older_configuration_runs_again_only_by_a_persons_word(tagged: str) -> None:
    older, newer = replace(ONE, created=1.0), replace(ONE, id="c2", name="shop-web-2", created=2.0, config_hash="b")
    seen = look(older, newer, tagged=tagged)

    action = deciding.repair(TARGET, "main", seen, older, "it hangs", 30)

    assert (action.risk, "older than that of shop-web-2" in action.asks) == (Risk.HIGH, True)
    assert deciding.repair(TARGET, "main", seen, newer, "it hangs", 30).asks == ""


@pytest.mark.parametrize(("current", "wanted"), [("i3", "web:2"), ("i2", "web:1"), ("i1", None), ("gone", None)])
def test_a_roll_back_takes_the_image_just_before(current: str, wanted: str | None) -> None:
    container = replace(ONE, image_id=current)
    found = deciding.roll_back(TARGET, "main", look(container), container, "it fails", 30)

    if wanted is None:
        assert isinstance(found, Refusal)
    else:
        assert isinstance(found, Action)
        assert found.arguments["image"] == wanted


@pytest.mark.parametrize(
    ("container", "why"),
    [
        (replace(ONE, host_ports=(8000,)), "port 8000 of the host"),
        (replace(ONE, state="exited"), "none of its containers works"),
        (replace(ONE, health="unhealthy"), "none of its containers works"),
    ],
)
def test_what_cannot_be_scaled_is_refused(container: Container, why: str) -> None:
    found = deciding.scale(TARGET, "main", look(container), 3, 4, "the queue grows", 30)

    assert isinstance(found, Refusal)
    assert why in found.reason


@given(
    ages=st.lists(st.integers(0, 10**6), min_size=1, max_size=8),
    running=st.integers(0, 7),
    used=st.sets(st.integers(0, 7)),
    keep=st.integers(1, 3),
)
def test_pruning_leaves_what_runs_what_is_used_and_what_a_roll_back_takes(
    ages: list[int], running: int, used: set[int], keep: int
) -> None:
    images = [Image(id=f"i{n}", created=float(age), used=n in used) for n, age in enumerate(ages)]
    container = replace(ONE, image_id=images[running % len(images)].id)
    seen = ServiceLook(service="web", containers=(container,), images=images, tagged=container.image_id)

    gone = {image.id for image in deciding.prunable(seen, now=2e6, older_than=1, keep=keep)}

    previous = seen.previous(container.image_id)
    assert container.image_id not in gone
    assert previous is None or previous.id not in gone
    assert not any(image.used and image.id in gone for image in images)
    assert len(images) - len(gone) >= min(keep, len(images))


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"url": "tcp://docker.shop:2375"}, "needs tls"),
        ({"tls": {"ca": "a", "certificate": "b", "key": "c"}}, "only tcp:// takes it"),
        ({"url": "http://docker.shop"}, "pattern"),
        ({"project": "../x"}, "pattern"),
    ],
)
def test_an_engine_that_anybody_could_reach_is_not_accepted(entry: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        DockerConnection.model_validate({"type": "docker", "project": "shop", **entry})
