"""Correlation: which alerts belong together is a function of the alerts, not of the order in which they came."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.catalogue import Catalogue, CatalogueError
from nightshift.catalogue.correlation import Correlation
from nightshift.catalogue.partition import Identity, Place, Sighting, partition
from nightshift.catalogue.schema import schema_text
from nightshift.remediation.models import Target
from nightshift.settings import default_runbooks

START = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
RULES = Correlation.model_validate(
    {
        "causes": [
            {
                "name": "node",
                "systems": ["shop"],
                "cause": {"alerts": ["NodeDown"]},
                "effects": [{"alerts": ["PodDown", "PoolFull"], "labels": {"node": "node"}}],
                "before": 600,
                "after": 3600,
                "why": "w",
            },
            {
                "name": "pool",
                "systems": ["shop"],
                "cause": {"alerts": ["PoolFull"]},
                "effects": [{"alerts": ["Errors", "Slow"], "anywhere": True}],
                "before": 600,
                "after": 3600,
                "why": "w",
            },
            {
                "name": "host",
                "systems": ["shop"],
                "cause": {"alerts": ["HostDown"], "kind": "host"},
                "effects": [
                    {"alerts": ["DiskFull"], "target": "below"},
                    {"alerts": ["HostSlow"], "target": "same"},
                    {"alerts": ["DatabaseSlow"], "target": "dependent"},
                ],
                "before": 600,
                "after": 3600,
                "why": "w",
            },
        ],
        "same": [
            {"name": "twice", "systems": ["shop"], "alerts": ["Slow", "VerySlow"], "equal": ["service"], "why": "w"},
            {"name": "workload", "systems": ["shop"], "alerts": ["PodDown"], "workload": ["deployment"], "why": "w"},
        ],
        "dependencies": [{"system": "shop", "on": "web1", "clients": ["database"]}],
    }
)


def seen(
    name: str,
    number: int = 0,
    minute: float = 0,
    target: tuple[str, ...] | None = None,
    system: str = "shop",
    **labels: str,
) -> Sighting:
    at = START + timedelta(minutes=minute)
    where = Target(system=system, path=target) if target else None
    return Sighting(("am", f"{name}-{number}", at), system, name, labels, where)


def places(*sightings: Sighting) -> list[Place]:
    found = partition(RULES, sightings)
    return [found[sighting.id] for sighting in sightings]


def test_an_effect_joins_its_cause_by_a_label_that_is_there_and_equal() -> None:
    node = seen("NodeDown", node="n1")
    here, there, nowhere = seen("PodDown", 1, node="n1"), seen("PodDown", 2, node="n2"), seen("PodDown", 3)

    by_node = partition(RULES, [node, here, there, nowhere])

    assert by_node[here.id].root == node.id
    assert [by_node[each.id].is_effect for each in (there, nowhere, node)] == [False, False, False]


def test_an_effect_of_an_effect_joins_the_root() -> None:
    node, pool, errors = seen("NodeDown", node="n1"), seen("PoolFull", node="n1"), seen("Errors", service="api")

    assert {place.root for place in places(errors, pool, node)} == {node.id}
    assert {place.root for place in places(errors, pool)} == {pool.id}


@pytest.mark.parametrize(("minute", "joins"), [(-11, False), (-9, True), (59, True), (61, False)])
def test_an_effect_may_come_before_its_cause_or_after_it_but_not_at_any_time(minute: float, joins: bool) -> None:
    effect, _ = places(seen("PodDown", minute=minute, node="n1"), seen("NodeDown", node="n1"))

    assert effect.is_effect is joins


def test_two_names_of_one_trouble_are_one_and_the_first_is_its_head() -> None:
    slow, very, other = (
        seen("Slow", minute=1, service="api"),
        seen("VerySlow", service="api"),
        seen("VerySlow", 2, service="pay"),
    )

    by_service = partition(RULES, [slow, very, other])

    assert by_service[slow.id].root == by_service[very.id].root == very.id
    assert by_service[other.id].root == other.id


def test_what_makes_one_of_two_names_an_effect_makes_both_so() -> None:
    pool, slow, very = seen("PoolFull"), seen("Slow", service="api"), seen("VerySlow", service="api")

    assert {place.root for place in places(pool, slow, very)} == {pool.id}


def test_pods_of_one_deployment_are_one_trouble_and_a_pod_without_one_is_its_own() -> None:
    pods = [seen("PodDown", number, deployment="api") for number in range(50)]
    single = [seen("PodDown", 100 + number) for number in range(3)]

    assert len({place.root for place in places(*pods)}) == 1
    assert len({place.root for place in places(*single)}) == 3


def test_targets_lie_below_on_or_depend_on_the_cause() -> None:
    host = seen("HostDown", target=("host", "web1"))
    disk = seen("DiskFull", target=("host", "web1", "filesystem", "/data"))
    same = seen("HostSlow", target=("host", "web1"))
    needs = seen("DatabaseSlow", target=("database", "database"))
    elsewhere = [
        seen("DiskFull", 2, target=("host", "web2", "filesystem", "/data")),
        seen("HostSlow", 2, target=("host", "web2")),
        seen("DatabaseSlow", 2, target=("database", "archive")),
        seen("HostSlow", 3),
    ]

    found = partition(RULES, [host, disk, same, needs, *elsewhere])

    assert {found[each.id].root for each in (disk, same, needs)} == {host.id}
    assert not any(found[each.id].is_effect for each in elsewhere)


def test_systems_do_not_mix() -> None:
    _, effect = places(seen("NodeDown", node="n1"), seen("PodDown", system="other", node="n1"))

    assert not effect.is_effect


def test_labels_are_compared_and_never_interpreted() -> None:
    hostile = ["{{ node }}", ".*", "n1' or '1'='1", "n1\x00", "N1", " n1", "n1/", "$(n1)", "\u202en1"]
    node = seen("NodeDown", node="n1")

    assert not any(places(seen("PodDown", n, node=value), node)[0].is_effect for n, value in enumerate(hostile))


SIGHTINGS = st.lists(
    st.builds(
        seen,
        name=st.sampled_from(["NodeDown", "PodDown", "PoolFull", "Errors", "Slow", "VerySlow"]),
        number=st.integers(0, 50),
        minute=st.sampled_from([0, 0.5, 3, 8, 12, 70, 200]),
        node=st.sampled_from(["", "n1", "n2"]),
        service=st.sampled_from(["", "api"]),
        deployment=st.sampled_from(["", "api", "pay"]),
        system=st.sampled_from(["shop", "other"]),
    ),
    max_size=40,
    unique_by=lambda sighting: sighting.id,
)


def groups(found: dict[Identity, Place]) -> set[tuple[Identity, frozenset[Identity]]]:
    roots = {place.root for place in found.values()}
    return {(root, frozenset(each for each, place in found.items() if place.root == root)) for root in roots}


@settings(max_examples=200, deadline=None)
@given(SIGHTINGS, st.randoms())
def test_any_order_of_arrival_gives_the_same_causes_and_every_alert_one_place(
    sightings: list[Sighting], chance: random.Random
) -> None:
    found = partition(RULES, sightings)
    shuffled = list(sightings)
    chance.shuffle(shuffled)

    assert partition(RULES, shuffled) == found
    assert Counter(each for _, members in groups(found) for each in members) == Counter(each.id for each in sightings)
    assert all(found[place.root].root == place.root for place in found.values())


@settings(max_examples=100, deadline=None)
@given(SIGHTINGS)
def test_an_alert_that_is_told_twice_changes_nothing(sightings: list[Sighting]) -> None:
    assert partition(RULES, [*sightings, *sightings]) == partition(RULES, sightings)


def test_a_thousand_alerts_are_placed_in_a_moment() -> None:
    storm = [
        seen("PodDown", number, minute=number / 1000, node="n1", deployment=f"d{number % 9}") for number in range(1000)
    ]
    before = datetime.now(UTC)

    found = partition(RULES, [*storm, seen("NodeDown", node="n1", minute=2)])

    assert len({place.root for place in found.values()}) == 1
    assert (datetime.now(UTC) - before).total_seconds() < 1


# --- the file


def mistakes(tmp_path: Path, text: str) -> list[str]:
    for file in default_runbooks().glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "correlation.yaml").write_text(text)
    with pytest.raises(CatalogueError) as error:
        Catalogue.load(tmp_path)
    return [str(mistake).removeprefix(f"{tmp_path}/") for mistake in error.value.mistakes]


def rule(cause: str, effect: str, name: str = "a", system: str = "octollm", how: str = "anywhere: true") -> str:
    return (
        f"  - name: {name}\n    systems: [{system}]\n    cause: {{ alerts: [{cause}] }}\n"
        f"    effects: [{{ alerts: [{effect}], {how} }}]\n    why: w\n"
    )


CAUSES = "causes:\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            CAUSES + rule("NodeNotReadi", "HighErrorRate"),
            "no alert 'NodeNotReadi'. Write 'NodeNotReady'.",
        ),
        (CAUSES + rule("NodeNotReady", "HighErrorRate", system="octolm"), "there is no system 'octolm'. Write"),
        (
            CAUSES + rule("NodeNotReady", "HighErrorRate", how="anywere: true"),
            "is not known here. Write 'anywhere'.",
        ),
        (CAUSES + rule("NodeNotReady", "HighErrorRate", how="labels: {}"), "say how they are about the same"),
        (CAUSES + rule("NodeNotReady", "HighErrorRate", how="target: above"), "'above' is not one of its values"),
        (
            CAUSES + rule("NodeNotReady", "HighErrorRate", how='labels: { "a b": node }'),
            "is not written as it must",
        ),
        (
            CAUSES + rule("NodeNotReady", "HighErrorRate") + rule("HighErrorRate", "NodeNotReady", name="b"),
            "would be its own cause: NodeNotReady → HighErrorRate → NodeNotReady",
        ),
        ("causes:\n" + rule("NodeNotReady", "NodeNotReady"), "would be its own cause: NodeNotReady → NodeNotReady"),
        (
            "causes:\n"
            + rule("HighLatency", "HighErrorRate")
            + "same:\n  - { name: s, systems: [octollm], alerts: [HighLatency, HighErrorRate], why: w }\n",
            "would be its own cause: HighLatency → HighErrorRate → HighLatency",
        ),
        (CAUSES + rule("NodeNotReady", "HighErrorRate") * 2, "another rule has this name, in line 2"),
        ("dependencies: [{ system: octollm, on: databas, clients: [cluster] }]", "octollm has no connection 'databas'"),
        ("causes: [", "is no YAML"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_to_write_instead(tmp_path: Path, text: str, expected: str) -> None:
    told = mistakes(tmp_path, text)

    assert any(expected in line for line in told), told
    assert all(line.startswith("correlation.yaml:") for line in told)


def test_the_file_is_no_system_and_a_folder_may_be_without_it(tmp_path: Path) -> None:
    (tmp_path / "octollm.yaml").write_text((default_runbooks() / "octollm.yaml").read_text())

    assert Catalogue.load(tmp_path).correlation == Correlation()


def test_a_mistake_in_a_system_does_not_make_its_alerts_unknown_to_the_rules(tmp_path: Path) -> None:
    for file in default_runbooks().glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text())
    broken = (
        (tmp_path / "octollm.yaml")
        .read_text()
        .replace("severity: critical\n    flow: node-not-ready", "severity: bad\n    flow: node-not-ready")
    )
    (tmp_path / "octollm.yaml").write_text(broken)

    with pytest.raises(CatalogueError) as error:
        Catalogue.load(tmp_path)

    assert {mistake.file.name for mistake in error.value.mistakes} == {"octollm.yaml"}


def test_the_schema_kept_beside_the_rules_is_the_one_of_the_code() -> None:
    assert (default_runbooks() / "correlation.schema.json").read_text() == schema_text(correlation=True)


# --- what is shipped


@pytest.fixture(scope="module")
def shipped() -> Catalogue:
    return Catalogue.load(default_runbooks())


def root_of(shipped: Catalogue, system: str, cause: dict[str, str], effect: dict[str, str]) -> tuple[bool, str | None]:
    """Whether the second is an effect of the first by the shipped rules, and by which."""
    sightings = [
        Sighting(("am", str(number), START), system, labels["alertname"], labels)
        for number, labels in enumerate((cause, effect))
    ]
    place = partition(shipped.correlation, sightings)[sightings[1].id]
    return place.root == sightings[0].id, place.rule.name if place.rule else None


@pytest.mark.hazard("octollm.HighRequestLatency.condition")
@pytest.mark.parametrize(
    ("system", "cause", "effect", "labels", "by"),
    [
        ("octollm", "NodeNotReady", "PodCrashLoopBackOff", {"node": "gke-1"}, "node-and-its-pods"),
        ("octollm", "DatabaseConnectionPoolExhausted", "HighErrorRate", {}, "connection-pool-and-its-clients"),
        ("octollm", "LowCacheHitRate", "HighLatency", {}, "cache-and-latency"),
        ("octollm", "HighLatency", "HighRequestLatency", {"service": "api"}, "latency-said-twice"),
        ("bybit_strategy_tester", "DatabaseDown", "APIUnresponsive", {}, "database-and-its-clients"),
        ("trading_signals", "RedisDisconnected", "SignalIngestionStopped", {}, "redis-and-its-consumers"),
    ],
)
def test_the_shipped_rules_know_the_scenarios_of_the_documents(
    shipped: Catalogue, system: str, cause: str, effect: str, labels: dict[str, str], by: str
) -> None:
    assert root_of(shipped, system, {"alertname": cause, **labels}, {"alertname": effect, **labels}) == (True, by)


def test_a_crashing_pod_on_another_node_is_no_effect(shipped: Catalogue) -> None:
    node, pod = {"alertname": "NodeNotReady", "node": "a"}, {"alertname": "PodCrashLoopBackOff", "node": "b"}

    assert root_of(shipped, "octollm", node, pod) == (False, None)
