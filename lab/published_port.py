"""A host with Docker, a published port and sshd, and an internet of its own with as many clients as one likes.

Everything lives in two network namespaces of its own: the host with its bridge and its packet filter, and the clients
behind a router. This machine's interfaces and rules are not touched: SSH gets in by a socket of 127.0.0.1 that is
handed to sshd. Needs root, ``dockerd``, ``iptables``, ``ip`` and ``sshd``.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.docker_engine import DockerEngine
from lab.folders import temporary_folder
from nightshift.remediation.connections import SecretReference, SshConnection

HOST_ADDRESS = "10.9.0.1"
"""The host on its line to the router."""
ROUTER = "10.9.0.2"
_SSH_CONFIG = """\
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/client.pub
StrictModes no
UsePAM no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PidFile none
"""
_CLIENT = """
import http.client, json, sys, time
address, path, times, pause, host, port = json.loads(sys.argv[1])
answered = 0
for number in range(times):
    connection = http.client.HTTPConnection(host, port, timeout=2 if times == 1 else 0.5, source_address=(address, 0))
    try:
        connection.request("GET", path)
        answered += connection.getresponse().status > 0
    except OSError:
        pass
    finally:
        connection.close()
    time.sleep(pause)
print(answered)
"""


class PublishedPort:
    """The host, its engine and the clients, for one context.

    Args:
        clients: their addresses; public ones, since nothing of it leaves the namespaces.
    """

    def __init__(self, clients: Sequence[str]) -> None:
        self.clients = tuple(clients)
        self.engine = DockerEngine(bridge="10.231.0.1/24")
        self.folder = temporary_folder("nightshift-published-")
        self._internet: subprocess.Popen[bytes] | None = None
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._sessions: list[subprocess.Popen[bytes]] = []
        self._thread = threading.Thread(target=self._let_in, daemon=True)

    def connection(self) -> SshConnection:
        """How the product reaches the host."""
        return SshConnection(
            type="ssh",
            address="127.0.0.1",
            port=self._listening.getsockname()[1],
            host_key=" ".join((self.folder / "host_key.pub").read_text().split()[:2]),
            private_key=SecretReference(file=self.folder / "client"),
        )

    def on_host(self, *words: str) -> str:
        """What a command prints in the host's network, past SSH."""
        return subprocess.run(
            ["nsenter", "-t", str(self.engine.pid), "--net", "--mount", *words],
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def requests(
        self, address: str, path: str, times: int = 1, pause: float = 0.0, port: int = 8000
    ) -> subprocess.Popen[str]:
        """A client that asks so many times; it prints how often it was answered, and may be ended."""
        if self._internet is None:
            raise RuntimeError("there are no clients yet")
        asked = json.dumps([address, path, times, pause, HOST_ADDRESS, port])
        command = ["nsenter", "-t", str(self._internet.pid), "--net", sys.executable, "-I", "-c", _CLIENT, asked]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def is_let_in(self, address: str, port: int = 8000) -> bool:
        """Whether a client at this address gets an answer."""
        said, _ = self.requests(address, "/cgi-bin/x?looks", port=port).communicate(timeout=20)
        return said.strip() == "1"

    def __enter__(self) -> Self:
        try:
            self.engine.__enter__()
            self._connect_clients()
            for name in ("host_key", "client"):
                file = str(self.folder / name)
                subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file], check=True)
            (self.folder / "sshd_config").write_text(_SSH_CONFIG.format(folder=self.folder))
            self._thread.start()
        except BaseException:  # whoever interrupts the start leaves nothing behind
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        if self._thread.is_alive():
            self._thread.join(5)
        for session in self._sessions:
            session.terminate()
            session.wait(10)
        if self._internet is not None:
            self._internet.kill()
            self._internet.wait(10)
        if self.engine.folder.exists():
            self.engine.__exit__(None, None, None)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _connect_clients(self) -> None:
        self._internet = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        there = str(self._internet.pid)
        while Path(f"/proc/{there}/ns/net").readlink() == Path("/proc/self/ns/net").readlink():
            pass
        self.on_host("ip", "link", "add", "wan", "type", "veth", "peer", "name", "line", "netns", there)
        for words in (f"addr add {HOST_ADDRESS}/30 dev wan", "link set wan up", f"route add default via {ROUTER}"):
            self.on_host("ip", *words.split())
        for words in (
            "link set lo up",
            f"addr add {ROUTER}/30 dev line",
            "link set line up",
            f"route add default via {HOST_ADDRESS}",
            *(f"addr add {address}/32 dev lo" for address in self.clients),
        ):
            subprocess.run(["nsenter", "-t", there, "--net", "ip", *words.split()], check=True)

    def _let_in(self) -> None:
        """As ``ssh.socket`` of systemd does it: one sshd per connection, in the host's namespaces."""
        command = ["nsenter", "-t", str(self.engine.pid), "--net", "--mount", "/usr/sbin/sshd", "-i"]
        while True:
            try:
                accepted, _ = self._listening.accept()
            except OSError:
                return
            with accepted:
                self._sessions.append(
                    subprocess.Popen(
                        [*command, "-f", str(self.folder / "sshd_config")],
                        stdin=accepted.fileno(),
                        stdout=accepted.fileno(),
                        stderr=subprocess.DEVNULL,
                    )
                )
