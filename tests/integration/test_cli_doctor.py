"""The doctor: real hosts and servers that are well or ill, and what is said about each of them."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lab.gateway_process import TOKEN, GatewayProcess
from lab.patient_host import PatientHost
from lab.ports import free_port
from lab.postgres import PostgresServer
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.models import Severity, Target
from nightshift.running.doctor import Level, Symptom
from nightshift.running.doctor.finding import Check, Seen, ok, run_all

Command = Callable[..., Any]


@pytest.fixture
def diagnose(nightshift: Command, runbooks: Path) -> Callable[..., dict[str, Any]]:
    """What the doctor says about connections and channels of the shop, by subject."""

    def run(connections: dict[str, Any], **changes: Any) -> dict[str, Any]:
        system = {
            "id": "shop",
            "display": "Shop",
            "title": "A shop",
            "severities": {"critical": {}, "warning": {}, "info": {}},
            "connections": connections,
            **changes,
        }
        (runbooks / "shop.yaml").write_text(json.dumps(system))
        answer = nightshift("doctor", "--system", "shop", "--json")
        content = json.loads(answer.out)
        found = {symptom["subject"]: symptom for symptom in content["symptoms"]}
        assert answer.code == (0 if content["is_well"] else 1)
        assert content["is_well"] == all(symptom["level"] != "error" for symptom in content["symptoms"])
        assert found["catalogue"]["level"] == "ok"
        return found

    return run


def ssh(patient: PatientHost, **changes: Any) -> dict[str, Any]:
    return patient.connection().model_dump(mode="json", exclude_none=True) | changes


def key_pair(folder: Path) -> tuple[Path, str]:
    path = folder / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)
    return path, path.with_suffix(".pub").read_text().strip()


def test_a_host_that_is_well_is_well(diagnose: Callable[..., Any], patient_host: PatientHost) -> None:
    found = diagnose({"web1": ssh(patient_host)})

    assert found["connection web1"]["level"] == "ok"
    assert "works as root, with Python 3." in found["connection web1"]["what"]
    assert found["connection web1"]["system"] == "shop"


def test_each_trouble_of_a_host_is_named_with_its_remedy(
    diagnose: Callable[..., Any], patient_host: PatientHost, tmp_path: Path
) -> None:
    other_key, other_host_key = key_pair(tmp_path)
    found = diagnose(
        {
            "new-key": ssh(patient_host, host_key=other_host_key),
            "wrong-key": ssh(patient_host, private_key={"file": str(other_key)}),
            "down": ssh(patient_host, port=free_port()),
            "no-key": ssh(patient_host, private_key={"env": "NIGHTSHIFT_TEST_UNSET"}),
        }
    )

    expected = {
        "connection new-key": ("error", "instead of", "change its key in the catalogue"),
        "connection wrong-key": ("error", "refused user root", "authorized_keys"),
        "connection down": ("error", "does not answer", "connection down in the catalogue"),
        "connection no-key": ("error", "NIGHTSHIFT_TEST_UNSET is not set", "Set NIGHTSHIFT_TEST_UNSET"),
    }
    for subject, (level, what, remedy) in expected.items():
        assert found[subject]["level"] == level, found[subject]
        assert what in found[subject]["what"]
        assert remedy in found[subject]["remedy"]


def test_a_host_without_python_is_told_apart_from_one_that_is_away(diagnose: Callable[..., Any]) -> None:
    with PatientHost() as own_host:
        own_host.run("mount", "--bind", "/dev/null", "/usr/bin/python3")
        found = diagnose({"web1": ssh(own_host)})

    assert found["connection web1"]["level"] == "error"
    assert "python3 does not run there" in found["connection web1"]["what"]
    assert "Install Python" in found["connection web1"]["remedy"]


def test_a_user_who_may_not_become_root_is_told_what_is_missing(diagnose: Callable[..., Any]) -> None:
    with PatientHost() as own_host:
        own_host.run("useradd", "--create-home", "--shell", "/bin/sh", "--password", "*", "ada")
        as_ada, with_sudo = ssh(own_host, user="ada"), ssh(own_host, user="ada", become="sudo")
        before = diagnose({"plain": as_ada, "sudo": with_sudo})
        own_host.run("sh", "-c", "echo 'ada ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ada")
        after = diagnose({"sudo": with_sudo})

    assert before["connection plain"]["level"] == "warning"
    assert "not as root" in before["connection plain"]["what"]
    assert before["connection sudo"]["level"] == "error"
    assert "NOPASSWD" in before["connection sudo"]["remedy"]
    assert after["connection sudo"]["level"] == "ok"


def test_this_machine_is_a_host_too(diagnose: Callable[..., Any]) -> None:
    found = diagnose({"here": {"type": "local"}})

    assert found["connection here"]["level"] == "ok"


def test_a_database_is_judged_by_its_rights_and_its_password_is_never_shown(
    diagnose: Callable[..., Any], postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, nightshift: Command
) -> None:
    with psycopg.connect(postgres.url(), autocommit=True) as session:
        session.execute("create role plain login password 'secret-word'")
        session.execute("create role watcher login password 'secret-word' in role pg_monitor")
    base = postgres.url().split("@")[1]
    monkeypatch.setenv("DB_OWNER", postgres.url())
    monkeypatch.setenv("DB_PLAIN", f"postgresql://plain:secret-word@{base}")
    monkeypatch.setenv("DB_WATCHER", f"postgresql://watcher:secret-word@{base}")
    monkeypatch.setenv("DB_GONE", f"postgresql://plain:secret-word@127.0.0.1:{free_port()}/x")
    monkeypatch.setenv("DB_WRONG", "postgresql://plain:secret-word@@@:nonsense")
    try:
        found = diagnose(
            {
                name: {"type": "postgres", "url": {"env": f"DB_{name.upper()}"}}
                for name in ("owner", "plain", "watcher", "gone", "wrong", "unset")
            }
        )
    finally:
        with psycopg.connect(postgres.url(), autocommit=True) as session:
            session.execute("drop role plain")
            session.execute("drop role watcher")

    levels = {subject.removeprefix("connection "): symptom["level"] for subject, symptom in found.items()}
    assert levels == {
        "catalogue": "ok",
        "owner": "ok",
        "plain": "warning",
        "watcher": "ok",
        "gone": "error",
        "wrong": "error",
        "unset": "error",
    }
    assert "pg_monitor" in found["connection plain"]["remedy"]
    assert "secret-word" not in json.dumps(found)
    said = nightshift("doctor", "--system", "shop")
    assert "secret-word" not in said.out + said.err


@contextmanager
def http_server(status: int, token: str = "") -> Iterator[str]:
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            right = not token or self.headers.get("Authorization") == f"Bearer {token}"
            self.send_response(status if right else 401)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_http_apis_are_judged_by_their_answer_and_a_cluster_without_a_context_is_an_error(
    diagnose: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "secret-word")
    with http_server(200, "secret-word") as guarded, http_server(503) as ill:
        found = diagnose(
            {
                "guarded": {"type": "http", "url": guarded, "token": {"env": "API_TOKEN"}},
                "refusing": {"type": "http", "url": guarded},
                "ill": {"type": "http", "url": ill},
                "gone": {"type": "http", "url": f"http://127.0.0.1:{free_port()}"},
                "cluster": {"type": "kubernetes", "namespace": "shop"},
            }
        )

    levels = {subject.removeprefix("connection "): symptom["level"] for subject, symptom in found.items()}
    assert levels == {
        "catalogue": "ok",
        "guarded": "ok",
        "refusing": "error",
        "ill": "error",
        "gone": "error",
        "cluster": "error",
    }
    assert "no pod with an account" in found["connection cluster"]["what"]
    assert "secret-word" not in json.dumps(found)


def test_what_hangs_is_told_and_holds_up_nobody(diagnose: Callable[..., Any], patient_host: PatientHost) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        began = time.monotonic()
        found = diagnose(
            {
                "silent": ssh(patient_host, port=port, connect_timeout=2),
                "mute": {"type": "http", "url": f"http://127.0.0.1:{port}", "timeout": 1},
                "web1": ssh(patient_host),
            }
        )
        took = time.monotonic() - began

    assert found["connection silent"]["level"] == "error"
    assert found["connection mute"]["level"] == "error"
    assert found["connection web1"]["level"] == "ok"
    assert took < 30


def test_channels_without_a_url_are_worst_where_critical_alerts_are_told(
    diagnose: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SET_URL", "json://secret-word.example")
    found = diagnose(
        {},
        severities={"critical": {"notify": ["loud"]}, "warning": {"notify": ["quiet", "set"]}, "info": {}},
        channels={
            name: {"kind": "apprise", "title": f"#{name}", "url": {"env": f"{name.upper()}_URL"}}
            for name in ("loud", "quiet", "set")
        },
    )

    levels = {name: found[f"channel {name}"]["level"] for name in ("loud", "quiet", "set")}
    assert levels == {"loud": "error", "quiet": "warning", "set": "ok"}
    assert "LOUD_URL" in found["channel loud"]["remedy"]
    assert "secret-word" not in json.dumps(found)


def subjects(content: dict[str, Any], subject: str) -> list[tuple[str, str]]:
    return [(one["level"], one["what"]) for one in content["symptoms"] if one["subject"] == subject]


def test_the_installation_is_looked_at_as_a_whole(
    nightshift: Command, database_url: str, runbooks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {"database_url": database_url, "prefect_api_url": "http://127.0.0.1:1/api", "runbooks": runbooks}
    with GatewayProcess(**parts) as gateway:  # type: ignore[arg-type]
        monkeypatch.setenv("NIGHTSHIFT_GATEWAY_PORT", str(gateway.port))
        monkeypatch.setenv("NIGHTSHIFT_WEBHOOK_TOKEN", TOKEN)
        content = json.loads(nightshift("doctor", "--json").out)

    assert subjects(content, "ledger") == [
        ("ok", "It answers."),
        ("ok", "The journal is whole: every row fits to the one before it."),
    ]
    assert subjects(content, "gateway") == [("ok", f"{gateway.url} takes alerts.")]
    ((level, what),) = subjects(content, "prefect")
    assert level == "error"
    assert "does not answer" in what
    assert ("warning", "Alerts of no known system page nobody: there is no default channel.") in subjects(
        content, "settings"
    )
    assert TOKEN not in json.dumps(content)


def test_a_changed_journal_undelivered_pages_and_a_silent_gateway_are_errors(
    nightshift: Command, ledger: Ledger, database_url: str
) -> None:
    target = Target(system="shop", path=("alert", "x"))
    with ledger.engine.begin() as connection:
        incident, _ = ledger.incidents.open(connection, Trouble("shop", "x", None, target, Severity.INFO, "t"))
        ledger.deliveries.page(connection, incident, "critical", "subject", "body")
    with psycopg.connect(database_url, autocommit=True) as session:
        session.execute("alter table journal disable trigger all")
        session.execute("update journal set entry = '{}' where sequence = 1")

    content = json.loads(nightshift("doctor", "--json").out)

    assert ("error", "The journal was changed: row 1 does not fit to the one before it.") in subjects(content, "ledger")
    assert ("error", "1 message to people could not be delivered yet.") in subjects(content, "ledger")
    assert subjects(content, "gateway")[0][0] == "error"


def test_a_ledger_without_tables_or_of_another_version_is_told(
    nightshift: Command, postgres: PostgresServer, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(database_url, autocommit=True) as session:
        session.execute("update alembic_version set version_num = 'other'")
    content = json.loads(nightshift("doctor", "--json").out)
    assert subjects(content, "ledger")[-1] == ("error", "Its tables are not those of this version.")

    monkeypatch.setenv("NIGHTSHIFT_DATABASE_URL", postgres.create_database("empty"))
    content = json.loads(nightshift("doctor", "--json").out)
    postgres.drop_database("empty")
    assert subjects(content, "ledger") == [("error", "The ledger's database has no tables yet.")]


def test_a_broken_catalogue_is_told_line_by_line_and_the_rest_is_looked_at(nightshift: Command, runbooks: Path) -> None:
    file = runbooks / "shop.yaml"
    file.write_text(file.read_text().replace("mode: propose", "mode: whatever"))

    answer = nightshift("doctor", "--json")
    content = json.loads(answer.out)

    assert answer.code == 1
    ((level, what),) = subjects(content, "catalogue")
    assert (level, what.startswith("shop.yaml:5: mode")) == ("error", True)
    assert subjects(content, "ledger")[0] == ("ok", "It answers.")


def test_for_people_there_is_a_sum_and_a_remedy_below_each_trouble(nightshift: Command) -> None:
    answer = nightshift("doctor")

    assert answer.code == 1
    assert "→ Run `nightshift up`." in answer.out
    assert "errors" in answer.out.splitlines()[-1]


def test_a_system_that_is_not_there_is_said_so(nightshift: Command) -> None:
    answer = nightshift("doctor", "--system", "shopp")

    assert answer.code == 1
    assert "There is no system 'shopp'." in answer.err


def test_a_check_that_hangs_or_fails_spoils_no_other() -> None:
    def hangs() -> Iterator[Seen]:
        time.sleep(3)
        yield ok("too late")

    def fails() -> Iterator[Seen]:
        yield ok("first")
        raise ZeroDivisionError

    found = run_all([Check("a", hangs, seconds=0.2), Check("b", fails), Check("c", lambda: iter([ok("\x1b[2J")]))])

    def seen(symptom: Symptom) -> tuple[str, Level, str]:
        return symptom.subject, symptom.level, symptom.what

    assert [seen(symptom) for symptom in found] == [
        ("a", Level.ERROR, "It took longer than 0.2 seconds."),
        ("b", Level.OK, "first"),
        ("b", Level.ERROR, "Looking at it failed: ZeroDivisionError."),
        ("c", Level.OK, " [2J"),
    ]
