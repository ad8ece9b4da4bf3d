"""Celery workers and their broker as services of a project of Docker Compose, with the machine's own Python in them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import redis
from celery import Celery  # type: ignore[import-untyped]

from lab.compose_project import ComposeProject
from lab.redis_server import wait_for

_TASKS = """
import os, signal, time
import redis
from celery import Celery
app = Celery("lab", broker="redis+socket:///run/redis/socket?virtual_host=0")
app.conf.update(broker_connection_retry_on_startup=True, worker_prefetch_multiplier=1, task_acks_late=True)
app.conf.task_reject_on_worker_lost = True

@app.task(name="lab.quick", ignore_result=True)
def quick():
    redis.Redis(unix_socket_path="/run/redis/socket").incr("done")

@app.task(name="lab.slow", ignore_result=True)
def slow(seconds):
    time.sleep(seconds)

STALE = os.path.exists("/run/redis/stale")

@app.task(name="lab.left", ignore_result=True)
def left():
    if STALE:
        raise KeyError("what was read at the start")

@app.task(name="lab.right", ignore_result=True)
def right():
    left()

@app.task(name="lab.deadly", ignore_result=True)
def deadly(secret):
    os.kill(os.getpid(), signal.SIGKILL)
"""


class CeleryProject:
    """A broker on a socket, since the engine has no network, and workers beside it."""

    def __init__(self, project: ComposeProject, folder: Path) -> None:
        self.project, self.folder = project, folder
        folder.mkdir()
        folder.chmod(0o777)
        (folder / "tasks.py").write_text(_TASKS)
        (folder / "url").write_text(f"unix://{folder}/socket?db=0")
        self.client = redis.Redis(unix_socket_path=str(folder / "socket"), decode_responses=True)
        self.app = Celery("lab", broker=f"redis+socket://{folder}/socket?virtual_host=0", set_as_current=False)

    def connections(self) -> dict[str, Any]:
        """As they are written in the catalogue."""
        broker = {"type": "redis", "url": {"file": str(self.folder / "url")}, "timeout": 2}
        return {"main": self.project.connection(), "broker": broker}

    def start_broker(self, *options: str) -> None:
        """A Redis server."""
        shared = ("--volume", f"{self.folder}:/run/redis")
        listening = ("--port", "0", "--unixsocket", "/run/redis/socket", "--unixsocketperm", "777", "--dir", "/data")
        command = ("/usr/bin/redis-server", *listening, *options)
        self.project.up("redis", "shop/redis:7", *command, options=shared)
        wait_for(self.client)

    def start_worker(self, number: int = 1, *, processes: int = 1) -> str:
        """A worker; returns the id of its container at once."""
        folders = dict.fromkeys([sys.prefix, sys.base_prefix, "/usr", "/lib", "/lib64"])
        there = [part for path in folders if Path(path).exists() for part in ("--volume", f"{path}:{path}:ro")]
        inside = ("--workdir", "/run/redis", "--env", "PYTHONDONTWRITEBYTECODE=1", "--restart", "unless-stopped")
        options = (*there, "--volume", f"{self.folder}:/run/redis", *inside)
        quiet = ("--without-gossip", "--without-mingle", "-l", "INFO")
        command = (sys.executable, "-m", "celery", "-A", "tasks", "worker", "-c", str(processes), *quiet)
        return self.project.up("celery", "shop/redis:7", *command, number=number, options=options)

    def send(self, task: str, *arguments: Any, many: int = 1) -> None:
        """Put tasks into the queue; all but the first are copies of it with ids of their own."""
        # By a queue that nobody works off: else a worker could take the first one before it is copied.
        identity = self.app.send_task(task, args=arguments, queue="template").id
        found: Any = self.client.lpop("template")
        first = found.replace('"template"', '"celery"')
        pipeline = self.client.pipeline(transaction=False)
        for number in range(many):
            pipeline.lpush("celery", first if number == 0 else first.replace(identity, str(uuid4())))
        pipeline.execute()

    @property
    def waiting(self) -> int:
        """Tasks in the queue."""
        found: Any = self.client.llen("celery")
        return int(found)

    @property
    def left(self) -> int:
        """Tasks that wait, or were taken and not finished."""
        taken: Any = self.client.hlen("unacked")
        return self.waiting + int(taken)

    @property
    def log(self) -> str:
        """What the first worker said."""
        command = ["docker", "--host", self.project.engine.address, "logs", "shop-celery-1"]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True).stdout

    def close(self) -> None:
        """End our own connections."""
        self.app.close()
        self.client.close()
