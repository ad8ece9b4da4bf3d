"""Fleets in the catalogue: who is a member, and what a person reads who made a mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nightshift.catalogue import Catalogue, CatalogueError

PLACE = "shop.yaml:15:3: fleets.all:"
NEVER = "nothing could ever be done: of 2 none may ever be"
RUNBOOKS = Path(__file__).parents[2] / "runbooks"
SHOP = """\
id: shop
title: A shop
display: Shop
severities: { critical: {}, warning: {}, info: {} }
connections:
  web1: { type: local, instances: ["web1:9100"] }
  web2: { type: local }
  prometheus: { type: http, url: "http://prometheus.shop.internal" }
runbooks:
  QueueBacklog:
    summary: a queue grows
    severity: critical
    target: { queue: { label: queue, among: [mail, orders] } }
fleets:
  all:
"""


def load(folder: Path, *lines: str) -> Catalogue:
    (folder / "shop.yaml").write_text(SHOP + "".join(f"    {line}\n" for line in lines))
    return Catalogue.load(folder)


def mistake(folder: Path, *lines: str) -> str:
    with pytest.raises(CatalogueError) as caught:
        load(folder, *lines)
    return str(caught.value).removeprefix("The catalogue has 1 mistake:\n").replace(f"{folder}/", "")


@pytest.mark.parametrize(
    ("kind", "names"),
    [("host", {"web1": "web1", "web1:9100": "web1", "web2": "web2"}), ("queue", {"mail": "mail", "orders": "orders"})],
)
def test_without_a_query_the_members_are_those_the_catalogue_names(
    tmp_path: Path, kind: str, names: dict[str, str]
) -> None:
    (fleet,) = load(tmp_path, f"kind: {kind}", "at_least_healthy: 50%").systems["shop"].fleets_of_system

    assert (fleet.system, fleet.name, fleet.names) == ("shop", "all", names)
    assert fleet.declared == frozenset(names.values())


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            ["kind: hots", "at_most_changed: 1"],
            "shop.yaml:16:11: fleets.all.kind: there is no kind of target 'hots'. Write 'host'.",
        ),
        (
            ["kind: database", "at_most_changed: 1"],
            f"{PLACE} no database of this system is known by name. Write members, a Prometheus query that names them.",
        ),
        (
            ["kind: host", "at_least_healthy: 60%"],
            f"{PLACE} {NEVER} missing, with at least 60 % healthy. Allow one to be missing.",
        ),
        (
            ["kind: host", "at_most_changed: 40%"],
            f"{PLACE} {NEVER} changed, with at most 40 %. Allow one to be missing.",
        ),
        (
            ["kind: node", "prometheus: web1", "members: up", "at_most_changed: 1"],
            "shop.yaml:17:17: fleets.all.prometheus: there is no connection of type http 'web1'. Known are prometheus.",
        ),
    ],
)
def test_a_fleet_that_could_not_hold_is_a_mistake_with_its_place(tmp_path: Path, lines: list[str], told: str) -> None:
    assert mistake(tmp_path, *lines) == told


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("at_least_healthy: most", "shop.yaml:17:23: fleets.all.at_least_healthy"),
        ("at_lest_healthy: 60%", "shop.yaml:17:5: fleets.all.at_lest_healthy: is not known here. "),
        ("storm: { cooldown: 5m }", "shop.yaml:17:5: fleets.all.storm"),
    ],
)
def test_a_mistake_within_a_fleet_has_its_place_too(tmp_path: Path, line: str, told: str) -> None:
    assert told in mistake(tmp_path, "kind: host", line)


def test_what_the_documents_state_of_fleets_stands_in_their_catalogues() -> None:
    systems = Catalogue.load(RUNBOOKS).systems
    stated: dict[str, Any] = {name: list(system.fleets) for name, system in systems.items() if system.fleets}
    nodes = systems["octollm"].fleets["nodes"]

    assert stated == {"octollm": ["nodes"]}
    assert (str(nodes.at_least_healthy), str(nodes.at_most_changed)) == ("70 %", "1")
    assert nodes.storm is not None
    assert str(nodes.storm.more_than) == "1"
