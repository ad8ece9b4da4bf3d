"""Commands over SSH against a real sshd, and everything that can go wrong on the way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import troubles
from lab.patient_host import MIB, PatientHost
from lab.ports import free_port
from nightshift.remediation.clients import host as host_module
from nightshift.remediation.clients import ssh_host as ssh_host_module
from nightshift.remediation.clients.host import MAX_OUTPUT, Host, check, open_host
from nightshift.remediation.clients.windows_host import open_windows_host
from nightshift.remediation.connections import SecretReference, SshConnection, WindowsConnection
from nightshift.remediation.errors import (
    AuthenticationError,
    CommandFailedError,
    CommandTimeoutError,
    ConfigurationError,
    ConnectionLostError,
    DiskFullError,
    HostKeyChangedError,
    HostKeyUnknownError,
    NightshiftError,
    OutcomeUnknownError,
    PermanentError,
    ReadOnlyFilesystemError,
    TargetUnreachableError,
)


@pytest.fixture
def web1(patient_host: PatientHost) -> Iterator[Host]:
    with open_host("web1", patient_host.connection()) as host:
        yield host


@pytest.fixture
def own_host() -> Iterator[PatientHost]:
    """A host that a test may break."""
    with PatientHost({"/data": 16 * MIB}) as host:
        yield host


def _changed(patient: PatientHost, **changes: object) -> SshConnection:
    return SshConnection.model_validate({**patient.connection().model_dump(), **changes})


def _key(folder: Path, kind: str = "ed25519", passphrase: str = "", *options: str) -> Path:
    path = folder / kind
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "", "-f", str(path), *options]
    subprocess.run(command, check=True)
    return path


def _refusal(connection: SshConnection) -> NightshiftError:
    with pytest.raises(NightshiftError) as refused, open_host("web1", connection):
        pytest.fail("the connection was accepted")
    assert "PRIVATE KEY" not in str(refused.value)
    return refused.value


def _matching(patient: PatientHost, text: str) -> str:
    """Processes in the host whose command line holds the text."""
    return patient.run("pgrep", "-a", "-f", f"[{text[0]}]{text[1:]}", check=False).stdout


def _until_gone(patient: PatientHost, text: str, seconds: float = 5) -> None:
    until = time.monotonic() + seconds
    while left := _matching(patient, text):
        assert time.monotonic() < until, f"still running: {left}"
        time.sleep(0.05)


class TestAnswers:
    def test_a_command_reports_its_output_its_complaints_and_its_status(self, web1: Host) -> None:
        completed = web1.run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=10)

        assert (completed.returncode, completed.stdout_text, completed.stderr_text) == (3, "out\n", "err\n")

    def test_it_runs_on_the_host_and_not_here(self, web1: Host, patient_host: PatientHost) -> None:
        assert web1.run(["hostname"], timeout=10).stdout_text.strip() == patient_host.name != socket.gethostname()
        assert web1.run(["cat", "/proc/1/comm"], timeout=10).stdout_text == "systemd\n"

    def test_a_missing_program_is_an_answer(self, web1: Host) -> None:
        assert web1.run(["no-such-program"], timeout=10).returncode == 127

    @pytest.mark.parametrize(
        "argument",
        [
            "",
            " two  words ",
            'it\'s "quoted"',
            "$(touch /data/pwned) `touch /data/pwned` ${HOME} $HOME",
            "; touch /data/pwned & | > /data/pwned",
            "line\nbreak\ttab\rreturn",
            "-rf",
            "*?[a-z]~{a,b}!!",
            "\\ \\n \\\\",
            "ünï→🌒",
            "\udcff\udc80 not utf-8",
            "\x1b[31m\x07",
        ],
    )
    def test_an_argument_arrives_byte_for_byte(self, web1: Host, patient_host: PatientHost, argument: str) -> None:
        completed = web1.run(["printf", "%s", argument], timeout=10)

        assert completed.stdout == os.fsencode(argument)
        assert not patient_host.path("/data/pwned").exists()

    def test_a_nul_in_an_argument_is_refused_before_anything_runs(self, web1: Host, patient_host: PatientHost) -> None:
        with pytest.raises(PermanentError, match="NUL"):
            web1.run(["touch", "/data/nul", "a\0b"], timeout=10)

        assert not patient_host.path("/data/nul").exists()

    def test_arguments_longer_than_the_host_takes_are_refused(self, web1: Host) -> None:
        with pytest.raises(PermanentError, match="too long"):
            web1.run(["true", "x" * 200_000], timeout=10)

    def test_megabytes_flow_both_ways_without_a_deadlock(self, web1: Host) -> None:
        content = os.urandom(8 * MIB)

        completed = web1.run(["tee", "/dev/stderr"], timeout=60, stdin=content)

        assert completed.stdout == content
        assert content.endswith(completed.stderr[-1000:])

    def test_a_command_may_leave_its_input_unread(self, web1: Host) -> None:
        assert web1.run(["true"], timeout=10, stdin=b"x" * 8 * MIB).returncode == 0

    def test_endless_output_is_cut_off(self, web1: Host, patient_host: PatientHost) -> None:
        with pytest.raises(CommandFailedError, match="67,108,864"):
            web1.run(["yes", "endless"], timeout=100)

        assert MAX_OUTPUT == 67_108_864
        _until_gone(patient_host, "yes endless")
        assert web1.run(["echo", "well"], timeout=10).stdout == b"well\n"

    def test_the_output_is_not_in_the_repr(self, web1: Host) -> None:
        assert "hunter2" not in repr(web1.run(["echo", "hunter2"], timeout=10))

    def test_a_host_that_speaks_german_answers_in_the_c_locale(self, own_host: PatientHost) -> None:
        own_host.run("localedef", "-i", "de_DE", "-f", "UTF-8", "de_DE.UTF-8")
        with own_host.path("/etc/ssh/patient_config").open("a") as config:
            config.write("SetEnv LC_ALL=de_DE.UTF-8\n")
        own_host.run("systemctl", "restart", "ssh")
        own_host.wait_for_ssh()
        with open_host("web1", own_host.connection()) as host:
            german = host._session._client.exec_command("locale decimal_point")[1].read()  # type: ignore[attr-defined]
            completed = host.run(["locale", "decimal_point"], timeout=10)

        assert (german, completed.stdout) == (b",\n", b".\n")


class TestTrust:
    def test_an_unknown_host_is_refused_and_its_fingerprint_shown(
        self, patient_host: PatientHost, tmp_path: Path
    ) -> None:
        (tmp_path / "known_hosts").write_text(f"other.example.com {patient_host.host_key}\n")

        refusal = _refusal(_changed(patient_host, host_key=None, known_hosts=tmp_path / "known_hosts"))

        assert isinstance(refusal, HostKeyUnknownError)
        assert "SHA256:" in str(refusal)

    @pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
    def test_a_changed_host_key_is_refused(self, patient_host: PatientHost, tmp_path: Path, kind: str) -> None:
        other = _key(tmp_path, kind).with_suffix(".pub").read_text()

        assert isinstance(_refusal(_changed(patient_host, host_key=other)), HostKeyChangedError)

    def test_a_host_in_a_hashed_known_hosts_file_is_known(self, patient_host: PatientHost, tmp_path: Path) -> None:
        known_hosts = tmp_path / "known_hosts"
        known_hosts.write_text(f"[127.0.0.1]:{patient_host.port} {patient_host.host_key}\n")
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(known_hosts)], check=True, capture_output=True)
        assert "127.0.0.1" not in known_hosts.read_text()

        with open_host("web1", _changed(patient_host, host_key=None, known_hosts=known_hosts)) as host:
            assert host.run(["true"], timeout=10).returncode == 0

    @pytest.mark.parametrize("key", ["", "ssh-ed25519", "ssh-ed25519 !!!", "ssh-ed25519 AAAA", "ssh-moon AAAA"])
    def test_a_host_key_that_is_none_is_a_mistake_in_the_configuration(
        self, patient_host: PatientHost, key: str
    ) -> None:
        assert isinstance(_refusal(_changed(patient_host, host_key=key)), ConfigurationError)

    def test_a_missing_known_hosts_file_is_a_mistake_in_the_configuration(
        self, patient_host: PatientHost, tmp_path: Path
    ) -> None:
        connection = _changed(patient_host, host_key=None, known_hosts=tmp_path / "none")

        assert isinstance(_refusal(connection), ConfigurationError)

    @pytest.mark.parametrize(("kind", "options"), [("ed25519", []), ("ecdsa", []), ("rsa", []), ("rsa", ["-m", "PEM"])])
    def test_every_usual_kind_of_key_may_log_in(
        self, patient_host: PatientHost, tmp_path: Path, kind: str, options: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = _key(tmp_path, kind, "", *options)
        keys = patient_host.path("/etc/ssh/patient_keys")
        before = keys.read_text()
        keys.write_text(before + key.with_suffix(".pub").read_text())
        monkeypatch.setenv("WEB1_KEY", key.read_text())
        try:
            with open_host("web1", _changed(patient_host, private_key={"env": "WEB1_KEY"})) as host:
                assert host.run(["whoami"], timeout=10).stdout == b"root\n"
        finally:
            keys.write_text(before)

    def test_a_key_that_the_host_does_not_know_is_refused(self, patient_host: PatientHost, tmp_path: Path) -> None:
        stranger = SecretReference(file=_key(tmp_path))

        refusal = _refusal(_changed(patient_host, private_key=stranger))

        assert isinstance(refusal, AuthenticationError)
        assert str(stranger) in str(refusal)

    @pytest.mark.parametrize("text", ["", "hunter2", "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n"])
    def test_a_private_key_that_is_none_is_reported_without_showing_it(
        self, patient_host: PatientHost, monkeypatch: pytest.MonkeyPatch, text: str
    ) -> None:
        monkeypatch.setenv("WEB1_KEY", text)

        refusal = _refusal(_changed(patient_host, private_key={"env": "WEB1_KEY"}))

        assert isinstance(refusal, ConfigurationError)
        assert "hunter2" not in str(refusal)

    @pytest.mark.parametrize(("kind", "options"), [("ed25519", []), ("ecdsa", []), ("rsa", []), ("rsa", ["-m", "PEM"])])
    def test_a_key_with_a_passphrase_is_a_mistake_in_the_configuration(
        self, patient_host: PatientHost, tmp_path: Path, kind: str, options: list[str]
    ) -> None:
        locked = SecretReference(file=_key(tmp_path, kind, "secret", *options))

        refusal = _refusal(_changed(patient_host, private_key=locked))

        assert isinstance(refusal, ConfigurationError)
        assert "passphrase" in str(refusal)


class TestBecomingRoot:
    @pytest.fixture
    def with_ada(self, own_host: PatientHost) -> PatientHost:
        own_host.run("useradd", "--create-home", "--shell", "/bin/sh", "--password", "*", "ada")
        return own_host

    def test_commands_run_as_root_through_sudo(self, with_ada: PatientHost) -> None:
        with_ada.run("sh", "-c", "echo 'ada ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ada")

        with open_host("web1", _changed(with_ada, user="ada", become="sudo")) as host:
            assert host.run(["id", "-un"], timeout=10).stdout == b"root\n"

    def test_a_user_who_may_not_is_told_what_to_mend(self, with_ada: PatientHost) -> None:
        refusal = _refusal(_changed(with_ada, user="ada", become="sudo"))

        assert isinstance(refusal, AuthenticationError)
        assert "NOPASSWD" in str(refusal)
        assert "password is required" in str(refusal)


class TestUnreachable:
    def test_a_closed_port(self, patient_host: PatientHost) -> None:
        assert isinstance(_refusal(_changed(patient_host, port=free_port())), TargetUnreachableError)

    def test_an_address_that_does_not_resolve(self, patient_host: PatientHost) -> None:
        assert isinstance(_refusal(_changed(patient_host, address="no.such.invalid")), TargetUnreachableError)

    @pytest.mark.parametrize("greeting", [b"", b"220 mail.example.com ESMTP\r\n", b"SSH-2.0-Silent\r\n"])
    def test_a_host_that_takes_the_connection_and_falls_silent(
        self, patient_host: PatientHost, greeting: bytes
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            accepted: list[socket.socket] = []

            def answer() -> None:
                accepted.append(server.accept()[0])
                accepted[0].sendall(greeting)

            thread = threading.Thread(target=answer)
            thread.start()
            begun = time.monotonic()
            refusal = _refusal(_changed(patient_host, port=server.getsockname()[1], connect_timeout=1))
            thread.join()
            accepted[0].close()

        assert isinstance(refusal, TargetUnreachableError)
        assert time.monotonic() - begun < 10


class TestInterrupted:
    @pytest.fixture
    def short_patience(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (host_module, ssh_host_module):
            monkeypatch.setattr(module, "KILL_AFTER", 0.5)
            monkeypatch.setattr(module, "GRACE", 0.5)

    def test_a_command_that_hangs_is_ended_on_the_host(self, web1: Host, patient_host: PatientHost) -> None:
        with pytest.raises(CommandTimeoutError, match="unknown"):
            web1.run(["sh", "-c", "sleep 4711 & wait"], timeout=0.5)

        assert _matching(patient_host, "sleep 4711") == ""
        assert web1.run(["echo", "well"], timeout=10).stdout == b"well\n"

    @pytest.mark.usefixtures("short_patience")
    def test_a_command_that_ignores_the_request_to_end_is_killed(self, web1: Host, patient_host: PatientHost) -> None:
        with pytest.raises(CommandTimeoutError):
            web1.run(["sh", "-c", "trap '' TERM; sleep 4712; sleep 4712"], timeout=0.5)

        _until_gone(patient_host, "sleep 4712")

    def test_a_command_that_ends_with_timeouts_own_status_did_not_time_out(self, web1: Host) -> None:
        assert web1.run(["sh", "-c", "exit 124"], timeout=10).returncode == 124

    def test_a_command_killed_on_the_host_has_an_unknown_outcome(self, web1: Host) -> None:
        with pytest.raises(OutcomeUnknownError, match="signal") as error:
            web1.run(["sh", "-c", "kill -9 $$"], timeout=10)

        assert not isinstance(error.value, (CommandTimeoutError, ConnectionLostError))

    def test_sshd_dying_in_mid_command_leaves_the_outcome_unknown_and_the_command_bounded(
        self, own_host: PatientHost
    ) -> None:
        with open_host("web1", own_host.connection()) as host:
            killer = threading.Thread(target=_kill_sshd_once_running, args=(own_host, "sleep 4713"))
            killer.start()
            with pytest.raises(ConnectionLostError, match="unknown"):
                host.run(["sleep", "4713"], timeout=3)
            killer.join()
            assert _matching(own_host, "sleep 4713") != ""
            with pytest.raises(TargetUnreachableError, match="nothing was run"):
                host.run(["touch", "/data/again"], timeout=5)

        _until_gone(own_host, "sleep 4713", seconds=6)
        assert not own_host.path("/data/again").exists()

    @pytest.mark.usefixtures("short_patience")
    def test_a_host_that_freezes_before_a_command_is_given_up(self, own_host: PatientHost) -> None:
        with open_host("web1", own_host.connection()) as host:
            host.run(["true"], timeout=5)
            frozen = _sshd_sessions(own_host)
            assert frozen
            for pid in frozen:
                os.kill(pid, signal.SIGSTOP)
            begun = time.monotonic()
            try:
                with pytest.raises(TargetUnreachableError):
                    _with_connect_timeout(host, 1).run(["true"], timeout=1)
                assert time.monotonic() - begun < 5
            finally:
                for pid in frozen:
                    os.kill(pid, signal.SIGCONT)

    @pytest.mark.usefixtures("short_patience")
    def test_a_host_that_freezes_while_a_command_runs_is_given_up(self, own_host: PatientHost) -> None:
        with open_host("web1", own_host.connection()) as host:
            freezer = threading.Thread(target=_freeze_sshd_once_running, args=(own_host, "sleep 4714"))
            freezer.start()
            begun = time.monotonic()
            with pytest.raises(CommandTimeoutError):
                host.run(["sleep", "4714"], timeout=2)
            assert time.monotonic() - begun < 10
            freezer.join()

        _until_gone(own_host, "sleep 4714")


class TestFilesystemsInTrouble:
    def test_on_a_full_disk_commands_work_and_writing_says_that_it_is_full(self, own_host: PatientHost) -> None:
        troubles.fill_to(own_host, "/data", 100)
        with open_host("web1", own_host.connection()) as host:
            usage = check(host.run(["df", "-P", "/data"], timeout=10), "measure /data")
            assert "100%" in usage.stdout_text
            with pytest.raises(DiskFullError, match="No space left"):
                check(host.run(["cp", "/usr/bin/env", "/data/copy"], timeout=10), "copy to /data")

    def test_a_filesystem_mounted_read_only_is_named(self, own_host: PatientHost) -> None:
        troubles.read_only(own_host, "/data")
        with open_host("web1", own_host.connection()) as host, pytest.raises(ReadOnlyFilesystemError):
            check(host.run(["touch", "/data/file"], timeout=10), "write to /data")

    def test_a_filesystem_that_the_kernel_closed_after_an_error_is_named(self, own_host: PatientHost) -> None:
        troubles.damaged(own_host, "/data")
        with open_host("web1", own_host.connection()) as host, pytest.raises(ReadOnlyFilesystemError):
            check(host.run(["touch", "/data/file"], timeout=10), "write to /data")

    def test_an_error_shows_the_complaint_short_and_without_control_characters(self, web1: Host) -> None:
        noisy = "printf '\\033[31mred\\007\\n%05000d\\n\\342\\200\\256end' 0 >&2; exit 7"

        with pytest.raises(CommandFailedError, match=r"^Could not be calm: status 7, .*0 +end$") as error:
            check(web1.run(["sh", "-c", noisy], timeout=10), "be calm")

        assert str(error.value).isprintable()
        assert len(str(error.value)) < 500


def _with_connect_timeout(host: Host, seconds: float) -> Host:
    host._session._connect_timeout = seconds  # type: ignore[attr-defined]
    return host


def _sshd_sessions(patient: PatientHost) -> list[int]:
    """Every sshd of the host that serves a session, as this machine numbers them."""
    pids = (patient.cgroup / "system.slice/ssh.service/cgroup.procs").read_text().split()
    commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids if Path(f"/proc/{pid}").exists()}
    return [pid for pid, command in commands.items() if command.startswith(b"sshd: root")]


def _signal_sshd_once_running(patient: PatientHost, command: str, number: signal.Signals) -> None:
    until = time.monotonic() + 10
    while not _matching(patient, command) and time.monotonic() < until:
        time.sleep(0.02)
    for pid in _sshd_sessions(patient):
        os.kill(pid, number)


def _kill_sshd_once_running(patient: PatientHost, command: str) -> None:
    _signal_sshd_once_running(patient, command, signal.SIGKILL)


def _freeze_sshd_once_running(patient: PatientHost, command: str) -> None:
    _signal_sshd_once_running(patient, command, signal.SIGSTOP)


def test_a_script_for_powershell_arrives_as_it_is_and_its_values_on_standard_input(patient_host: PatientHost) -> None:
    # No Windows here: what stands in for PowerShell is a program that tells what it was given.
    stand_in = patient_host.path("/usr/local/bin/powershell.exe")
    stand_in.parent.mkdir(parents=True, exist_ok=True)
    stand_in.write_text(
        "#!/usr/bin/python3\nimport base64, json, sys\n"
        "script = base64.b64decode(sys.argv[-1]).decode('utf-16-le')\n"
        "print(json.dumps({'result': [sys.argv[1:-1], script, json.load(sys.stdin)]}))\n"
    )
    stand_in.chmod(0o755)
    linux = patient_host.connection().model_dump(exclude={"type", "become"})
    connection = WindowsConnection.model_validate({"type": "windows", **linux})
    hostile = {"name": "x'; Remove-Item C:\\ #", "ü": "☃"}

    with open_windows_host("w1", connection) as host:
        options, script, values = host.ask("look", "function Answer{State}", hostile, seconds=20)

    stand_in.unlink()
    assert options == ["-NoLogo", "-NoProfile", "-NonInteractive", "-EncodedCommand"]
    assert "function Answer{State}" in script
    assert values == hostile
