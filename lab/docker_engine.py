"""A Docker engine of our own: own network and mount namespace, own socket and data, nothing shared with the machine's.

Needs root and ``dockerd``. The data directory may be on any filesystem; images are made from a tar, without a registry.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_READY_SECONDS = 30.0
_NAMESPACE = """
set -e
ip link set lo up
exec dockerd --config-file "$1/daemon.json" --data-root "$2" --exec-root "$1/exec" --pidfile "$1/pid" \
  --host "unix://$1/docker.sock" --exec-opt native.cgroupdriver=cgroupfs --bridge=none --iptables=false \
  --ip-forward=false --ip-masq=false --userland-proxy=false --log-level=error $3
"""


class DockerEngine:
    """Started on entering; on leaving its containers are removed and it has ended.

    Args:
        data_root: an empty folder for images and containers; None: a temporary one.
        tcp: more of its command line, to listen on a port of this machine's own loopback interface.
    """

    def __init__(self, data_root: Path | None = None, tcp: Sequence[str] = ()) -> None:
        self._tcp = " ".join(tcp)
        self.folder = Path(tempfile.mkdtemp(prefix="nightshift-docker-"))
        self.data_root = data_root or self.folder / "data"
        self._dockerd: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """As ``DOCKER_HOST``."""
        return f"unix://{self.folder}/docker.sock"

    def __enter__(self) -> Self:
        (self.folder / "daemon.json").write_text("{}")
        apart = ["unshare", "--mount", *(() if self._tcp else ("--net",))]
        command = [*apart, "sh", "-c", _NAMESPACE, "dockerd", str(self.folder)]
        with (self.folder / "log").open("wb") as log:
            self._dockerd = subprocess.Popen(
                [*command, str(self.data_root), self._tcp], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until = time.monotonic() + _READY_SECONDS
        while self._docker("version").returncode != 0:
            if self._dockerd.poll() is not None or time.monotonic() > until:
                complaint = (self.folder / "log").read_text()[-2000:]
                self.__exit__(None, None, None)
                raise RuntimeError(f"dockerd did not start: {complaint}")
            time.sleep(0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._dockerd is not None and self._dockerd.poll() is None:
            containers = self.docker("ps", "--all", "--quiet").split()
            if containers:
                self.docker("rm", "--force", *containers)
            self._dockerd.send_signal(signal.SIGTERM)
            self._dockerd.wait(_READY_SECONDS)
        shutil.rmtree(self.folder)

    def docker(self, *arguments: str, given: bytes = b"") -> str:
        """What the command line client prints.

        Raises:
            RuntimeError: it failed.
        """
        done = self._docker(*arguments, given=given)
        if done.returncode != 0:
            raise RuntimeError(f"docker {arguments[0]}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode().strip()

    def make_image(self, tag: str, size: int, programs: Mapping[str, str] | None = None) -> str:
        """An image of one layer with so many incompressible bytes; its id.

        Args:
            tag: ``repository:tag``.
            size: bytes.
            programs: name of a program in the image, and the statically linked file it is made of.
        """
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as tar:
            content = tarfile.TarInfo("content")
            content.size = size
            tar.addfile(content, io.BytesIO(os.urandom(size)))
            for name, path in (programs or {}).items():
                tar.add(path, arcname=name)
        return self.docker("import", "-", tag, given=layer.getvalue())

    def _docker(self, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["docker", "--host", self.address, *arguments], input=given, capture_output=True)
