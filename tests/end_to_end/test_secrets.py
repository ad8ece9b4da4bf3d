"""No secret leaks: canaries wherever a secret can be, everything fails that can, and then everything is searched."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from lab.canaries import Canary, Place, command_lines, files_below, leaks, tables_of
from lab.full_disk import FullDisk
from lab.installation import Installation
from lab.patient_host import MIB, PatientHost
from lab.ports import free_port
from lab.sinks import HttpSink
from nightshift.remediation.ledger.journal import Kind

pytestmark = pytest.mark.timeout(600)

MOUNTS = {"/asks": 48 * MIB, "/alone": 48 * MIB}
WHERE = (
    "webhook token",
    "token of a stranger",
    "Slack webhook",
    "PagerDuty key",
    "mail password",
    "apprise password",
    "page URL password",
    "password of a database",
    "password of a database that is down",
    "token of an HTTP API",
    "password of an Alertmanager",
    "token of an Alertmanager",
    "Prefect's auth string",
    "Prefect Secret block",
    "file with a secret",
)
_SAVE_BLOCK = """
import sys
from prefect.blocks.system import Secret
Secret(value=sys.stdin.read()).save("pager-url")
"""


@dataclass
class Planted:
    """An installation with a canary in each place, and all that it ever said."""

    installation: Installation
    canaries: dict[str, Canary]
    sink: HttpSink
    said: list[Place] = field(default_factory=list)

    def cli(self, *arguments: str, **environment: str) -> str:
        """Run a command and keep what it said."""
        program = [str(Path(sys.executable).parent / "nightshift"), *arguments]
        done = subprocess.run(
            program,
            env={**self.installation.environment, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        said = done.stdout + done.stderr
        self.said.append((f"nightshift {' '.join(arguments)}", said.encode()))
        return said

    def places(self) -> Iterator[Place]:
        """Everything that somebody may read who may not know the secrets."""
        home = self.installation.home
        yield from self.said
        # Private by mode, and what they are for: settings, passwords of the embedded server, made-up key and secret.
        private = [home / "nightshift.env", home / "secret", self.installation.catalogue / "other", *self._access()]
        cluster = next(home.rglob("PG_VERSION")).parent  # its tables are read below, as people would
        yield from files_below(home, besides=[*private, cluster])
        passwords = json.loads(self._access()[0].read_text())["passwords"]
        port = json.loads(self._access()[0].read_text())["port"]
        for role in ("nightshift", "prefect"):
            yield from tables_of(f"postgresql://{role}:{passwords[role]}@127.0.0.1:{port}/{role}", role)
        yield from command_lines(str(home))
        yield from self._over_http()
        for kind in (self.sink.slack, self.sink.events, self.sink.json):
            yield "messages to people", json.dumps(kind).encode()

    def _access(self) -> list[Path]:
        return [path for path in self.installation.home.rglob("*.json") if "passwords" in path.read_text()[:10_000]]

    def _over_http(self) -> Iterator[Place]:
        api = self.installation.settings.prefect_api_url
        for what in ("logs", "flow_runs", "task_runs", "artifacts", "events", "deployments", "block_documents"):
            answer = httpx.post(f"{api}/{what}/filter", json={}, trust_env=False)
            answer.raise_for_status()
            yield f"Prefect's API, {what}", answer.content
        gateway = self.installation.settings.gateway_url
        for path in ("/metrics", "/readyz", "/nothing"):
            yield f"the gateway's {path}", httpx.get(f"{gateway}{path}", trust_env=False).content


@pytest.fixture(scope="module")
def planted() -> Iterator[Planted]:
    with (
        PatientHost(MOUNTS) as patient,
        HttpSink() as sink,
        Installation(prefix="nightshift-canaries-") as installation,
    ):
        canaries = {name: Canary.hatch(name) for name in WHERE}
        world = Planted(installation, canaries, sink)
        installation.environment |= environment(canaries, sink)
        (installation.home / "secret").write_text(f"http://127.0.0.1:1/{canaries['file with a secret'].quoted}")
        write_catalogue(installation, patient)
        keys_and_passwords(world, patient)
        installation.up()
        live_through_a_night(world, patient)
        yield world


def environment(canaries: dict[str, Canary], sink: HttpSink) -> dict[str, str]:
    """Each canary where an installation takes its secrets from."""

    def at(name: str) -> str:
        return canaries[name].quoted

    dead, http = f"127.0.0.1:{free_port()}", sink.apprise_url.removeprefix("json://").removesuffix("/json")
    postgres = free_port()
    alertmanagers = {
        "alertmanager": f"http://user:{at('password of an Alertmanager')}@{dead}",
        "other": {"url": f"http://{http}", "token": canaries["token of an Alertmanager"].text},
    }
    return {
        "NIGHTSHIFT_CLAIM_SECONDS": "10",
        "NIGHTSHIFT_WEBHOOK_TOKEN": canaries["webhook token"].text,
        "NIGHTSHIFT_ALERTMANAGERS": json.dumps(alertmanagers),
        "NIGHTSHIFT_PAGE_URL": f"json://user:{at('page URL password')}@{http}/json",
        "SHOP_SLACK_URL": f"{sink.slack_url}/{at('Slack webhook')}",
        "SHOP_PAGERDUTY_KEY": f"http://{at('PagerDuty key')}@{http}/v2/enqueue",
        "SHOP_MAIL_URL": f"mailto://user:{at('mail password')}@{dead}?from=a@example.com&to=b@example.com",
        "SHOP_APPRISE_URL": f"json://user:{at('apprise password')}@{dead}/",
        "NIGHTSHIFT_POSTGRES_PORT": str(postgres),
        "SHOP_DATABASE_URL": f"postgresql://nightshift:{at('password of a database')}@127.0.0.1:{postgres}/nightshift",
        "SHOP_DEAD_DATABASE_URL": f"postgresql://shop:{at('password of a database that is down')}@{dead}/shop",
        "SHOP_API_TOKEN": canaries["token of an HTTP API"].text,
        "PREFECT_API_AUTH_STRING": "admin:" + canaries["Prefect's auth string"].text,
        # As talkative as people make it who look for a mistake.
        "PREFECT_LOGGING_LEVEL": "DEBUG",
        "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.5",
    }


def write_catalogue(installation: Installation, patient: PatientHost) -> None:
    folder = installation.catalogue
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "other")], check=True, capture_output=True
    )
    web1 = patient.connection().model_dump(mode="json", exclude_none=True)
    channels = {
        "slack": ("slack", {"env": "SHOP_SLACK_URL"}),
        "pagerduty": ("pagerduty", {"env": "SHOP_PAGERDUTY_KEY"}),
        "mail": ("email", {"env": "SHOP_MAIL_URL"}),
        "apprise": ("apprise", {"env": "SHOP_APPRISE_URL"}),
        "block": ("slack", {"prefect_block": "pager-url"}),
        "file": ("slack", {"file": str(installation.home / "secret")}),
    }
    disk = {
        "summary": "a filesystem is nearly full",
        "severity": "critical",
        "flow": "disk-space-reclaim",
        "target": {"host": {"label": "instance"}, "filesystem": {"label": "mountpoint"}},
        "policy": {
            "target_used_percent": 60,
            "alert_used_percent": 80,
            "watch": "2s",
            "refill_horizon": "5s",
            "scan_seconds": "10s",
            "rotated_logs": [
                {"directory": f"{m}/log", "patterns": ["*.log.[0-9]*"], "older_than": "7d"} for m in MOUNTS
            ],
        },
    }
    volume = {
        "summary": "the volume is nearly full",
        "severity": "warning",
        "flow": "database-volume-reclaim",
        "target": {"database": {"label": "database"}, "claim": {"default": "pvc", "among": ["pvc"]}},
        "policy": {"volume": "database", "size": {"capacity": 1_000_000_000}, "watch": "1s", "refill_horizon": "1s"},
    }
    system = {
        "id": "shop",
        "display": "Shop",
        "title": "the system with the canaries",
        "severities": {"critical": {"notify": list(channels)}, "warning": {"notify": ["slack"]}, "info": {}},
        "channels": {name: {"kind": kind, "title": name, "url": url} for name, (kind, url) in channels.items()},
        "connections": {
            "web1": web1,
            "wrong-key": {**web1, "private_key": {"file": str(folder / "other")}},
            "down": {**web1, "port": free_port()},
            "main": {"type": "postgres", "url": {"env": "SHOP_DATABASE_URL"}},
            "dead": {"type": "postgres", "url": {"env": "SHOP_DEAD_DATABASE_URL"}},
            "api": {
                "type": "http",
                "url": f"http://127.0.0.1:{free_port()}",
                "token": {"env": "SHOP_API_TOKEN"},
            },
        },
        "runbooks": {
            "DiskAsks": disk | {"mode": "propose"},
            "DiskAlone": disk | {"mode": "auto"},
            "VolumeFull": volume | {"mode": "auto"},
        },
    }
    (folder / "shop.yaml").write_text(json.dumps(system))


def keys_and_passwords(world: Planted, patient: PatientHost) -> None:
    """Secrets that were made elsewhere: the lines in the middle of private keys."""
    connection = patient.connection()
    assert connection.private_key.file is not None
    for name, file in (
        ("SSH key", connection.private_key.file),
        ("wrong SSH key", world.installation.catalogue / "other"),
    ):
        middle = Path(file).read_text().splitlines()[2]
        world.canaries[name] = Canary(name, middle)


def live_through_a_night(world: Planted, patient: PatientHost) -> None:
    """Everything that can go wrong with a secret, and a repair that goes right."""
    installation = world.installation
    access = json.loads(world._access()[0].read_text())
    world.canaries |= {f"role {role}": Canary(f"role {role}", text) for role, text in access["passwords"].items()}
    for mount in MOUNTS:
        FullDisk(patient, mount)
    save_block(world)
    ann = identify(world)

    def labels(name: str, **more: str) -> dict[str, str]:
        return {"alertname": name, "system": "shop", **more}

    strange = {"Authorization": f"Bearer {world.canaries['token of a stranger'].text}"}
    for headers in (strange, {"Authorization": "Basic " + "x" * 40}):
        answer = httpx.post(
            f"{installation.settings.gateway_url}/alerts", content=b"{}", headers=headers, trust_env=False
        )
        assert answer.status_code == 401
        world.said.append(("the gateway's answer", answer.content))
    installation.post(
        labels("DiskAsks", instance="web1", mountpoint="/asks"),
        labels("DiskAlone", instance="web1", mountpoint="/alone"),
        labels("DiskAlone", instance="wrong-key", mountpoint="/alone"),
        labels("DiskAlone", instance="down", mountpoint="/alone"),
        labels("VolumeFull", database="main"),
        labels("VolumeFull", database="dead"),
        {"alertname": "OfNobody"},
    )
    waiting = installation.incident("DiskAsks", "%2Fasks").id
    installation.wait_for(waiting, Kind.ASKED)
    world.cli("approve", str(waiting), "--yes", NIGHTSHIFT_TOKEN="nst_wrong_" + "0" * 40)
    world.cli("approve", str(waiting), "--yes", "--comment", "go on", NIGHTSHIFT_TOKEN=ann)
    for name, target in (("DiskAlone", "alone"), ("VolumeFull", "main/claim/pvc"), ("VolumeFull", "dead/claim/pvc")):
        installation.ended(installation.incident(name, target).id)
    for incident in installation.ledger.incidents.list(limit=50):
        installation.ended(incident.id)
        world.said.append((f"report of incident {incident.id}", installation.report(incident.id).encode()))
    dead = installation.incident("VolumeFull", "dead/claim/pvc").id
    for command in (("report",), ("why",), ("incidents", "show")):
        world.cli(*command, str(dead), "--json")
    for runbook, mount in (("DiskAsks", "%2Fasks"), ("DiskAlone", "web1/filesystem/%2Falone")):
        done = installation.ledger.journal.of(installation.incident(runbook, mount).id)
        assert any(row.kind is Kind.DONE for row in done), runbook
    ask_for_everything(world)


def save_block(world: Planted) -> None:
    url = f"http://127.0.0.1:1/{world.canaries['Prefect Secret block'].quoted}"
    environment = {
        **world.installation.environment,
        "PREFECT_API_URL": world.installation.settings.prefect_api_url or "",
    }
    subprocess.run(
        [sys.executable, "-c", _SAVE_BLOCK], input=url, text=True, env=environment, check=True, capture_output=True
    )


def identify(world: Planted) -> str:
    """Ann's personal token; what shows it once is not searched."""
    shown = world.installation.cli("people", "add", "ann").stdout
    code = world.installation.cli("people", "code", "ann").stdout
    token = max(re.findall(r"[A-Za-z0-9_.\-]{24,}", shown), key=len)
    world.canaries["personal token"] = Canary("personal token", token)
    if (key := re.search(r"secret=([A-Z2-7]{16,})", code)) is not None:
        world.canaries["one-time code key"] = Canary("one-time code key", key[1])
    return token


