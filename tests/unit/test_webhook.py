"""Alertmanager's webhook: what real ones hold is read, what cannot be read is refused precisely and alone."""

from __future__ import annotations

import contextlib
import copy
import json
import string
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.gateway import webhook
from nightshift.gateway.webhook import MAX_ALERTS, REASONS, BodyRefusedError, read

# As Alertmanager 0.25 sends it: a group that fires with one alert resolved, no generator URL, nanoseconds, year 1.
ALERT: dict[str, Any] = {
    "status": "firing",
    "labels": {"alertname": "HighDiskUsage", "system": "testwatcher", "instance": "web1", "mountpoint": "/data"},
    "annotations": {"summary": "Disk /data at 95%"},
    "startsAt": "2026-11-21T07:55:19.561750464Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "",
    "fingerprint": "ae6ed0ec97c30a9b",
}
BODY: dict[str, Any] = {
    "receiver": "nightshift",
    "status": "firing",
    "alerts": [ALERT],
    "groupLabels": {"alertname": "HighDiskUsage"},
    "commonLabels": {},
    "commonAnnotations": {},
    "externalURL": "http://alertmanager.example:9093",
    "version": "4",
    "groupKey": '{}:{alertname="HighDiskUsage"}',
    "truncatedAlerts": 0,
}


