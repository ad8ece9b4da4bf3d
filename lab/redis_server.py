"""A real Redis server: as a process of its own on a free port, or as a service of a project of Docker Compose."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import time
from types import TracebackType
from typing import Any, Self

import redis

from lab.compose_project import ComposeProject
from lab.folders import temporary_folder
from lab.ports import free_port
from lab.waiting import PATIENCE_SECONDS

PROGRAM = "/usr/bin/redis-server"
_READY_SECONDS = PATIENCE_SECONDS


class RedisServer:
    """A process on 127.0.0.1, without snapshots; ended and removed at the end."""

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self.folder = temporary_folder("nightshift-redis-")
        self._options = options
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """As it is written in the catalogue's secret."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def client(self) -> redis.Redis:
        """A new client of it."""
        return redis.Redis(port=self.port, decode_responses=True)

    def __enter__(self) -> Self:
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        with (self.folder / "log").open("wb") as log:
            self._running = subprocess.Popen([PROGRAM, *place, *self._options], stdout=log, stderr=log)
        wait_for(self.client)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running is not None:
            self._running.kill()
            self._running.wait()
        shutil.rmtree(self.folder)


def wait_for(client: redis.Redis) -> None:
    """Until it answers.

    Raises:
        RuntimeError: it does not.
    """
    until = time.monotonic() + _READY_SECONDS
    while time.monotonic() < until:
        try:
            client.ping()
        except redis.RedisError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the Redis server did not answer")


def commands_of(client: redis.Redis) -> set[str]:
    """Every command that the server has been sent since its start, subcommands after a bar."""
    found: Any = client.info("commandstats")
    return {name.removeprefix("cmdstat_") for name in found}


def redis_image(project: ComposeProject, tag: str) -> str:
    """An image with the machine's own redis-server, its libraries, and a volume for its data; its id."""
    layer = io.BytesIO()
    listed = subprocess.run(["ldd", PROGRAM], capture_output=True, text=True, check=True).stdout
    libraries = {word for line in listed.splitlines() for word in line.split() if word.startswith("/")}
    with tarfile.open(fileobj=layer, mode="w", dereference=True) as tar:
        for path in (PROGRAM, *sorted(libraries)):
            tar.add(path)
    volume = ["--change", "VOLUME /data"]
    return project.engine.docker("import", *volume, "-", tag, given=layer.getvalue())
