"""Files for the tests of disk space, and how a diagnosis lists them."""

from __future__ import annotations

import os
from pathlib import Path

from nightshift.remediation.disk_space.arguments import ListedFile


def write_file(path: Path, size: int, *, age: float = 0) -> Path:
    """A file of incompressible bytes that are on disk, in folders made for it, last modified ``age`` seconds ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(os.urandom(size))
        os.fsync(file.fileno())
    if age:
        modified = path.stat().st_mtime - age
        os.utime(path, (modified, modified))
    return path


def listed(*paths: Path) -> tuple[ListedFile, ...]:
    """The files as a diagnosis lists them now; their names must be plain."""
    return tuple(_listed(path, path.lstat()) for path in paths)


def names(folder: Path) -> list[str]:
    """What is in a folder, sorted."""
    return sorted(path.name for path in folder.iterdir())


def _listed(path: Path, status: os.stat_result) -> ListedFile:
    return ListedFile(
        path=str(path),
        device=status.st_dev,
        inode=status.st_ino,
        size=status.st_size,
        allocated=status.st_blocks * 512,
        modified_ns=status.st_mtime_ns,
    )