def alert(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(ALERT) | changes


def labels(**more: str) -> dict[str, Any]:
    return alert(labels={**ALERT["labels"], **more})


def body(*alerts: Any, **changes: Any) -> bytes:
    return json.dumps({**BODY, "alerts": list(alerts), **changes}).encode()


def test_a_firing_alert_is_read_as_it_was_sent() -> None:
    (read_alert,) = read(body(ALERT), "alertmanager").alerts

    assert read_alert.name == "HighDiskUsage"
    assert read_alert.labels == ALERT["labels"]
    assert read_alert.starts_at == datetime(2026, 11, 21, 7, 55, 19, 561750, tzinfo=UTC)
    assert read_alert.ends_at is None
    assert read_alert.generator_url == ""


def test_a_resolved_alert_in_a_firing_group_stays_resolved() -> None:
    resolved = alert(status="resolved", endsAt="2026-11-21T09:55:10.508+02:00", fingerprint="2d7a683ee1195e53")

    firing, other = read(body(ALERT, resolved), "alertmanager").alerts

    assert (firing.status, other.status) == ("firing", "resolved")
    assert other.ends_at == datetime(2026, 11, 21, 7, 55, 10, 508000, tzinfo=UTC)


def test_fields_of_a_later_alertmanager_are_left_alone() -> None:
    delivery = read(body(alert(severityHint={"a": [1]}), notificationReason="new", truncatedAlerts=3), "am")

    assert (len(delivery.alerts), delivery.refused, delivery.withheld) == (1, [], 3)


HOSTILE = [
    "$(touch /tmp/pwned); rm -rf / #",
    "'; drop table alert; --",
    "{{ 7 * 7 }}{% for x in ().__class__.__base__.__subclasses__() %}",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "../../../../etc/passwd",
    "%s %d {0} {0.__class__} ${HOME} `id`",
    "line\nbreak\r\x1b[31mred\x1b[0m\t\x7f",
    "é漢字 \u202e right to left \U0001f600",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_taken_verbatim(text: str) -> None:
    (read_alert,) = read(body(labels(mountpoint=text)), "alertmanager").alerts

    assert read_alert.labels["mountpoint"] == text


def raw_alert(text: str) -> Any:
    return json.loads(text)


BAD_ALERTS = {
    "not an object": ("malformed", "an alert"),
    "null": ("malformed", None),
    "no labels": ("malformed", {k: v for k, v in ALERT.items() if k != "labels"}),
    "no fingerprint": ("malformed", {k: v for k, v in ALERT.items() if k != "fingerprint"}),
    "unknown status": ("malformed", alert(status="suppressed")),
    "labels as list": ("bad_labels", alert(labels=["a"])),
    "a number as label": ("bad_labels", alert(labels={"alertname": 7})),
    "null as label": ("bad_labels", alert(labels={"alertname": None})),
    "a label without name": ("bad_labels", alert(labels={"": "x"})),
    "NUL in a label": ("not_writable", labels(mountpoint="/da\0ta")),
    "NUL in a label's name": ("not_writable", labels(**{"a\0b": "x"})),
    "half a surrogate pair": ("not_writable", labels(mountpoint="/\ud83d")),
    "one megabyte as label": ("label_too_long", labels(mountpoint="/" + "x" * 1_000_000)),
    "one megabyte as name": ("label_too_long", labels(**{"x" * 1_000_000: "y"})),
    "a thousand labels": ("too_many_labels", labels(**{f"l{n}": "x" for n in range(1000)})),
    "annotations as list": ("bad_annotations", alert(annotations=["a"])),
    "a number as annotation": ("bad_annotations", alert(annotations={"summary": 1})),
    "a start in words": ("bad_time", alert(startsAt="yesterday")),
    "a start without zone": ("bad_time", alert(startsAt="2026-11-21T07:55:19")),
    "a start in year 1": ("bad_time", alert(startsAt="0001-01-01T00:00:00Z")),
    "a start beyond time": ("bad_time", alert(startsAt="9999-12-31T23:59:59-23:00")),
    "a 13th month": ("bad_time", alert(startsAt="2026-13-01T00:00:00Z")),
    "a number as start": ("bad_time", alert(startsAt=1700000000)),
    "a path as fingerprint": ("bad_fingerprint", alert(fingerprint="../../x")),
    "a long fingerprint": ("bad_fingerprint", alert(fingerprint="a" * 65)),
}


@pytest.mark.parametrize(("reason", "bad"), BAD_ALERTS.values(), ids=BAD_ALERTS.keys())
def test_a_bad_alert_is_refused_with_its_reason_and_costs_no_good_one(reason: str, bad: Any) -> None:
    good = [alert(fingerprint=f"good{n}") for n in range(3)]

    delivery = read(body(good[0], bad, *good[1:]), "alertmanager")

    assert [a.fingerprint for a in delivery.alerts] == ["good0", "good1", "good2"]
    assert [(r.index, r.reason) for r in delivery.refused] == [(1, reason)]
    assert delivery.refused[0].error.startswith(REASONS[reason])


def test_a_key_that_stands_twice_refuses_its_alert_alone() -> None:
    twice = body(ALERT, ALERT).replace(b'"mountpoint": "/data"', b'"mountpoint": "/", "mountpoint": "/data"', 1)

    delivery = read(twice, "alertmanager")

    assert len(delivery.alerts) == 1
    assert [(r.index, r.reason) for r in delivery.refused] == [(0, "duplicate_key")]


def test_a_status_that_stands_twice_refuses_its_alert() -> None:
    twice = body(ALERT).replace(b'"status": "firing", "labels"', b'"status": "resolved", "status": "firing", "labels"')

    assert [r.reason for r in read(twice, "alertmanager").refused] == ["duplicate_key"]


@pytest.mark.parametrize("text", ["x" * 1_000_000, "NUL \0 here", "half \ud83d pair"])
def test_an_annotation_cannot_silence_its_alert(text: str) -> None:
    delivery = read(body(alert(annotations={"summary": text})), "alertmanager")

    (read_alert,) = delivery.alerts
    assert len(read_alert.annotations["summary"]) <= webhook.MAX_ANNOTATION_LENGTH
    read_alert.annotations["summary"].encode()
    assert "\0" not in read_alert.annotations["summary"]


BAD_BODIES = {
    "empty": (400, "not_json", b""),
    "no JSON": (400, "not_json", b"alert=1"),
    "truncated": (400, "not_json", body(ALERT)[:-40]),
    "not UTF-8": (400, "not_utf8", b'{"version": "\xff\xfe"}'),
    "NaN": (400, "not_json", b'{"version": "4", "alerts": [], "truncatedAlerts": NaN}'),
    "a number with 5,000 digits": (400, "not_json", b'{"version": ' + b"1" * 5000 + b"}"),
    "nested 100,000 deep": (400, "too_deep", b"[" * 100_000),
    "nested 100,000 deep in an object": (400, "too_deep", b'{"a":' * 100_000),
    "a list": (422, "not_a_webhook", b"[]"),
    "a text": (422, "not_a_webhook", b'"alerts"'),
    "null": (422, "not_a_webhook", b"null"),
    "an empty object": (422, "wrong_version", b"{}"),
    "version 3": (422, "wrong_version", body(ALERT, version="3")),
    "version 4 as number": (422, "wrong_version", body(ALERT, version=4)),
    "no alerts": (422, "not_a_webhook", b'{"version": "4"}'),
    "alerts as object": (422, "not_a_webhook", json.dumps({**BODY, "alerts": {"0": ALERT}}).encode()),
    "two versions": (422, "duplicate_key", b'{"version": "3", "version": "4", "alerts": []}'),
    "10,001 alerts": (413, "too_many_alerts", json.dumps({**BODY, "alerts": [{}] * (MAX_ALERTS + 1)}).encode()),
}


@pytest.mark.parametrize(("status", "reason", "sent"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_body_that_is_no_webhook_is_refused_with_its_reason(status: int, reason: str, sent: bytes) -> None:
    with pytest.raises(BodyRefusedError) as refusal:
        read(sent, "alertmanager")

    assert (refusal.value.status, refusal.value.reason) == (status, reason)
    assert refusal.value.remedy


def test_ten_thousand_alerts_are_read() -> None:
    alerts = [alert(fingerprint=f"{n:016x}") for n in range(MAX_ALERTS)]

    assert len(read(body(*alerts), "alertmanager").alerts) == MAX_ALERTS


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)
_FIELDS = [*ALERT, "extra"]


@settings(max_examples=300)
@given(sent=st.binary(max_size=300) | _JSON.map(lambda value: json.dumps(value).encode()))
def test_no_body_at_all_gets_past_as_anything_but_alerts_or_a_refusal(sent: bytes) -> None:
    with contextlib.suppress(BodyRefusedError):
        delivery = read(sent, "alertmanager")
        assert json.loads(sent)["version"] == "4"
        assert len(delivery.alerts) + len(delivery.refused) == len(json.loads(sent)["alerts"])


@settings(max_examples=300)
@given(changes=st.dictionaries(st.sampled_from(_FIELDS), _JSON, max_size=4), gone=st.sets(st.sampled_from(_FIELDS)))
def test_whatever_is_wrong_with_an_alert_its_neighbour_is_taken_and_what_is_taken_can_be_kept(
    changes: dict[str, Any], gone: set[str]
) -> None:
    strange = {name: value for name, value in (ALERT | changes).items() if name not in gone}

    delivery = read(body(strange, ALERT), "alertmanager")

    assert delivery.alerts[-1].fingerprint == ALERT["fingerprint"]
    assert len(delivery.alerts) + len(delivery.refused) == 2
    for taken in delivery.alerts:
        kept = taken.model_dump_json()
        assert "\\u0000" not in kept
        assert taken.starts_at.tzinfo is not None


@given(secret=st.text(string.ascii_letters, min_size=12, max_size=40), field=st.sampled_from(list(ALERT)))
def test_a_refusal_never_repeats_what_was_sent(secret: str, field: str) -> None:
    marked = f"Zq{secret}\0"

    delivery = read(body(alert(**{field: {marked: [marked]}}), alert(**{field: marked})), "alertmanager")

    assert secret not in "".join(refusal.error for refusal in delivery.refused)
