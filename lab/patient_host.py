"""A host to operate on: real systemd as pid 1 with sshd, journald and small ext4 filesystems, gone without a trace.

It lives in its own namespaces, on this machine's programs but on none of its data, and never longer than the process
that started it. It listens on a free port of 127.0.0.1. It needs root.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from lab.folders import temporary_folder
from lab.ports import free_port
from lab.waiting import PATIENCE_SECONDS
from nightshift.remediation.connections import SecretReference, SshConnection

MIB = 1024 * 1024
_SCRIPTS = Path(__file__).parent / "patient"
_START_SECONDS = _STOP_SECONDS = PATIENCE_SECONDS
_PARTS = {
    "systemd": "/lib/systemd/systemd",
    "dbus": "/usr/bin/dbus-daemon",
    "openssh-server": "/usr/sbin/sshd",
    "openssh-client": "ssh-keygen",
    "e2fsprogs": "/usr/sbin/mkfs.ext4",
    "util-linux": "nsenter",
    "mount": "mount",
    "python3": "/usr/bin/python3",
}
"""A program of each Debian package that the host is made of."""
_MASKED_UNITS = (
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "proc-sys-fs-binfmt_misc.automount",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-binfmt.service",
    "systemd-journald-audit.socket",
    "systemd-modules-load.service",
    "systemd-sysctl.service",
    "systemd-tmpfiles-clean.timer",
    "systemd-udev-trigger.service",
    "systemd-udevd.service",
)
"""Units that would reach for the machine's kernel, or tidy up the troubles before anyone has seen them."""
_TARGET = """\
[Unit]
Requires=basic.target
Wants=dbus.socket systemd-journald.service ssh.service
After=basic.target
AllowIsolate=yes
"""
_SSH_UNIT = """\
[Service]
RuntimeDirectory=sshd
ExecStart=/usr/sbin/sshd -D -e -f /etc/ssh/patient_config
KillMode=process
Restart=on-failure
RestartSec=200ms
"""
_SSH_CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey /etc/ssh/patient_host_key
AuthorizedKeysFile /etc/ssh/patient_keys
StrictModes no
UsePAM no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 50
PidFile none
"""


class CannotStartError(Exception):
    """The patient host cannot be started on this machine."""


def missing_parts() -> list[str]:
    """What this machine lacks for a patient host, in words; empty when it can be started."""
    missing = [f"the package {package}" for package, program in _PARTS.items() if shutil.which(program) is None]
    if os.geteuid() != 0:
        missing.append("root")
    if not Path("/dev/loop-control").exists():
        missing.append("loop devices")
    if _control_groups() is None:
        missing.append("a mounted cgroup2")
    return missing


class PatientHost:
    """A host like a virtual machine, for one context.

    Args:
        filesystems: bytes of each small ext4, by mount point; with ``/var`` among them, logs, journal, package cache
            and core dumps share it, as on a server with a partition for ``/var``.
        name: its host name.

    Raises (on entering):
        CannotStartError: a part is missing, or it did not come up.
    """

    address = "127.0.0.1"

    def __init__(self, filesystems: Mapping[str, int] | None = None, *, name: str = "patient") -> None:
        self.filesystems = dict(filesystems or {"/data": 64 * MIB})
        self.name = name
        self.port = 0
        self.host_key = ""
        """As in known_hosts: ``ssh-ed25519 AAAA…``."""
        self.pid = 0
        """Its systemd, as this machine numbers it."""
        self.loop_devices: frozenset[str] = frozenset()
        """Names of the loop devices that carry its filesystems, such as ``loop0``."""
        self.cgroup = Path()
        self.folder = Path()
        """Holds its keys and log while it lives."""
        self._keeper: subprocess.Popen[bytes] | None = None

    @property
    def private_key_path(self) -> Path:
        """The key that may log in as any user."""
        return self.folder / "client"

    def connection(self) -> SshConnection:
        """How the product reaches it."""
        return SshConnection(
            type="ssh",
            address=self.address,
            port=self.port,
            host_key=self.host_key,
            private_key=SecretReference(file=self.private_key_path),
        )

    def path(self, path: str) -> Path:
        """A path in the host as this machine sees it. Symbolic links in it would lead into the machine: it has none."""
        return Path(f"/proc/{self.pid}/root{path}")

    def run(
        self, *argv: str, stdin: bytes = b"", check: bool = True, timeout: float = PATIENCE_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the host past SSH: a test's own eyes and hands.

        Raises:
            AssertionError: ``check`` and it failed.
        """
        enter = ["nsenter", "-t", str(self.pid), "-m", "-p", "-u", "-i", "-C", "--", "env", "LC_ALL=C", *argv]
        ended = subprocess.run(enter, input=stdin, capture_output=True, timeout=timeout, check=False)
        output, complaint = ended.stdout.decode(errors="replace"), ended.stderr.decode(errors="replace")
        if check and ended.returncode:
            raise AssertionError(f"{argv!r} in {self.name}: status {ended.returncode}: {complaint.strip()}")
        return subprocess.CompletedProcess(argv, ended.returncode, output, complaint)

    def wait_for_ssh(self) -> None:
        """Return as soon as sshd answers, as after a restart of it.

        Raises:
            CannotStartError: it does not.
        """
        until = time.monotonic() + _START_SECONDS
        while not self._greets():
            if time.monotonic() > until or self._ended():
                raise CannotStartError(f"{self.name} did not come up: {self._log()}")
            time.sleep(0.02)

    def __enter__(self) -> Self:
        missing = missing_parts()
        if missing:
            raise CannotStartError(f"A patient host needs {', '.join(missing)}.")
        try:
            self._prepare()
            self._start()
        except BaseException:  # whoever interrupts the start leaves no host behind
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End everything in it and remove every trace; a second time does nothing.

        Raises:
            RuntimeError: something was left behind.
        """
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        assert keeper.stdin is not None  # noqa: S101  # it was asked for
        keeper.stdin.close()
        status = keeper.wait(_STOP_SECONDS)
        shutil.rmtree(self.folder, ignore_errors=True)
        if status != 0:
            raise RuntimeError(f"{self.name} left its control group {self.cgroup} behind.")
        # The kernel takes a moment to let go of the loop devices of a namespace that has ended.
        until = time.monotonic() + _STOP_SECONDS
        while left := _loop_devices_of(self.folder.name):
            if time.monotonic() > until:
                raise RuntimeError(f"{self.name} left {', '.join(sorted(left))} behind.")
            time.sleep(0.02)

    def _prepare(self) -> None:
        self.folder = temporary_folder("nightshift-patient-")
        groups = _control_groups()
        assert groups is not None  # noqa: S101  # missing_parts looked
        self.cgroup = groups / self.folder.name
        for key in ("client", "host"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key, "-f", str(self.folder / key)]
            subprocess.run(command, check=True, capture_output=True)
        self.port = free_port()
        self.host_key = " ".join((self.folder / "host.pub").read_text().split()[:2])
        for path, text in self._seed().items():
            place = self.folder / "seed" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        for unit in _MASKED_UNITS:
            (self.folder / "seed/etc/systemd/system" / unit).symlink_to("/dev/null")

    def _seed(self) -> dict[str, str]:
        """The files that make it a host of its own."""
        return {
            "etc/.updated": "",  # newer than /usr: nothing to rebuild at the first boot
            "var/.updated": "",
            "etc/fstab": "",
            "etc/hostname": f"{self.name}\n",
            "etc/machine-id": f"{uuid.uuid4().hex}\n",
            "etc/systemd/journald.conf.d/patient.conf": "[Journal]\nStorage=persistent\nAudit=no\n",
            "etc/systemd/system/patient.target": _TARGET,
            "etc/systemd/system/ssh.service": _SSH_UNIT,
            "etc/ssh/patient_config": _SSH_CONFIG.format(port=self.port),
            "etc/ssh/patient_host_key": (self.folder / "host").read_text(),
            "etc/ssh/patient_keys": (self.folder / "client.pub").read_text(),
        }

    def _start(self) -> None:
        sizes = [f"{mount}:{size}" for mount, size in sorted(self.filesystems.items())]
        with (self.folder / "log").open("wb") as log:
            self._keeper = subprocess.Popen(
                ["sh", str(_SCRIPTS / "keep.sh"), str(self.folder), str(self.cgroup), self.name, *sizes],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,  # Ctrl-C is for us to answer: systemd would take it for Ctrl-Alt-Del
            )
        self.wait_for_ssh()
        self.pid = psutil.Process(self._unshare()).children()[0].pid
        self.loop_devices = _loop_devices_of(self.folder.name)

    def _unshare(self) -> int:
        """The process whose only child is the host's systemd; 0 before it is there."""
        note = self.folder / "host.pid"
        return int(note.read_text() or 0) if note.exists() else 0

    def _ended(self) -> bool:
        if self._keeper is None or self._keeper.poll() is not None:
            return True
        unshare = self._unshare()
        try:
            return unshare > 0 and psutil.Process(unshare).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    def _greets(self) -> bool:
        try:
            with socket.create_connection((self.address, self.port), 1) as link:
                return link.recv(4) == b"SSH-"
        except OSError:
            return False

    def _log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-1000:].strip() or "it said nothing"


def _loop_devices_of(name: str) -> frozenset[str]:
    """Loop devices whose image is named after a host's folder; other hosts come and go on others."""
    found = set()
    for backing_file in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):  # let go between listing and reading
            if name in backing_file.read_text():
                found.add(backing_file.parent.parent.name)
    return frozenset(found)


def _control_groups() -> Path | None:
    """Where this machine has its cgroup2: ``/sys/fs/cgroup``, or beside the older hierarchies."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, source = line.partition(" - ")
        if source.startswith("cgroup2 "):
            return Path(mount.split()[4])
    return None
