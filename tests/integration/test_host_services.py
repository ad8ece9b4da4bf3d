"""Services of a real host under systemd, and under a real supervisor: looked at, started, restarted, stopped."""

from __future__ import annotations

import socket
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import nightshift.tasks.registered  # noqa: F401 - the kinds of action
from lab.patient_host import PatientHost
from lab.ports import free_port
from lab.supervisor import Supervisor, supervisor
from nightshift.remediation.actions import ACTION_KINDS, Connections, Effect, Observation
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe.services import (
    gather_evidence,
    look_at_needs,
    look_at_service,
    port_holders,
)
from nightshift.remediation.connections import LocalConnection
from nightshift.remediation.errors import CommandFailedError, TargetChangedError
from nightshift.remediation.hosts.restarting import start_again, stopped_again
from nightshift.remediation.hosts.services import HostService, ServiceEvidence, ServiceState
from nightshift.remediation.models import Action, Target

WATCHER = HostService(name="watcher.service", script="watcher.py", settle=1)
TARGET = Target(system="test_watcher", path=("host", "h1", "service", "watcher"))


@pytest.fixture
def watcher(patient_host: PatientHost) -> Iterator[PatientHost]:
    """A service that logs and runs."""
    program = patient_host.path("/opt/watcher.py")
    program.parent.mkdir(exist_ok=True)
    program.write_text("import time\nprint('watching files', flush=True)\ntime.sleep(3600)\n")
    unit = patient_host.path("/etc/systemd/system/watcher.service")
    unit.write_text("[Service]\nExecStart=/usr/bin/python3 /opt/watcher.py\n[Install]\nWantedBy=multi-user.target\n")
    patient_host.run("systemctl", "daemon-reload")
    patient_host.run("systemctl", "enable", "watcher")
    patient_host.run("systemctl", "start", "watcher")
    yield patient_host
    patient_host.run("systemctl", "stop", "watcher")
    patient_host.run("systemctl", "disable", "watcher")
    patient_host.run("systemctl", "reset-failed", "watcher", check=False)
    unit.unlink()
    program.unlink()
    patient_host.run("systemctl", "daemon-reload")


def evidence(host: PatientHost, rule: HostService = WATCHER) -> ServiceEvidence:
    with open_host("h1", host.connection()) as opened:
        return gather_evidence(opened, rule)


