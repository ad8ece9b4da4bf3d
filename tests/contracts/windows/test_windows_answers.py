"""What a Windows host is asked, and what is understood of its answers.

No Windows ran here. The answers beside this were written after the documentation of ``ConvertTo-Json``,
``Win32_Service``, ``Win32_Process`` and ``Get-NetTCPConnection``, as Windows PowerShell 5.1 would give them.

Recorded are two rows of ``Win32_Service``, as far as public projects show them: of a PC, in an integration of WMI
(HadrielTzuk/tip-marketplace), and of a service of one user, in a command's help (BluSapphire-net/BluGenie,
``Get-BluGenieServiceList``); and what ``Get-Service | ConvertTo-Json`` of Windows PowerShell says of DHCP
(inspec/inspec, ``test/unit/mock/cmd/get-service-dhcp``): its state is a number there, so ``Win32_Service`` is asked.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.remediation.clients import windows_services
from nightshift.remediation.clients.host import Completed
from nightshift.remediation.clients.windows_host import LONGEST_COMMAND, WindowsHost, command_for
from nightshift.remediation.clients.windows_services import WindowsServices, state_of
from nightshift.remediation.errors import CommandFailedError, ConfigurationError, TargetChangedError
from nightshift.remediation.hosts.arguments import StartHostService
from nightshift.remediation.hosts.services import HostService, Running

WATCHER = HostService(
    manager="windows", name="TestWatcher", log="C:\\test_watcher\\logs\\test_watcher.log", script="test_watcher.py"
)
START = StartHostService(
    host="w1", service="watcher", manager="windows", name="TestWatcher", socket="/x", run="", runs=False
)


class Recorded:
    """A session that gives one answer, and keeps what it was asked."""

    name = "w1"

    def __init__(self, answer: str, *, complaint: bytes = b"") -> None:
        file = Path(__file__).with_name(f"{answer}.json")
        self._said = file.read_bytes().replace(b"\n", b"\r\n") if file.exists() else answer.encode()
        self._complaint = complaint
        self.commands: list[bytes] = []
        self.stdin = b""

    def run(self, command: bytes, program: str, *, timeout: float, stdin: bytes = b"") -> Completed:
        assert (program, timeout > 0) == ("powershell.exe", True)
        self.commands.append(command)
        self.stdin = stdin
        return Completed(0, self._said, self._complaint)


def services(answer: str, **more: bytes) -> WindowsServices:
    return WindowsServices(WindowsHost(Recorded(answer, **more)))


def test_a_service_that_runs_is_told_from_every_other_run_of_it() -> None:
    seen = services("running").now(START)

    assert (seen.state, seen.pid, seen.run) == ("running", 4212, "4212@2026-11-20T06:30:12.4415820Z")
    assert (seen.exit_code, seen.account, seen.switched_off) == (None, ".\\watcher", False)


def test_a_service_that_ended_tells_its_code_its_log_copies_and_the_holder_of_its_port() -> None:
    found = services("evidence").evidence(WATCHER, 200)

    assert (found.service.state, found.service.exit_code) == ("failed", 1067)
    assert found.log[-1] == "2026-11-22 02:11:00,412 ERROR watcher ended"
    assert found.log_age == pytest.approx(42.7, abs=0.1)
    assert found.copies == (Running(pid=5120, command="python.exe"),)
    assert [one.pid for one in found.holders] == [1188]


def test_recorded_rows_of_services_have_the_words_that_are_understood() -> None:
    stopped, running = (
        state_of(
            {
                "state": row["State"],
                "start_mode": row["StartMode"],
                "pid": row["ProcessId"],
                "exit_code": row.get("ExitCode"),
                "account": row["StartName"],
                "run": "",
            }
        )
        for row in json.loads(Path(__file__).with_name("win32_service.json").read_bytes())
    )
    told = json.loads(Path(__file__).with_name("get_service.json").read_bytes())

    assert (stopped.state, stopped.exit_code, stopped.pid, stopped.account) == ("stopped", 0, 0, "LocalSystem")
    assert (running.state, running.pid, running.account, running.switched_off) == ("running", 1388, "", False)
    assert told["Service"]["Status"] == 4, "a number: no word that could be understood"


def test_a_service_that_is_switched_off_and_was_never_started_did_not_fail() -> None:
    seen = services("never_started").now(START)

    assert (seen.state, seen.exit_code, seen.switched_off) == ("stopped", None, True)


def test_what_powershell_refuses_is_said_in_its_words() -> None:
    with pytest.raises(CommandFailedError, match=r"Could not start TestWatcher: .*cannot be started due to"):
        services("failed_start").start_again(START)
    with pytest.raises(CommandFailedError, match=r"status 0, .*not recognized"):
        services("", complaint=b"'powershell.exe' is not recognized as an internal or external command").now(START)
    with pytest.raises(TargetChangedError):
        services('{"result":{"changed":true}}').start_again(START)
    with pytest.raises(ConfigurationError, match="manager: windows"):
        services("evidence").evidence(HostService(name="watcher.service"), 200)


@pytest.mark.parametrize("script", windows_services.SCRIPTS)
def test_every_script_is_a_constant_that_fits_and_has_nothing_for_a_shell(script: str) -> None:
    command = command_for(script).decode("ascii")

    assert len(command) < LONGEST_COMMAND
    assert not set(command) & set("&|<>^%\"'`;$(){}!\n")
    assert script in base64.b64decode(command.rpartition(" ")[2]).decode("utf-16-le")


@given(st.text())
def test_a_value_never_becomes_part_of_a_command(value: str) -> None:
    session = Recorded('{"result":{"state":""}}')

    WindowsHost(session).ask("look", windows_services.LOOK, {"name": value}, seconds=1)

    assert session.commands == [command_for(windows_services.LOOK)]
    assert json.loads(session.stdin) == {"name": value}
    assert session.stdin.isascii()