def ask_for_everything(world: Planted) -> None:
    """Every command that shows something, also with an environment in which nothing is right."""
    for command in (
        ("status", "--json"),
        ("doctor",),
        ("up", "--help"),
        ("runbooks", "show", "shop", "DiskAsks", "--json"),
        ("people", "list"),
        ("why", "NeverHeardOf"),
    ):
        world.cli(*command)
    bad = world.canaries["password of a database that is down"].quoted
    for wrong in (
        {"NIGHTSHIFT_DATABASE_URL": f"postgresql://nightshift:{bad}@127.0.0.1:1/nightshift"},
        {"NIGHTSHIFT_DATABASE_URL": f"mysql://nightshift:{bad}@127.0.0.1/nightshift"},
        {"NIGHTSHIFT_DATABASE_URL": f"postgresql://nightshift:{bad}@127.0.0.1:port/nightshift"},
        {"NIGHTSHIFT_ALERTMANAGERS": f'{{"a": "http://user:{bad}@host'},
        {"NIGHTSHIFT_PREFECT_API_URL": f"http://user:{bad}@127.0.0.1:1/api"},
    ):
        world.cli("status", **wrong)


def test_no_secret_is_anywhere_but_where_it_is_kept(planted: Planted) -> None:
    found = leaks(planted.canaries.values(), planted.places())

    assert not found, "\n".join(map(str, found))


