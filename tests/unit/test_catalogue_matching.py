"""Which system, runbook and target an alert means, and what hostile labels can do about it: nothing."""

from __future__ import annotations

import posixpath
import unicodedata
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nightshift.catalogue import Catalogue, Match, NoMatch
from nightshift.remediation.models import Alert, Mode, Severity, Target

SHOP = """\
id: shop
title: A shop
display: Shop
mode: assist
match:
  - { namespace: shop }
  - { job: node, datacenter: east }
severities: { critical: {}, warning: {}, info: {} }
connections:
  web1: { type: local, instances: ["web1:9100", "10.0.0.1:9100"] }
  web2: { type: local }
  database: { type: postgres, url: { env: SHOP_DATABASE }, instances: ["db:9187"] }
runbooks:
  DiskFull:
    summary: a disk is full
    severity: warning
    severity_when: [{ label: severity, equals: critical, severity: critical }]
    mode: observe
    flow: disk-space-reclaim
    target:
      host: { label: instance }
      filesystem: { label: mountpoint, default: / }
    policy: {}
  VolumeFull:
    summary: a volume is full
    severity: warning
    flow: database-volume-reclaim
    target:
      database: { label: server, default: database }
      claim: { label: claim, among: [data, logs] }
    policy: { volume: database, size: { capacity: 1GiB } }
  Odd:
    summary: nobody knows yet
    severity: info
    planned_flow: find-out
"""
BANK = """\
id: bank
title: A bank
display: Bank
match:
  - { datacenter: east }
severities: { critical: {}, warning: {}, info: {} }
runbooks:
  DiskFull: { summary: a disk is full, severity: critical }
"""


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    folder: Path = tmp_path_factory.mktemp("catalogue")
    (folder / "shop.yaml").write_text(SHOP)
    (folder / "bank.yaml").write_text(BANK)
    return Catalogue.load(folder)


def _alert(**labels: str) -> Alert:
    return Alert(
        source="test", fingerprint="1", status="firing", labels=labels, starts_at=datetime(2025, 1, 1, tzinfo=UTC)
    )


def _disk_full(**labels: str) -> Alert:
    return _alert(**({"alertname": "DiskFull", "system": "shop", "instance": "web1:9100"} | labels))


@pytest.mark.parametrize(
    "labels",
    [
        {"system": "shop"},
        {"namespace": "shop"},
        {"namespace": "shop", "extra": "x"},
        {"system": "shop", "namespace": "y"},
    ],
)
def test_a_system_is_named_or_found_by_its_labels(labels: dict[str, str], catalogue: Catalogue) -> None:
    match = catalogue.match(_alert(alertname="DiskFull", instance="web1:9100", mountpoint="/data", **labels))

    assert isinstance(match, Match)
    assert match.system.id == "shop"
    assert match.target == Target(system="shop", path=("host", "web1", "filesystem", "/data"))


@pytest.mark.parametrize("instance", ["web1", "web1:9100", "10.0.0.1:9100"])
def test_a_host_is_known_by_its_name_and_its_instances(instance: str, catalogue: Catalogue) -> None:
    match = catalogue.match(_disk_full(instance=instance))

    assert isinstance(match, Match)
    assert match.target.path == ("host", "web1", "filesystem", "/")


def test_a_database_and_its_claim_are_found(catalogue: Catalogue) -> None:
    match = catalogue.match(_alert(alertname="VolumeFull", system="shop", server="db:9187", claim="logs"))

    assert isinstance(match, Match)
    assert match.target.path == ("database", "database", "claim", "logs")


def test_severity_and_mode_come_from_the_catalogue(catalogue: Catalogue) -> None:
    usual = catalogue.match(_disk_full())
    urgent = catalogue.match(_disk_full(severity="critical"))
    odd = catalogue.match(_alert(alertname="Odd", system="shop", severity="critical"))

    assert isinstance(usual, Match)
    assert (usual.severity, usual.mode) == (Severity.WARNING, Mode.OBSERVE)
    assert urgent.severity is Severity.CRITICAL
    assert isinstance(odd, Match)
    assert (odd.severity, odd.mode) == (Severity.INFO, Mode.ASSIST)


