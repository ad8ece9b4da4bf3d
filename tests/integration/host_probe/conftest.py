"""Real filesystems in files, looked at through the probe on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.loop_filesystem import LoopFilesystem
from lab.programs import Program, process_namespace, python_program
from nightshift.remediation.clients.host import Completed, Host
from nightshift.remediation.clients.local_host import LocalHost


@pytest.fixture
def host() -> Host:
    return LocalHost("patient")


@pytest.fixture
def disk() -> Iterator[LoopFilesystem]:
    with LoopFilesystem() as filesystem:
        yield filesystem


@pytest.fixture
def other_disk() -> Iterator[LoopFilesystem]:
    with LoopFilesystem() as filesystem:
        yield filesystem


@pytest.fixture
def logs(disk: LoopFilesystem) -> Path:
    folder = disk.mount / "logs"
    folder.mkdir()
    return folder


class IsolatedHost(LocalHost):
    """This machine, seen from a namespace in which every process can be looked into."""

    def __init__(self, name: str, inside: Sequence[str]) -> None:
        super().__init__(name)
        self.inside = inside

    def run(self, argv: Sequence[str], *, timeout: float, stdin: bytes = b"") -> Completed:
        return super().run([*self.inside, *argv], timeout=timeout, stdin=stdin)


@pytest.fixture
def isolated(disk: LoopFilesystem) -> Iterator[IsolatedHost]:
    """Ends before the filesystem is unmounted."""
    del disk
    with process_namespace() as inside:
        yield IsolatedHost("patient", inside)


@pytest.fixture
def isolated_program(isolated: IsolatedHost) -> Iterator[Program]:
    with ExitStack() as running:
        yield lambda source: running.enter_context(python_program(source, isolated.inside))


@pytest.fixture
def program(disk: LoopFilesystem) -> Iterator[Program]:
    """Programs that end before the filesystem is unmounted."""
    del disk
    with ExitStack() as running:
        yield lambda source: running.enter_context(python_program(source))
