"""What a person reads who made a mistake in a catalogue file."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightshift.catalogue import Catalogue, CatalogueError
from nightshift.remediation.flow_policies import FLOW_POLICIES

GOOD = """\
id: shop
title: A shop
display: Shop
mode: propose
match:
  - namespace: shop
severities:
  critical:
    acknowledge: 5m
    notify: [pager]
  warning: {}
  info: {}
channels:
  pager:
    kind: pagerduty
    title: PagerDuty
    url: { env: SHOP_PAGERDUTY }
roles:
  on-call:
    title: on-call engineer
escalation:
  - after: 5m
    roles: [on-call]
connections:
  web1:
    type: ssh
    address: web1.shop.internal
    port: 22
    private_key: { env: SHOP_KEY }
    known_hosts: /etc/nightshift/known_hosts
    instances: ["web1:9100"]
  cluster: { type: kubernetes, namespace: shop }
  prometheus: { type: http, url: "http://prometheus.shop.internal" }
  database: { type: postgres, url: { env: SHOP_DATABASE } }
runbooks:
  DiskFull:
    summary: a disk is full
    severity: critical
    flow: disk-space-reclaim
    target:
      host: { label: instance }
      filesystem: { label: mountpoint, default: / }
    policy:
      journal: { keep: 1GiB }
      docker: { images_older_than: 7d, build_cache_older_than: 7d }
  VolumeFull:
    summary: a volume is full
    severity: warning
    flow: database-volume-reclaim
    target:
      database: { default: database }
      claim: { label: persistentvolumeclaim, among: [data] }
    policy:
      volume: database
      size: { prometheus: prometheus }
      archive_rows: [{ table: orders, time_column: created_at, older_than: 90d, to: /mnt/archive }]
      expand: { cluster: cluster, ceiling: 1TiB }
  Unknown:
    summary: nobody knows yet
    severity: info