def test_an_alert_without_a_flow_is_its_own_target(catalogue: Catalogue) -> None:
    match = catalogue.match(_alert(alertname="Odd", system="shop"))

    assert isinstance(match, Match)
    assert not match.runbook.answered
    assert match.target.path == ("alert", "Odd")


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({"alertname": "DiskFull", "system": "shp"}, "the label system='shp' names no system of the catalogue"),
        (
            {"alertname": "DiskFull", "namespace": "other"},
            "no system of the catalogue matches its labels, and it has no label 'system'",
        ),
        (
            {"alertname": "DiskFull", "datacenter": "east", "job": "node"},
            "its labels match several systems: bank, shop; a label 'system' would decide",
        ),
        ({"alertname": "Diskfull", "system": "shop"}, "Shop has no runbook for the alert 'Diskfull'"),
        ({"system": "shop"}, "it has no label 'alertname'"),
        ({"alertname": "DiskFull", "system": "shop"}, "it has no label 'instance', which names its host"),
        (
            {"alertname": "DiskFull", "system": "shop", "instance": "web3:9100"},
            "the label instance='web3:9100' names no host of Shop",
        ),
        (
            {"alertname": "DiskFull", "system": "shop", "instance": "database"},
            "the label instance='database' names no host of Shop",
        ),
        (
            {"alertname": "DiskFull", "system": "shop", "instance": "web1", "mountpoint": "/data/../etc"},
            (
                "the label mountpoint='/data/../etc' is no mount point: "
                "a mount point is an absolute, normalised path such as / or /data"
            ),
        ),
        (
            {"alertname": "VolumeFull", "system": "shop", "claim": "secrets"},
            "the label claim='secrets' names no claim of Shop",
        ),
        (
            {"alertname": "DiskFull", "system": "shop", "instance": "$(rm -rf /)\n[click](http://x)"},
            r"the label instance='$(rm -rf /)\x0a\x5bclick\x5d(http\x3a//x)' names no host of Shop",
        ),
    ],
)
def test_what_means_nothing_declared_is_refused_with_the_reason(
    labels: dict[str, str], reason: str, catalogue: Catalogue
) -> None:
    answer = catalogue.match(_alert(**labels))

    assert isinstance(answer, NoMatch)
    assert answer.reason == reason


def test_what_is_known_of_a_refused_alert_is_told(catalogue: Catalogue) -> None:
    answer = catalogue.match(_disk_full(instance="web3"))

    assert isinstance(answer, NoMatch)
    assert answer.system is catalogue.systems["shop"]
    assert answer.alert_name == "DiskFull"
    assert answer.severity is Severity.WARNING


@pytest.mark.parametrize(
    ("claimed", "taken"), [("info", "info"), ("warning", "warning"), ("page", "critical"), ("", "critical")]
)
def test_an_unknown_alert_is_as_severe_as_it_says_and_critical_in_doubt(
    claimed: str, taken: str, catalogue: Catalogue
) -> None:
    assert catalogue.match(_alert(alertname="New", system="shop", severity=claimed)).severity == taken


@pytest.mark.parametrize(
    "mount",
    [
        "",
        "data",
        "//",
        "//data",
        "/data/",
        "/data//x",
        "/./data",
        "/..",
        "/a\0b",
        "/a\nb",
        "/a\x1b[2J",
        "/a\u202eb",
        "/" + "x" * 255,
    ],
)
def test_what_is_no_mount_point_is_refused(mount: str, catalogue: Catalogue) -> None:
    assert isinstance(catalogue.match(_disk_full(mountpoint=mount)), NoMatch)


@pytest.mark.parametrize(
    "mount", ["/", "/data", "/mnt/größe", "/with space", "/..data", "/" + "x" * 254, "/$(reboot)", "/'; --"]
)
def test_an_odd_mount_point_is_left_to_the_real_mounts_of_the_host(mount: str, catalogue: Catalogue) -> None:
    match = catalogue.match(_disk_full(mountpoint=mount))

    assert isinstance(match, Match)
    assert match.target.part("filesystem") == mount


HOSTILE = st.one_of(
    st.text(),
    st.sampled_from(
        [
            "shop",
            "bank",
            "web1",
            "web1:9100",
            "web2",
            "database",
            "db:9187",
            "DiskFull",
            "VolumeFull",
            "Odd",
            "data",
            "/",
            "/data",
        ]
    ),
    st.sampled_from(
        ["../..", "/data/../../etc", "web1\n", "web1 ", "WEB1", "{{ x }}", "'; drop table", "<script>", "\0", "\ud800"]
    ),
    st.text(alphabet="/.a\0\n\u202e"),
)
LABELS = st.dictionaries(
    st.one_of(
        st.sampled_from(
            [
                "alertname",
                "system",
                "namespace",
                "job",
                "datacenter",
                "instance",
                "mountpoint",
                "server",
                "claim",
                "severity",
            ]
        ),
        st.text(),
    ),
    HOSTILE,
)


@given(labels=LABELS)
@example(labels={"alertname": "DiskFull", "system": "shop", "instance": "web1", "mountpoint": "/\0"})
@example(labels={"alertname": "x" * 1_000_000, "system": "shop"})
def test_only_declared_names_and_sound_mount_points_reach_a_target(
    labels: dict[str, str], catalogue: Catalogue
) -> None:
    alert = Alert.model_construct(
        source="test", fingerprint="1", status="firing", labels=labels, annotations={},
        starts_at=datetime(2025, 1, 1, tzinfo=UTC), ends_at=None, generator_url="",
    )  # fmt: skip

    answer = catalogue.match(alert)

    if isinstance(answer, NoMatch):
        assert answer.reason.isprintable()
        assert not set(answer.reason) & set("<>[]{}`|*")
        assert len(answer.reason) < 1000
        return
    pairs = dict(zip(answer.target.path[::2], answer.target.path[1::2], strict=True))
    mount = pairs.pop("filesystem", "/")
    assert mount.startswith("/")
    assert posixpath.normpath(mount) == mount
    assert not any(unicodedata.category(character).startswith("C") for character in mount)
    assert set(pairs.items()) <= {
        *(("host", "web1"), ("host", "web2"), ("database", "database"), ("claim", "data"), ("claim", "logs")),
        *(("alert", "DiskFull"), ("alert", "Odd")),
    }
