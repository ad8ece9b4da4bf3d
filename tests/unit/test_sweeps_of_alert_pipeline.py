"""What a sweep makes of silences, and of rules, targets and alerts of Prometheus: recorded answers, and bad ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from nightshift.remediation.silencing import HeldAlert, Silence
from nightshift.remediation.sweeps.measures import Level, Measure, judge
from nightshift.remediation.sweeps.prometheus import PrometheusLook, lost_alerts, rules_seen, targets_seen
from nightshift.remediation.sweeps.rule import SweepRule
from nightshift.remediation.sweeps.silences import silences_seen

# Recorded of Alertmanager 0.25 and Prometheus 2.42.
SILENCES = """[{"id": "59c47b22-25d0-4dee-9d90-ce0617eee5f9", "status": {"state": "active"},
 "updatedAt": "2026-11-21T07:55:14.521Z", "comment": "maintenance", "createdBy": "lab",
 "endsAt": "2026-11-21T08:00:14.520Z", "startsAt": "2026-11-21T07:55:14.521Z",
 "matchers": [{"isEqual": true, "isRegex": false, "name": "alertname", "value": "DiskFull"}]}]"""
HELD = """[{"annotations": {}, "endsAt": "2026-11-21T07:55:21.508Z", "fingerprint": "79d296b797647b18",
 "receivers": [{"name": "hook"}], "startsAt": "2026-11-21T07:55:15.508Z",
 "status": {"inhibitedBy": [], "silencedBy": ["59c47b22-25d0-4dee-9d90-ce0617eee5f9"], "state": "suppressed"},
 "updatedAt": "2026-11-21T07:55:17.515Z", "generatorURL": "http://alertmanager.example:34653/graph",
 "labels": {"alertname": "DiskFull", "cluster": "lab", "env": "test", "instance": "127.0.0.1:48093", "mount": "/"}}]"""
ALERT = {
    "labels": {"alertname": "DiskFull", "env": "test", "instance": "127.0.0.1:48093", "mount": "/"},
    "annotations": {"summary": "Disk / at 97%"},
    "state": "firing",
    "activeAt": "2026-11-21T07:55:15.508917555Z",
    "value": "NaN",
}
NOW = datetime(2026, 11, 21, 7, 59, tzinfo=UTC).timestamp()
DAY = 86400.0


def all_ours(_labels: Mapping[str, str]) -> bool:
    return True


def silence(**changes: Any) -> Silence:
    return Silence.model_validate({**json.loads(SILENCES)[0], **changes})


def held(name: str = "DiskFull", fingerprint: str = "79d296b797647b18", **labels: str) -> HeldAlert:
    (one,) = json.loads(HELD)
    return HeldAlert.model_validate(
        {**one, "fingerprint": fingerprint, "labels": {**one["labels"], "alertname": name, **labels}}
    )


def why(one: Silence, *alerts: HeldAlert, incidents: Mapping[str, int] | None = None) -> tuple[Level, str]:
    named = frozenset({("alertname", "DiskFull")})
    seen = list(silences_seen("am", [one], alerts, all_ours, incidents or {}, named, NOW, SweepRule()))
    if not seen:
        return Level.WELL, "not ours"
    (measure,) = seen
    judged = judge(measure, [], NOW)
    return judged.level, judged.why


def lasting(begun: float, ends: float, **changes: Any) -> Silence:
    """A silence since, and for, so many days."""
    times = {"startsAt": NOW - begun * DAY, "endsAt": NOW + ends * DAY}
    return silence(**{key: datetime.fromtimestamp(at, UTC).isoformat() for key, at in times.items()}, **changes)


def test_a_silence_that_ends_while_its_trouble_lasts_is_a_finding() -> None:
    (recorded,) = TypeAdapter(tuple[Silence, ...]).validate_json(SILENCES)
    (alert,) = TypeAdapter(tuple[HeldAlert, ...]).validate_json(HELD)

    assert why(recorded, alert, incidents={alert.fingerprint: 5}) == (
        Level.FINDING,
        "it ends while DiskFull (incident 5) still fires",
    )
    assert why(recorded) == (Level.WELL, ""), "nothing fires that it silences"
    assert why(lasting(0, 2), alert) == (Level.WELL, "")


def test_a_silence_without_an_end_soon_or_of_long_ago_is_a_finding() -> None:
    assert why(lasting(1, 3650)) == (Level.FINDING, "it does not end soon")
    assert why(lasting(30, 1)) == (Level.FINDING, "it has lasted for 4w 2d")
    assert why(lasting(30, 3650, status={"state": "expired"}))[1] == "not ours"


def test_a_silence_that_is_wider_than_its_incident_is_a_finding() -> None:
    two = (held(), held("CpuHigh", "00ff"))
    wider = "it is wider than incident 5: 1 other alert (CpuHigh)"

    assert why(lasting(0, 1), *two, incidents={"79d296b797647b18": 5}) == (Level.FINDING, wider)
    assert why(lasting(0, 1, comment="disk (incident 5)"), *two, incidents={"00ff": 7, "79d296b797647b18": 5})[1] == (
        "it is wider than incident 5: 1 other alert (CpuHigh (incident 7))"
    )
    assert why(lasting(0, 1), *two, incidents={"79d296b797647b18": 5, "00ff": 5}) == (Level.WELL, "")
    assert why(lasting(0, 1), *two) == (Level.WELL, ""), "it is of no incident"


def test_a_silence_that_names_no_alert_is_worth_a_look_and_one_of_others_is_not_ours() -> None:
    everything = [{"name": "instance", "value": ".+", "isRegex": True, "isEqual": True}]
    assert why(lasting(0, 1, matchers=everything), held())[0] is Level.NEAR
    assert why(lasting(0, 3650, matchers=everything))[1] == "not ours"


def test_a_hostile_silence_stays_text() -> None:
    hostile = silence(createdBy="<b>|\n", matchers=[{"name": "a", "value": "`x` | y\n\u0000", "isRegex": False}])
    (measure,) = silences_seen("am", [hostile], [held()], all_ours, {}, frozenset(), NOW, SweepRule())

    assert measure.what.isprintable()
    assert "|" not in measure.what
    with pytest.raises(ValidationError):
        silence(id="../../x")


def prometheus(*rules: dict[str, Any], targets: list[dict[str, Any]] | None = None) -> PrometheusLook:
    return PrometheusLook.model_validate({"groups": [{"name": "g", "rules": rules}], "targets": targets or []})


def rule(*alerts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"name": "DiskFull", "type": "alerting", "health": "ok", "duration": 0, "alerts": alerts, **changes}


def words(measures: Any) -> list[tuple[Level, str]]:
    judged = [judge(one, [], NOW) for one in measures]
    return [(one.level, one.why) for one in judged if one.level is not Level.WELL]


def test_rules_that_cannot_be_evaluated_and_rules_that_are_not_there_are_told() -> None:
    broken = rule(health="err", lastError="many-to-many | matching\n")
    found = list(rules_seen("metrics", prometheus(broken, rule(name="Other")), ["DiskFull", "Gone"]))

    assert words(found) == [
        (Level.NEAR, "1 of 2 alerts of this system have no rule: Gone"),
        (Level.FINDING, "1 of 2 cannot be evaluated: DiskFull (many-to-many \\x7c matching\\x0a)"),
    ]
    assert words(rules_seen("metrics", prometheus(), ["DiskFull"])) == [
        (Level.FINDING, "it has no rule for any alert of this system")
    ]
    assert words(rules_seen("metrics", prometheus(rule()), ["DiskFull"])) == []


def test_targets_that_are_down_are_told_by_job() -> None:
    targets = [
        {"labels": {"job": "app", "instance": f"web{number}"}, "health": health, "lastError": "refused"}
        for number, health in enumerate(["up", "down", "unknown"])
    ]
    look = prometheus(targets=targets)

    assert words(targets_seen("metrics", look, [])) == [
        (Level.FINDING, "1 of 3 targets cannot be scraped: web1 (refused)")
    ]
    assert words(targets_seen("metrics", look, ["other"])) == [(Level.FINDING, "it has no target")]
    assert words(targets_seen("metrics", prometheus(), [])) == [(Level.FINDING, "it scrapes nothing")]


def lost(look: PrometheusLook, *known: dict[str, str], certain: bool = True, within: float = 60) -> list[Measure]:
    return lost_alerts("metrics", look, all_ours, known, now=NOW, within=within, certain=certain)


def test_an_alert_that_fires_there_and_never_arrived_is_a_finding() -> None:
    look = prometheus(rule(ALERT))
    arrived = {**ALERT["labels"], "cluster": "lab"}  # type: ignore[dict-item]

    assert words(lost(look)) == [(Level.FINDING, "1 alert fires there and did not arrive here")]
    assert words(lost(look, certain=False))[0][0] is Level.NEAR
    assert words(lost(look, arrived)) == [], "external labels are added on the way"
    assert len(words(lost(look, {**arrived, "mount": "/data"}))) == 1
    assert words(lost(look, within=300)) == [], "it has just begun"
    assert words(lost(prometheus(rule(ALERT, duration=200)))) == [], "it fires only since its time is over"
    assert words(lost(prometheus(rule({**ALERT, "state": "pending"})))) == []


def test_thousands_of_lost_alerts_and_names_are_a_few_lines() -> None:
    many = [{**ALERT, "labels": {"instance": str(number)}} for number in range(5000)]
    assert [one.value for one in lost(prometheus(rule(*many)))] == [5000]

    names = prometheus(*(rule(ALERT, name=f"Alert{number}") for number in range(1000)))
    assert len(lost(names)) == 21


@pytest.mark.parametrize(
    "bad", ['{"groups": null}', '{"groups": [{"name": "g", "rules": [{"name": "x", "duration": NaN}]}]}']
)
def test_an_answer_that_is_none_is_refused_as_a_whole(bad: str) -> None:
    with pytest.raises(ValidationError):
        PrometheusLook.model_validate_json(bad)


def test_only_a_counter_that_grew_is_a_finding() -> None:
    failed = Measure(key="deliveries/am", what="deliveries", value=3, grown=Level.FINDING)
    stands = [judge(failed, past, NOW) for past in ([], [(NOW - 1, 3.0)], [(NOW - 1, 9.0)], [(NOW - 1, 1.0)])]
    assert [one.level for one in stands] == [Level.WELL, Level.WELL, Level.WELL, Level.FINDING]
    assert stands[-1].why == "2 more since the last sweep"