def until(what: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


def carry_out(action: Action, connections: Connections) -> Effect:
    """As the gate does it."""
    kind = ACTION_KINDS[action.kind]
    assert kind.observe(action, connections) is Observation.NOT_DONE
    kind.precondition(action, connections)
    effect = act(action, connections)
    assert kind.observe(action, connections) is Observation.DONE
    return effect


def act(action: Action, connections: Connections) -> Effect:
    """Without what is around an action."""
    effect: Effect = ACTION_KINDS[action.kind].act.fn(action, connections)  # type: ignore[attr-defined]
    return effect


def test_a_service_that_was_killed_tells_how_it_ended_and_is_started_and_stopped_again(watcher: PatientHost) -> None:
    until(lambda: "watching files" in evidence(watcher).log)
    watcher.run("systemctl", "kill", "--signal=KILL", "watcher")
    until(lambda: evidence(watcher).service.state == "failed")
    seen = evidence(watcher)
    connections = {"h1": watcher.connection()}

    start = start_again(TARGET, "h1", "watcher", WATCHER, seen.service, "it was killed")
    effect = carry_out(start, connections)

    assert (seen.service.exit_code, seen.service.by_signal, seen.service.switched_off) == (9, True, False)
    assert start.kind == "start_host_service"
    assert watcher.run("systemctl", "is-active", "watcher").stdout.strip() == "active"
    with pytest.raises(TargetChangedError, match="by somebody else"):
        ACTION_KINDS[start.kind].precondition(start, connections)

    carry_out(stopped_again(start, effect), connections)
    assert watcher.run("systemctl", "is-active", "watcher", check=False).stdout.strip() == "inactive"


def test_a_second_copy_and_who_holds_a_port_are_seen(watcher: PatientHost) -> None:
    watcher.run("systemd-run", "--unit=stray", "/usr/bin/python3", "/opt/watcher.py")
    taken = socket.create_server(("127.0.0.1", 0))
    port, other = taken.getsockname()[1], free_port()
    holds = f"import socket, time; kept = socket.create_server(('127.0.0.1', {other})); time.sleep(3600)"
    watcher.run("systemd-run", "--unit=holder", "/usr/bin/python3", "-c", holds)

    seen = evidence(watcher, WATCHER.model_copy(update={"port": port}))
    until(lambda: evidence(watcher, WATCHER.model_copy(update={"port": other})).holders)
    with open_host("h1", watcher.connection()) as opened:
        (holder,) = port_holders(opened, other)

    # The holder lives outside of the host's own processes, so that it is seen to be held, and not by whom.
    taken.close()
    watcher.run("systemctl", "stop", "stray", "holder")
    assert (holder.unit, holder.command) == ("holder.service", "/usr/bin/python3")
    assert [one.unit for one in seen.copies] == ["stray.service"]
    assert "watcher.py" in seen.copies[0].command
    assert [one.pid for one in seen.holders] == [0]


def test_a_service_that_cannot_start_fails_in_words_and_a_name_that_is_none_is_refused(watcher: PatientHost) -> None:
    watcher.path("/opt/watcher.py").write_text("raise SystemExit(3)\n")
    with open_host("h1", watcher.connection()) as opened:
        seen = look_at_service(opened, WATCHER)
    restart = start_again(TARGET, "h1", "watcher", WATCHER, seen, "it hangs")

    with pytest.raises(CommandFailedError, match=r"watcher\.service was started and is failed, with 3"):
        act(restart, {"h1": watcher.connection()})

    assert evidence(watcher, WATCHER.model_copy(update={"name": "nothing.service"})).service.state == ""
    with open_host("h1", watcher.connection()) as opened, pytest.raises(CommandFailedError, match="no name"):
        look_at_service(opened, WATCHER.model_copy(update={"name": "--help"}))


@pytest.fixture(scope="module")
def supervised() -> Iterator[Supervisor]:
    with supervisor({"web": "sh -c 'echo begun; exec sleep 3600'", "broken": "sh -c 'echo cannot; exit 3'"}) as one:
        yield one


def rule(one: Supervisor, name: str) -> HostService:
    return HostService(manager="supervisor", name=name, socket=one.socket, settle=1)


def look(one: HostService) -> ServiceState:
    with open_host("h1", LocalConnection(type="local")) as opened:
        return look_at_service(opened, one)


def test_a_program_of_supervisor_is_restarted_and_one_that_was_stopped_is_started(supervised: Supervisor) -> None:
    web = rule(supervised, "web")
    connections = {"h1": LocalConnection(type="local")}
    until(lambda: look(web).runs)
    before = look(web)
    time.sleep(1)  # supervisor tells its runs apart by the second

    carry_out(start_again(TARGET, "h1", "web", web, before, "it hangs"), connections)
    assert look(web).pid not in (0, before.pid)

    with open_host("h1", LocalConnection(type="local")) as opened:
        kept = gather_evidence(opened, web)
    assert kept.log == ("begun", "begun")
    assert Path(f"/proc/{kept.service.pid}").exists()

    broken = rule(supervised, "broken")
    until(lambda: look(broken).state == "failed")
    assert look(rule(supervised, "nothing")).state == ""
    with pytest.raises(CommandFailedError, match=r"supervisor said: SPAWN_ERROR|ABNORMAL_TERMINATION"):
        act(start_again(TARGET, "h1", "broken", broken, look(broken), "it does not run"), connections)


def test_what_a_service_needs_is_looked_at_with_its_own_account_and_interpreter(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", system_site_packages=True, with_pip=False)
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (packages / "night-1.0.dist-info").mkdir()
    (packages / "night-1.0.dist-info" / "METADATA").write_text(
        "Name: night\nVersion: 1.0\nRequires-Dist: no-such-day\n"
    )
    there, python = str(tmp_path), str(tmp_path / "venv" / "bin" / "python")

    with open_host("h1", LocalConnection(type="local")) as opened:
        directories, complaints = look_at_needs(opened, WATCHER, [there, f"{there}/gone"], python)
        _, unasked = look_at_needs(opened, WATCHER, [], f"{there}/gone")

    assert [(one.there, one.writable, one.read_only) for one in directories] == [
        (True, True, False),
        (False, True, False),
    ]
    assert directories[0].used_percent is not None
    assert complaints is not None
    assert any("night 1.0 requires no-such-day" in line for line in complaints)
    assert unasked is None