def test_every_way_in_which_a_secret_fails_was_gone(planted: Planted) -> None:
    """So that what was not found was really there to be found."""
    errors = {
        row.channel: row.last_error
        for i in planted.installation.ledger.incidents.list()
        for row in planted.installation.ledger.deliveries.of(i.id)
    }
    assert set(errors) >= {"slack", "pagerduty", "mail", "apprise", "block", "file", "default"}
    assert errors["slack"] is None
    assert errors["default"] is None
    assert all(errors[channel] for channel in ("pagerduty", "mail", "apprise", "block", "file")), errors
    reasons = " ".join(row.reason or "" for row in planted.installation.ledger.incidents.list())
    assert "refused" in reasons
    assert "does not answer" in reasons
    said = dict(planted.said)
    assert "127.0.0.1" in said["nightshift doctor"].decode()
    kinds = {place.split(",")[0].split(" ")[0] for place, _ in planted.places()}
    assert {"nightshift", "prefect", "command", "Prefect's", "the", "messages"} <= kinds
    assert {"one-time code key", "personal token", "SSH key"} <= set(planted.canaries)


@pytest.mark.parametrize("place", ["gateway.log", "ledger", "flow run log"])
def test_a_leak_in_a_real_place_would_be_found(planted: Planted, place: str) -> None:
    canary = Canary.hatch(f"planted in the {place}")
    installation = planted.installation
    match place:
        case "gateway.log":
            with (installation.home / "logs" / "gateway.log").open("a") as log:
                log.write(f"Traceback: could not connect to postgresql://x:{canary.quoted}@host\n")
        case "ledger":
            installation.ledger.journal.record(1, Kind.MEASURED, {"measured": canary.text})
        case _:
            entry = {"name": "x", "level": 20, "message": canary.text, "timestamp": "2026-01-01T00:00:00Z"}
            url = f"{installation.settings.prefect_api_url}/logs/"
            httpx.post(url, json=[entry], trust_env=False).raise_for_status()

    assert leaks([canary], planted.places())


def test_files_that_hold_secrets_are_for_their_owner_only(planted: Planted) -> None:
    for path in (planted.installation.home / "nightshift.env", *planted._access()):
        assert path.stat().st_mode & 0o077 == 0, path
