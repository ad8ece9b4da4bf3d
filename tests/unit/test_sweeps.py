"""Sweeps: what is a finding, when a disk will be full, what is told, and that findings mean what alerts mean."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.catalogue import Catalogue, swept
from nightshift.catalogue.matching import Match
from nightshift.catalogue.models import FILESYSTEM
from nightshift.catalogue.sweep_labels import labels_for
from nightshift.remediation.backups.facts import BucketFact, DumpFact, StoredFact
from nightshift.remediation.models import Target
from nightshift.remediation.sweeps import queues
from nightshift.remediation.sweeps.alerts import FINDING, alert_of, to_send
from nightshift.remediation.sweeps.backups import backups_seen
from nightshift.remediation.sweeps.databases import Slot, Wear, worn
from nightshift.remediation.sweeps.measures import Forecast, Judged, Level, Measure, judge, seconds_to
from nightshift.remediation.sweeps.rule import SweepRule
from nightshift.remediation.sweeps.table import as_table

NOW = 1_800_000_000.0
HOUR, DAY = 3600.0, 86400.0
SWEPT: tuple[str, ...] = (
    "disk-space-reclaim",
    "connection-pool-exhaustion",
    "database-unavailable",
    "redis-unavailable",
)
SWEPT += ("worker-unavailable", "node-not-ready", "deployment-replicas-mismatch", "volume-claim-pending")
SWEPT += ("host-certificate-renewal", "service-unresponsive", "host-service-unresponsive", "certificate-expiry")
SWEPT += ("queue-backlog", "file-queue-backlog", "backup-failure", "cache-efficiency")


def disk(value: float, **more: object) -> Measure:
    target = (("host", "web1"), ("filesystem", "/data"))
    fields: dict[str, object] = {"key": "disk/web1//data", "what": "disk web1 /data", "unit": "%", "limit": 85.0}
    fields["forecast"] = Forecast(within=DAY)
    return Measure.model_validate({**fields, "value": value, "target": target, **more})


def filling(first: float, per_hour: float, count: int = 10) -> list[tuple[float, float]]:
    """Former sweeps, the last one an hour ago."""
    return [(NOW - HOUR * (count - number), first + per_hour * number) for number in range(count)]


@pytest.mark.parametrize(
    ("value", "level"), [(50, Level.WELL), (77, Level.NEAR), (85, Level.NEAR), (85.1, Level.FINDING)]
)
def test_a_measure_beyond_its_limit_is_a_finding_and_near_it_worth_a_look(value: float, level: Level) -> None:
    assert judge(disk(value), [], NOW).level is level


def test_what_gets_less_is_a_finding_below_its_limit() -> None:
    certificate = {"key": "c", "what": "certificate", "unit": "s", "limit": 21 * DAY, "falls": True}
    levels = [
        judge(Measure.model_validate({**certificate, "value": days * DAY}), [], NOW).level for days in (60, 22, 20)
    ]
    assert levels == [Level.WELL, Level.NEAR, Level.FINDING]


def test_a_disk_that_will_be_full_within_a_day_is_a_finding_though_it_is_half_empty() -> None:
    judged = judge(disk(60), filling(10, 5), NOW)

    assert judged.level is Level.FINDING
    assert judged.why == "full in 8h at its present pace"
    assert judged.trend == "↑ 5%"


def test_one_burst_or_one_clean_up_is_no_pace() -> None:
    steady = filling(40, 0)
    assert judge(disk(55), steady, NOW).level is Level.WELL
    cleaned = [*filling(70, 1)[:5], *((at, 40.0) for at, _ in filling(70, 1)[5:])]
    assert judge(disk(40), cleaned, NOW).level is Level.WELL


@given(st.lists(st.tuples(st.floats(0, 1e9), st.floats(0, 100)), max_size=40))
def test_a_forecast_is_never_negative_and_nothing_that_falls_is_ever_full(past: list[tuple[float, float]]) -> None:
    past.sort()
    left = seconds_to(100.0, past)
    assert left is None or left >= 0
    falling = [(at, -float(number)) for number, (at, _) in enumerate(past)]
    assert seconds_to(100.0, falling) is None


def test_what_could_not_be_measured_is_a_finding_in_words() -> None:
    judged = judge(Measure(key="database/main", what="database main", trouble="it does not answer"), [], NOW)
    assert (judged.level, judged.why, judged.measure.shown) == (Level.FINDING, "it does not answer", "—")


def test_a_finding_fires_on_since_it_was_found_and_is_over_when_it_is_not_found_again() -> None:
    first = alert_of(judge(disk(90), [], NOW), {"alertname": "HighDiskUsage", "mountpoint": "/data"}, "shop", NOW)
    assert to_send([first], [], NOW) == [first]

    later = first.model_copy(update={"starts_at": datetime.fromtimestamp(NOW + HOUR, UTC)})
    (again,) = to_send([later], [first], NOW + HOUR)
    assert (again.status, again.starts_at) == ("firing", first.starts_at)
    (over,) = to_send([], [first], NOW + 2 * HOUR)
    assert (over.status, over.starts_at, over.fingerprint) == ("resolved", first.starts_at, first.fingerprint)


def test_what_was_found_on_a_part_that_nobody_could_see_is_not_over() -> None:
    first = alert_of(judge(disk(90), [], NOW), {"alertname": "HighDiskUsage", "mountpoint": "/data"}, "shop", NOW)
    host = judge(Measure(key="host/web1", what="host web1", trouble="no answer", unseen=True), [], NOW)

    assert to_send([], [first], NOW + HOUR, frozenset({host.measure.part})) == []
    assert "- Over" not in as_table("Shop", [host], frozenset({"disk/web1//data"}))


def test_of_two_sweeps_at_once_the_earlier_alert_fires_on_and_the_other_is_over() -> None:
    first = alert_of(judge(disk(90), [], NOW), {"alertname": "HighDiskUsage"}, "shop", NOW)
    second = first.model_copy(update={"starts_at": datetime.fromtimestamp(NOW + 1, UTC)})

    sent = to_send([second], [second, first], NOW + HOUR)

    assert [(one.status, one.starts_at) for one in sent] == [
        ("firing", first.starts_at),
        ("resolved", second.starts_at),
    ]


def test_a_finding_that_no_runbook_repairs_calls_a_person() -> None:
    alert = alert_of(judge(disk(90), [], NOW), None, "shop", NOW)
    assert alert.name == f"{FINDING} disk/web1//data"
    assert (alert.labels["subject"], alert.labels["severity"]) == ("disk/web1//data", "warning")


def test_the_table_says_what_is_new_and_what_is_over() -> None:
    judged = [judge(disk(90), [(NOW - HOUR, 84.0)], NOW), judge(disk(10, key="x", what="disk x"), [], NOW)]

    table = as_table("Shop", judged, frozenset({"x"}))

    assert "2 measures, 1 finding." in table
    assert "| **finding** | disk web1 /data | 90% | ↑ 6% | more than 85% |" in table
    assert "- New: disk web1 /data" in table
    assert "- Over: disk x" in table


CATALOGUE = Catalogue.load(Path(__file__).parents[2] / "runbooks")
REPAIRED = [
    (system.id, alert)
    for system in CATALOGUE.systems.values()
    for alert, runbook in system.runbooks.items()
    if runbook.flow in SWEPT
]


@pytest.mark.parametrize(("system_id", "alert"), REPAIRED)
def test_the_catalogue_understands_a_finding_as_it_understands_the_alert(system_id: str, alert: str) -> None:
    system = CATALOGUE.systems[system_id]
    runbook = system.runbooks[alert]
    names: dict[str, str] = {}
    for kind, part in runbook.target.items():
        known = list(dict.fromkeys(system.names_of(kind).values())) if "cluster" not in names else list(part.among)
        spaces = list(system.namespaces_of(names.get("cluster", ""))) if kind == "namespace" else []
        fallback = "/data" if kind == FILESYSTEM else "some-name"
        names[kind] = next(iter([part.default] * (part.label is None) + spaces + known + [fallback])) or fallback

    labels = labels_for(system, (str(runbook.flow),), names)

    assert labels is not None
    found = CATALOGUE.match(alert_of(Judged(measure=disk(90), level=Level.FINDING), labels, system_id, NOW))
    assert isinstance(found, Match), found
    assert found.runbook.flow == runbook.flow
    assert found.target == Target(system=system_id, path=tuple(part for pair in names.items() for part in pair))


def test_every_shipped_system_is_swept() -> None:
    assert [system.id for system in CATALOGUE.systems.values() if system.sweep is None] == []


def test_a_heartbeat_is_known_by_its_name() -> None:
    assert not Catalogue({}).is_heartbeat("Watchdog")


def test_a_queue_that_nobody_works_off_is_a_finding_unless_it_gets_less() -> None:
    def queue(waiting: int, before: float | None, *, consumed: bool = False) -> Judged:
        (total,) = queues.tasks_waiting("broker", {"celery": waiting}, 1000, 6 * HOUR, consumed=consumed, place=())
        return judge(total, [] if before is None else [(NOW - HOUR, before)], NOW)

    assert (queue(3, None).level, queue(3, None).why) == (Level.NEAR, "no worker answers")
    assert queue(3, 3).why == "no worker answers, and it does not become less"
    assert [queue(3, 4).level, queue(0, 0).level, queue(3, 1, consumed=True).level] == [Level.WELL] * 3
    assert queue(1001, 5, consumed=True).level is Level.FINDING


def test_a_queue_that_grows_to_its_limit_is_looked_at_and_each_queue_is_shown() -> None:
    total, *each = queues.tasks_waiting("b", {"a": 500, "c": 200}, 1000, 6 * HOUR, consumed=True, place=())

    judged = judge(total, filling(0, 70), NOW)

    assert (judged.level, judged.why) == (Level.NEAR, "more than 1,000 in 4h 17m at its present pace")
    assert [one.value for one in each] == [500, 200]


def dumps_of(*kept: tuple[float, int, bool]) -> list[DumpFact]:
    """Age in days, bytes, and whether it was restored."""
    return [
        DumpFact.model_validate(
            {
                "file": {
                    "path": f"/b/{days}.dump",
                    "device": 0,
                    "inode": 0,
                    "size": size,
                    "allocated": size,
                    "modified_ns": round((NOW - days * DAY) * 1e9),
                },
                "proven": proven,
            }
        )
        for days, size, proven in kept
    ]


def backups(dumps: list[DumpFact], far: BucketFact | None = None) -> dict[str, str]:
    """What is wrong, by measure."""
    rule = next(one.rule for one in swept.backups_of(CATALOGUE.systems["bybit_strategy_tester"]))
    seen = backups_seen("web1", "daily", rule, dumps, far, NOW, 26 * HOUR, 35 * DAY)
    return {one.measure.key.partition("/")[0]: one.why for one in (judge(measure, [], NOW) for measure in seen)}


def test_backups_are_told_by_age_size_proof_and_where_they_are_kept_besides() -> None:
    good = dumps_of((0.5, 1000, True), (1.5, 1000, False), (2.5, 1000, False), (3.5, 1000, False))
    stored = BucketFact(objects=1, newest=StoredFact(key="k", size=1000, modified=NOW - HOUR))
    assert set(backups(good, stored).values()) == {""}

    poor = dumps_of((2, 100, False), (3, 1000, False), (4, 1000, False), (40, 1000, True))
    assert backups(poor, BucketFact(complaint="it is refused")) == {
        "backup": "more than 1d 2h",
        "backup-size": "it has shrunk: the usual size is 1000 B",
        "backup-proof": "more than 5w",
        "backup-kept": "it is refused",
    }
    assert backups([], BucketFact()) == {"backup": "there is none", "backup-kept": "there is none"}
    assert backups(dumps_of((0, 0, False)))["backup-size"] == "it is empty"
    assert "was ever restored" in backups(dumps_of((0, 10, False)))["backup-proof"]


def test_what_wears_a_database_out_is_a_finding_before_it_stops() -> None:
    slots = (Slot(name="gone", active=False, kept=20 * 2**30), Slot(name="live", active=True, kept=5))
    wear = Wear(slots=slots, oldest="main", ids_used=50, deadest="public.trades", dead=60)

    found = [judge(one, [], NOW) for one in worn("main", wear, SweepRule(), ("SlowQueries",))]

    assert [(one.measure.what, one.why) for one in found] == [
        ("WAL kept in main by the slot gone, which nobody reads", "more than 10.0 GiB"),
        ("WAL kept in main by the slot live", ""),
        ("transaction ids of main, the oldest in main", "more than 40%"),
        ("dead rows in main, most in public.trades", "more than 50%"),
    ]
    assert [one.measure.flows for one in found] == [("database-query-performance",)] * 2 + [()] + [
        found[0].measure.flows
    ]


def test_what_the_runbooks_name_is_swept() -> None:
    systems = CATALOGUE.systems
    (queue,) = swept.queues_of(systems["bybit_strategy_tester"])
    assert (queue.broker, queue.queues, queue.most_waiting) == ("redis", ("celery",), 100)
    (files,) = swept.file_queues_of(systems["test_watcher"])
    assert (files.host, files.service) == ("watcher1", "test-watcher")
    assert [(one.host, one.name) for one in swept.backups_of(systems["bybit_strategy_tester"])] == [("web1", "daily")]
    asked = {one.health.api: one.flows for one in swept.health_of(systems["bybit_strategy_tester"])}
    assert asked == {"backend": ("service-unresponsive",)}
    assert {one.health.api for one in swept.health_of(systems["trading_signals"])} == {"backend"}
    bybit = systems["bybit_strategy_tester"]
    assert swept.upkeep_of(bybit, "database") == ("SlowQueries",)
    flows, target = ("database-query-performance",), {"database": "database"}
    assert labels_for(bybit, flows, target, ("SlowQueries",)) == {"alertname": "SlowQueries"}
    assert labels_for(bybit, flows, target, ("Another",)) is None
    assert swept.has_certificates(systems["octollm"])
    assert swept.hit_ratio_of(systems["octollm"], "cache") == 0.5
