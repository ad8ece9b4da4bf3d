"""Event-Driven Ansible beside ours, where it is installed: a webhook, one rule, and a playbook of one local task."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from socket import create_connection

import httpx
import psutil

from bench.floor import WATCHED, labels
from bench.posting import body
from bench.runs import TookTooLongError, wait_for
from lab.ports import free_port

RULEBOOK = "ansible-rulebook"
EXECUTABLE = "NIGHTSHIFT_BENCH_RULEBOOK"
"""Environment variable: the executable, where it is not on PATH."""
_HOST = "127.0.0.1"
_INVENTORY = {
    "all": {
        "hosts": {
            "localhost": {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        }
    }
}
"""This machine, as Ansible has it where no inventory names it."""
_START_SECONDS = 60.0
_PLAYBOOK_SECONDS = 20.0
_END_SECONDS = 15.0
_LOG_CHARACTERS = 1000


def executable(environment: Mapping[str, str]) -> str | None:
    """Where ``ansible-rulebook`` is; None: it is not installed.

    Raises:
        LookupError: the environment names one that cannot be run.
    """
    if not (named := environment.get(EXECUTABLE)):
        return shutil.which(RULEBOOK, path=environment.get("PATH"))
    if (found := shutil.which(named)) is None:
        raise LookupError(f"{EXECUTABLE} is {named!r}, which is no executable file: give the path of {RULEBOOK}.")
    return str(Path(found).absolute())


def rulebook(port: int) -> list[dict[str, object]]:
    """Ansible's rulebook: each alert that comes to this port starts the playbook. All else are its defaults."""
    return [
        {
            "name": "alerts",
            "hosts": "all",
            "sources": [{"eda.builtin.webhook": {"host": _HOST, "port": port}}],
            "rules": [
                {
                    "name": "an alert",
                    "condition": "event.payload.alerts is defined",
                    "action": {"run_playbook": {"name": "playbook.yml"}},
                }
            ],
        }
    ]


def playbook(marks: Path) -> list[dict[str, object]]:
    """One task on this machine. Its argument is worked out when it begins, and is that moment."""
    mark = f"{marks}/{{{{ ansible_eda.event.payload.alerts[0].labels.mark }}}}"
    moment = "{{ lookup('ansible.builtin.pipe', 'date +%s.%N') }}"
    task = {"name": "note the time", "ansible.builtin.copy": {"content": moment, "dest": mark, "mode": "0600"}}
    return [{"name": "first task", "hosts": "localhost", "gather_facts": False, "tasks": [task]}]


@dataclass
class Rulebook:
    """One that runs."""

    process: psutil.Process
    marks: Path
    port: int
    posted: int = 0
    effects: list[float] = field(default_factory=list)
    """Seconds from just before each post until what its task did was there."""

    def one(self) -> float:
        """One alert; seconds from just before it was posted to its playbook's first task. Waits for the playbook's end.

        Raises:
            TookTooLongError: the task did not begin, or the playbook did not end.
            LookupError: the alert was refused.
        """
        self.posted += 1
        content = body([labels(WATCHED, f"/rulebook/{self.posted}", mark=str(self.posted))])
        headers = {"Content-Type": "application/json"}
        with httpx.Client(trust_env=False, timeout=30) as client:
            begun = time.time()
            answer = client.post(f"http://{_HOST}:{self.port}/alerts", content=content, headers=headers)
        if not answer.is_success:
            raise LookupError(f"{RULEBOOK} answered {answer.status_code}")
        noted = self.marks / str(self.posted)
        wait_for("the playbook's task", _PLAYBOOK_SECONDS, lambda: noted.exists() or None)
        wait_for("the playbook's end", _PLAYBOOK_SECONDS, lambda: not self.process.children() or None)
        self.effects.append(noted.stat().st_ctime - begun)
        return float(noted.read_text()) - begun


@contextmanager
def running(program: str) -> Iterator[Rulebook]:
    """It, with a rulebook in a folder of its own, on a free port of this machine; ended and removed afterwards.

    Raises:
        TookTooLongError: it did not listen in time; with the end of what it said.
    """
    with tempfile.TemporaryDirectory(prefix="nightshift-rulebook-") as name:
        folder, port = Path(name), free_port()
        marks, project, log = folder / "marks", folder / "project", folder / "log"
        marks.mkdir()
        project.mkdir()  # Ansible copies all of it for each playbook
        # JSON is YAML.
        (project / "rulebook.yml").write_text(json.dumps(rulebook(port)))
        (project / "playbook.yml").write_text(json.dumps(playbook(marks)))
        (project / "inventory.yml").write_text(json.dumps(_INVENTORY))
        with log.open("ab") as output:
            process = psutil.Popen(
                [program, "--rulebook", "rulebook.yml", "--inventory", "inventory.yml"],
                env=_environment(program, folder),
                cwd=project,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            wait_for(f"{RULEBOOK}'s webhook", _START_SECONDS, lambda: _listens(process, port, log), every=0.2)
            yield Rulebook(process, marks, port)
        finally:
            _end(process)


def _environment(program: str, folder: Path) -> dict[str, str]:
    """The user's, with the Ansible that belongs to it first on PATH, and everything that it writes in the folder."""
    ours = ("NIGHTSHIFT_", "PREFECT_", "PYTHON", "ANSIBLE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    path = os.pathsep.join([str(Path(program).parent), os.environ.get("PATH", os.defpath)])
    return {**kept, "PATH": path, "TMPDIR": str(folder), "ANSIBLE_HOME": str(folder / "ansible")}


def _listens(process: psutil.Process, port: int, log: Path) -> bool | None:
    if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
        raise TookTooLongError(f"{RULEBOOK} ended at once: {log.read_text(errors='replace')[-_LOG_CHARACTERS:]}")
    try:
        create_connection((_HOST, port), timeout=1).close()
    except OSError:
        return None
    return True


def _end(process: psutil.Popen) -> None:
    """End it and what it started."""
    family: list[psutil.Process] = [process]
    with suppress(psutil.NoSuchProcess):
        family += process.children(recursive=True)
        process.terminate()
    _, alive = psutil.wait_procs(family, timeout=_END_SECONDS)
    for one in alive:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(alive, timeout=10)