"""

ELSEWHERE = "Write env: NAME, file: PATH or prefect_block: NAME here, and keep the secret there."

MISTAKES = {
    "unknown key": ("mode: propose", "mdoe: propose", "4:1: mdoe: is not known here. Write 'mode'."),
    "unknown key in a policy": (
        "journal: { keep",
        "journl: { keep",
        "44:7: runbooks.DiskFull.policy.journl: is not known here. Write 'journal'.",
    ),
    "unknown key in the database's policy": (
        "archive_rows:",
        "archive_row:",
        "56:7: runbooks.VolumeFull.policy.archive_row: is not known here. Write 'archive_rows'.",
    ),
    "unknown key in a connection": (
        "    port: 22",
        "    prt: 22",
        "28:5: connections.web1.prt: is not known here. Write 'port'.",
    ),
    "unknown value": (
        "mode: propose",
        "mode: propse",
        "4:7: mode: 'propse' is not one of its values. Write 'propose'.",
    ),
    "unknown value, none near": (
        "kind: pagerduty",
        "kind: pigeon",
        "15:11: channels.pager.kind: 'pigeon' is not one of its values. Known are apprise, email, pagerduty, slack.",
    ),
    "unknown connection type": (
        "type: ssh",
        "type: shs",
        "26:11: connections.web1.type: 'shs' is not one of its values. Write 'ssh'.",
    ),
    "connection without a type": (
        "cluster: { type: kubernetes, ",
        "cluster: { ",
        (
            "32:3: connections.cluster: 'type' is missing. "
            "Write one of ssh, windows, local, postgres, http, kubernetes, docker, s3, redis."
        ),
    ),
    "unknown kind of volume": (
        "volume: database",
        "volume: databse",
        "54:15: runbooks.VolumeFull.policy.volume: 'databse' is not one of its values. Write 'database'.",
    ),
    "missing key": ("title: A shop\n", "", "1:1: 'title' is missing."),
    "missing key in a list": (
        "{ table: orders, time_column",
        "{ time_column",
        "56:22: runbooks.VolumeFull.policy.archive_rows[0]: 'table' is missing.",
    ),
    "number out of range": ("port: 22", "port: 99999", "28:11: connections.web1.port: should be less than 65536."),
    "text for a number": (
        "port: 22",
        "port: ssh",
        "28:11: connections.web1.port: should be a whole number. Write it in digits, such as 20.",
    ),
    "list for a text": ("title: A shop", "title: [a]", "2:8: title: should be text."),
    "text for a mapping": (
        "  warning: {}",
        "  warning: 5m",
        "11:12: severities.warning: should be a mapping of keys to values.",
    ),
    "text for a list": (
        "notify: [pager]",
        "notify: pager",
        "10:13: severities.critical.notify: should be a list.",
    ),
    "no duration": (
        "acknowledge: 5m",
        "acknowledge: soon",
        "9:18: severities.critical.acknowledge: write a duration such as 30s, 15m, 12h or 7d.",
    ),
    "endless duration": (
        "acknowledge: 5m",
        "acknowledge: .inf",
        "9:18: severities.critical.acknowledge: should be a finite number.",
    ),
    "no IANA time zone": (
        "mode: propose",
        "time_zone: CEST",
        "4:12: time_zone: write a time zone of the IANA database such as UTC or Europe/Berlin.",
    ),
    "severity without its times": (
        "  info: {}\n",
        "",
        "7:1: severities: info missing; write all of critical, warning, info.",
    ),
    "channel that does not exist, in a severity": (
        "notify: [pager]",
        "notify: [pagr]",
        "10:14: severities.critical.notify[0]: there is no channel 'pagr'. Write 'pager'.",
    ),
    "channel that does not exist, in the ladder": (
        "    roles: [on-call]",
        "    channels: [slack]",
        "23:16: escalation[0].channels[0]: there is no channel 'slack'. Known are pager.",
    ),
    "role that does not exist": (
        "    roles: [on-call]",
        "    roles: [oncall]",
        "23:13: escalation[0].roles[0]: there is no role 'oncall'. Write 'on-call'.",
    ),
    "step that nothing starts": (
        "  - after: 5m\n    roles",
        "  - roles",
        "22:5: escalation[0]: say when the step is taken: after (a duration), or when (a condition for people).",
    ),
    "step that tells nobody": (
        "\n    roles: [on-call]",
        "",
        "22:5: escalation[0]: say who is told: roles, channels or both.",
    ),
    "silence as a yes to everything": (
        "mode: propose",
        "approval: { unless_denied_within: 10m }",
        (
            "4:35: approval.unless_denied_within: only what is of low risk may be done because nobody denied it. "
            "Write it under low."
        ),
    ),
    "silence as a yes to high risk": (
        "    flow: disk-space-reclaim",
        "    flow: disk-space-reclaim\n    approval:\n      high:\n        unless_denied_within: 10m",
        (
            "42:31: runbooks.DiskFull.approval.high.unless_denied_within: only what is of low risk may be done because "
            "nobody denied it. Write it under low."
        ),
    ),
    "silence as a yes of two people": (
        "mode: propose",
        "approval: { quorum: 2, low: { unless_denied_within: 10m } }",
        (
            "4:11: approval: plans of low risk take 2 people, so silence cannot be a yes. "
            "Leave unless_denied_within out, or write quorum: 1 under low."
        ),
    ),
    "approval by nobody": (
        "mode: propose",
        "approval: { roles: [on-call] }",
        (
            "4:20: approval.roles: nobody could approve: none of these roles has people. "
            "Name people in a role, or leave roles out."
        ),
    ),
    "sweep that names no connection": (
        "mode: propose",
        "sweep: { prometheus: promteheus, skip: [web1] }",
        "4:22: sweep.prometheus: there is no connection of type http 'promteheus'. Write 'prometheus'.",
    ),
    "connection that does not exist": (
        "size: { prometheus: prometheus }",
        "size: { prometheus: promteheus }",
        (
            "55:27: runbooks.VolumeFull.policy.size.prometheus: "
            "there is no connection of type http 'promteheus'. Write 'prometheus'."
        ),
    ),
    "connection of another type": (
        "expand: { cluster: cluster",
        "expand: { cluster: web1",
        (
            "57:26: runbooks.VolumeFull.policy.expand.cluster: "
            "there is no connection of type kubernetes 'web1'. Known are cluster."
        ),
    ),
    "namespace that no cluster has": (
        "  Unknown:\n    summary: nobody knows yet\n    severity: info\n",
        (
            "  Unknown:\n    summary: nobody knows yet\n    severity: info\n    flow: certificate-expiry\n"
            "    target: { cluster: { default: cluster }, namespace: { default: shop }, certificate: { default: w } }\n"
            "    policy: { alert_before: 7d }\n"
        ),
        (
            "63:13: runbooks.Unknown.policy: there is no connection to a cluster with the cert_manager_namespace "
            "'cert-manager'. Known are shop."
        ),
    ),
    "default host that does not exist": (
        "host: { label: instance }",
        "host: { label: instance, default: web2 }",
        "41:41: runbooks.DiskFull.target.host.default: there is no host 'web2'. Write 'web1'.",
    ),
    "a host whose system the flow does not know": (
        "    type: ssh\n    address: web1.shop.internal",
        "    type: windows\n    address: web1.shop.internal",
        (
            "41:13: runbooks.DiskFull.target.host: no host can be found: "
            "the system has no connection of type ssh or local. Declare one under connections."
        ),
    ),
    "no host at all": (
        (
            "    type: ssh\n    address: web1.shop.internal\n    port: 22\n    private_key: { env: SHOP_KEY }\n"
            '    known_hosts: /etc/nightshift/known_hosts\n    instances: ["web1:9100"]\n'
        ),
        "    type: kubernetes\n    namespace: web\n",
        (
            "37:13: runbooks.DiskFull.target.host: no host can be found: "
            "the system has no connection of type ssh or local. Declare one under connections."
        ),
    ),
    "an instance of two hosts": (
        "  cluster: {",
        '  web2: { type: local, instances: ["web1:9100"] }\n  cluster: {',
        (
            "32:36: connections.web2.instances[0]: 'web1:9100' means connections.web1 already. "
            "Leave it with one of the two."
        ),
    ),
    "an instance that is another host's name": (
        "  cluster: {",
        "  web2: { type: local, instances: [web1] }\n  cluster: {",
        "32:36: connections.web2.instances[0]: 'web1' means connections.web1 already. Leave it with one of the two.",
    ),
    "the same labels twice": (
        "  - namespace: shop\n",
        "  - namespace: shop\n  - namespace: shop\n",
        "7:5: match[1]: the same labels belong to shop already (shop.yaml:6). Add a label that tells the two apart.",
    ),
    "secret in place of a reference": (
        "private_key: { env: SHOP_KEY }",
        "private_key: hunter2",
        f"29:18: connections.web1.private_key: a secret is written in the file. {ELSEWHERE}",
    ),
    "database URL with its password": (
        "url: { env: SHOP_DATABASE }",
        'url: "postgresql://shop:hunter2@db/shop"',
        f"34:36: connections.database.url: a URL with a password is written in the file. {ELSEWHERE}",
    ),
    "HTTP URL with a password": (
        "http://prometheus.shop",
        "http://bob:hunter2@prometheus.shop",
        f"33:34: connections.prometheus.url: a URL with a password is written in the file. {ELSEWHERE}",
    ),
    "Slack webhook": (
        "url: { env: SHOP_PAGERDUTY }",
        "url: https://hooks.slack.com/services/T0/B0/hunter2",
        "17:10: channels.pager.url: a Slack webhook is written in the file, and its URL is a secret. " + ELSEWHERE,
    ),
    "secret in a free text": (
        "title: A shop",
        "title: ask with xoxb-hunter2",
        f"2:8: title: a token is written in the file. {ELSEWHERE}",
    ),
    "secret beside its reference": (
        "url: { env: SHOP_PAGERDUTY }",
        "url: { env: SHOP_PAGERDUTY, value: hunter2 }",
        "17:33: channels.pager.url.value: is not known here. Known are env, file, prefect_block.",
    ),
    "two places for one secret": (
        "url: { env: SHOP_PAGERDUTY }",
        "url: { env: SHOP_PAGERDUTY, file: /x }",
        "17:10: channels.pager.url: name exactly one of env, file, prefect_block.",
    ),
    "secret as the name of a variable": (
        "url: { env: SHOP_PAGERDUTY }",
        "url: { env: hunter2! }",
        (
            "17:17: channels.pager.url.env: is not written as it must be. "
            "Write text that matches ^[A-Za-z_][A-Za-z0-9_]*$."
        ),
    ),
    "flow that does not exist": (
        "    flow: disk-space-reclaim\n    target:\n      host",
        "    flow: disk-space-reclam\n    target:\n      host",
        "39:11: runbooks.DiskFull.flow: there is no flow 'disk-space-reclam'. Write 'disk-space-reclaim'.",
    ),
    "flow that resembles none": (
        "    flow: disk-space-reclaim\n    target:\n      host",
        "    flow: xyz\n    target:\n      host",
        (f"39:11: runbooks.DiskFull.flow: there is no flow 'xyz'. Known are {', '.join(sorted(FLOW_POLICIES))}."),
    ),
    "target of another kind": (
        "      database: { default: database }\n      claim: {",
        "      db: { default: database }\n      claim: {",
        (
            "50:5: runbooks.VolumeFull.target: the flow database-volume-reclaim needs the target "
            "{ database: …, claim: … }, with these keys in this order."
        ),
    ),
    "address without its scheme": (
        "http://prometheus.shop.internal",
        "prometheus.shop.internal:9090",
        (
            "33:34: connections.prometheus.url: is no address of an HTTP server. "
            "Write it whole, such as http://prometheus:9090."
        ),
    ),
    "policy without a flow": (
        "    severity: info",
        "    severity: info\n    policy: {}",
        "61:13: runbooks.Unknown.policy: a policy belongs to a flow, and this runbook names none.",
    ),
    "flow and planned flow": (
        "    severity: critical",
        "    severity: critical\n    planned_flow: disk-space-magic",
        "36:3: runbooks.DiskFull: write flow or planned_flow, not both.",
    ),
    "target without its filesystem": (
        "      filesystem: { label: mountpoint, default: / }\n",
        "",
        (
            "40:5: runbooks.DiskFull.target: the flow disk-space-reclaim needs the target "
            "{ host: …, filesystem: … }, with these keys in this order."
        ),
    ),
    "mount point that climbs": (
        "default: / }",
        "default: /data/../etc }",
        "40:5: runbooks.DiskFull.target: filesystem: a mount point is an absolute, normalised path such as / or /data.",
    ),
    "names of a target left open": (
        "{ label: persistentvolumeclaim, among: [data] }",
        "{ label: persistentvolumeclaim }",
        "50:5: runbooks.VolumeFull.target: claim: list the names it may have in among.",
    ),
    "relative directory": (
        "to: /mnt/archive",
        "to: mnt/archive",
        (
            "56:85: runbooks.VolumeFull.policy.archive_rows[0].to: "
            "write an absolute path without '..', such as /var/log/shop."
        ),
    ),
    "SQL for a table": (
        "table: orders,",
        'table: "orders; drop table orders",',
        (
            "56:31: runbooks.VolumeFull.policy.archive_rows[0].table: is not written as it must be. "
            "Write text that matches ^[a-z_][a-z0-9_]{0,62}(\\.[a-z_][a-z0-9_]{0,62})?$."
        ),
    ),
    "two ways to measure": (
        "size: { prometheus: prometheus }",
        "size: { prometheus: prometheus, capacity: 1GiB }",
        "55:13: runbooks.VolumeFull.policy.size: name exactly one of prometheus, capacity.",
    ),
    "system under another name": (
        "id: shop",
        "id: store",
        "1:5: id: the system 'store' stands in shop.yaml. Call the file store.yaml, or the system 'shop'.",
    ),
    "key written twice": (
        "mode: propose",
        "mode: propose\nmode: auto",
        "5:1: mode: is written twice, first in line 4. Keep one of them.",
    ),
    "runbook written twice": (
        "  Unknown:",
        "  DiskFull:",
        "58:3: runbooks.DiskFull: is written twice, first in line 36. Keep one of them.",
    ),
    "no YAML": ("notify: [pager]", "notify: [pager", "11:10: is no YAML: expected ',' or ']', but got ':'."),
    "tabs": ("mode: propose", "\tmode: propose", "4:1: is no YAML: found character '\\t' that cannot start any token."),
    "two documents": (
        "connections:",
        "---\nconnections:",
        "24:1: is no YAML: but found another document.",
    ),
    "an alias without an anchor": (
        "title: A shop",
        "title: *nowhere",
        "2:8: is no YAML: found undefined alias 'nowhere'.",
    ),
}


def _load(folder: Path, **files: str) -> Catalogue:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return Catalogue.load(folder)


def _mistakes(folder: Path, **files: str) -> list[str]:
    with pytest.raises(CatalogueError) as caught:
        _load(folder, **files)
    return [str(mistake) for mistake in caught.value.mistakes]


def test_the_file_without_mistakes_loads(tmp_path: Path) -> None:
    assert list(_load(tmp_path, shop=GOOD).systems) == ["shop"]


@pytest.mark.parametrize(("right", "wrong", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_says_where_it_is_and_what_to_write(right: str, wrong: str, said: str, tmp_path: Path) -> None:
    assert right in GOOD

    mistakes = _mistakes(tmp_path, shop=GOOD.replace(right, wrong, 1))

    assert f"{tmp_path}/shop.yaml:{said}" in mistakes
    assert "hunter2" not in "".join(mistakes)


@pytest.mark.parametrize("name", ["unknown key", "connection that does not exist", "secret in place of a reference"])
def test_one_mistake_is_told_once(name: str, tmp_path: Path) -> None:
    right, wrong, _ = MISTAKES[name]

    assert len(_mistakes(tmp_path, shop=GOOD.replace(right, wrong, 1))) == 1


def test_all_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    shop = (
        GOOD.replace("mode: propose", "mdoe: propose").replace("[on-call]", "[oncall]").replace("port: 22", "port: x")
    )

    mistakes = _mistakes(tmp_path, shop=shop, bank="id: [", mail="", list="- 1\n")

    assert [mistake.removeprefix(f"{tmp_path}/").partition(" ")[0] for mistake in mistakes] == [
        "bank.yaml:1:6:",
        "list.yaml:1:1:",
        "mail.yaml:",
        "shop.yaml:4:1:",
        "shop.yaml:23:13:",
        "shop.yaml:28:11:",
    ]


def test_two_systems_cannot_claim_the_same_labels(tmp_path: Path) -> None:
    mistakes = _mistakes(tmp_path, shop=GOOD, bank=GOOD.replace("id: shop", "id: bank"))

    assert mistakes == [
        (
            f"{tmp_path}/shop.yaml:6:5: match[0]: the same labels belong to bank already (bank.yaml:6). "
            "Add a label that tells the two apart."
        )
    ]


def test_two_files_cannot_hold_the_same_system(tmp_path: Path) -> None:
    (tmp_path / "shop.yml").write_text(GOOD)

    mistakes = _mistakes(tmp_path, shop=GOOD)

    assert mistakes == [
        f"{tmp_path}/shop.yml:1:5: id: the system 'shop' stands in shop.yaml too. Keep one of the files."
    ]


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system [true]", "!!binary aGk=", "!shop x"])
def test_tags_make_no_objects(tag: str, tmp_path: Path) -> None:
    mistakes = _mistakes(tmp_path, shop=GOOD.replace("title: A shop", f"title: {tag}"))

    assert any("shop.yaml:2:8: title: the tag" in mistake and "is not allowed" in mistake for mistake in mistakes)


def test_a_document_that_contains_itself_is_a_mistake(tmp_path: Path) -> None:
    mistakes = _mistakes(tmp_path, shop=GOOD.replace("roles: [on-call]", "roles: &me [*me]"))

    assert f"{tmp_path}/shop.yaml:23:12: escalation[0].roles[0]: it contains itself." in mistakes


def test_an_anchor_saves_writing_the_same_policy_twice(tmp_path: Path) -> None:
    first = GOOD.replace("journal: { keep: 1GiB }", "journal: &journal { keep: 1GiB }")
    again = """\
  DiskFullToo:
    summary: another disk is full
    severity: warning
    flow: disk-space-reclaim
    target: { host: { label: instance }, filesystem: { label: mountpoint } }
    policy: { journal: *journal }
