"""A Docker engine of our own: own network and mount namespace, own socket and data, nothing shared with the machine's.

Needs root and ``dockerd``. The data directory may be on any filesystem; images are made from a tar, without a registry.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.folders import temporary_folder
from lab.waiting import PATIENCE_SECONDS

_READY_SECONDS = PATIENCE_SECONDS
_NAMESPACE = """
set -e
ip link set lo up
if [ -n "$4" ]; then mount -t tmpfs tmpfs /run && mkdir /run/sshd; fi
exec dockerd --config-file "$1/daemon.json" --data-root "$2" --exec-root "$1/exec" --pidfile "$1/pid" \
  --host "unix://$1/docker.sock" --exec-opt native.cgroupdriver=cgroupfs ${4:-$5} --userland-proxy=false \
  --log-level=error $3
"""
_APART = "--bridge=none --iptables=false --ip-forward=false --ip-masq=false"


class DockerEngine:
    """Started on entering; on leaving its containers are removed and it has ended.

    Args:
        data_root: an empty folder for images and containers; None: a temporary one.
        tcp: more of its command line, to listen on a port of this machine's own loopback interface.
        bridge: address of its bridge, ``10.231.0.1/24``: then it has a network, rules of iptables and published ports,
            all within its own namespace; None: containers have no network.
    """

    def __init__(self, data_root: Path | None = None, tcp: Sequence[str] = (), bridge: str | None = None) -> None:
        if tcp and bridge:
            raise ValueError("an engine that listens on this machine's loopback has no network namespace of its own")
        self._bridge = f"--bip {bridge}" if bridge else ""
        self._tcp = " ".join(tcp)
        self.folder = temporary_folder("nightshift-docker-")
        self.data_root = data_root or self.folder / "data"
        self._dockerd: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """As ``DOCKER_HOST``."""
        return f"unix://{self.folder}/docker.sock"

    @property
    def pid(self) -> int:
        """Of dockerd, whose namespaces are the engine's."""
        if self._dockerd is None:
            raise RuntimeError("the engine does not run")
        return self._dockerd.pid

    def __enter__(self) -> Self:
        (self.folder / "daemon.json").write_text("{}")
        apart = ["unshare", "--mount", *(() if self._tcp else ("--net",))]
        command = [*apart, "sh", "-c", _NAMESPACE, "dockerd", str(self.folder)]
        with (self.folder / "log").open("wb") as log:
            self._dockerd = subprocess.Popen(
                [*command, str(self.data_root), self._tcp, self._bridge, _APART],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
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

    def make_image(
        self, tag: str, size: int, programs: Mapping[str, str] | None = None, *, created: float | None = None
    ) -> str:
        """An image of one layer with so many incompressible bytes; its id.

        Args:
            tag: ``repository:tag``.
            size: bytes.
            programs: name of a program in the image, and the statically linked file it is made of.
            created: seconds since 1970, of which the engine knows whole ones; None: now.
        """
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as tar:
            content = tarfile.TarInfo("content")
            content.size = size
            tar.addfile(content, io.BytesIO(os.urandom(size)))
            for name, path in (programs or {}).items():
                tar.add(path, arcname=name)
        return self._load(tag, layer.getvalue(), time.time() if created is None else created)

    def _load(self, tag: str, layer: bytes, created: float) -> str:
        """An image of this layer, as ``docker save`` would have written it: ``docker import`` dates each now."""
        made = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        layers = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]}
        described = {"architecture": "amd64", "os": "linux", "created": made, "config": {}, "rootfs": layers}
        config = json.dumps({**described, "history": [{"created": made}]}).encode()
        identity = hashlib.sha256(config).hexdigest()
        manifest = [{"Config": f"{identity}.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]
        saved = io.BytesIO()
        files = {f"{identity}.json": config, "layer.tar": layer, "manifest.json": json.dumps(manifest).encode()}
        with tarfile.open(fileobj=saved, mode="w") as tar:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        self.docker("load", "--quiet", given=saved.getvalue())
        return f"sha256:{identity}"

    def _docker(self, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["docker", "--host", self.address, *arguments], input=given, capture_output=True)