"""

    system = _load(tmp_path, shop=first + again).systems["shop"]

    assert system.runbooks["DiskFullToo"].policy.journal.keep == 1024**3


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"id: \x00"])
def test_a_file_that_is_no_text_is_a_mistake(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_bytes(content)

    with pytest.raises(CatalogueError, match=r"shop\.yaml: (cannot be read: it is not UTF-8|is no YAML)"):
        Catalogue.load(tmp_path)


def test_an_empty_folder_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match=r"no catalogue file in this folder\. Set NIGHTSHIFT_RUNBOOKS"):
        Catalogue.load(tmp_path)


def test_what_takes_two_people_needs_two_in_the_roles_that_approve(tmp_path: Path) -> None:
    down = """\
  DatabaseDown:
    summary: no answer
    severity: critical
    flow: database-unavailable
    target: { database: { default: database } }
    policy:
      on_host:
        host: web1
        service: { name: postgresql@15-main.service }
        data_directory: /var/lib/postgresql/15/main
        recover:
          make: { tool: pgbackrest, stanza: shop, scratch_directory: /srv/scratch }
          source: { database: shop }
          directory: /srv/marks
          proof: {}
"""
    alone = GOOD.replace("title: on-call engineer", "title: on-call engineer\n    people: [ana]")
    asked = alone.replace("mode: propose", "approval: { roles: [on-call] }") + down

    (mistake,) = _mistakes(tmp_path, shop=asked)
    system = _load(tmp_path, shop=asked.replace("[ana]", "[ana, bo]")).systems["shop"]

    assert "it allows what takes 2 different people, and the roles that approve have 1 person" in mistake
    assert "DatabaseDown" in system.runbooks
