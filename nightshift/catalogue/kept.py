"""A catalogue that is kept in memory and read again when a file of it has changed.

Reading five systems takes a quarter of a second of CPU. The forkserver keeps the catalogue, and each flow run, being a
fork of it, finds it read.
"""

from __future__ import annotations

from pathlib import Path

from nightshift.catalogue.catalogue import Catalogue

Files = dict[str, tuple[int, int, int, int]]
_kept: dict[Path, tuple[Files, Catalogue]] = {}


def catalogue_in(folder: Path) -> Catalogue:
    """The catalogue of a folder, as its files are now.

    Raises:
        CatalogueError: with all mistakes of all files.
    """
    # Looked at before they are read: what changes meanwhile is read the next time.
    files = files_now(folder)
    kept = _kept.get(folder)
    if kept is None or kept[0] != files:
        kept = _kept[folder] = files, Catalogue.load(folder)
    return kept[1]


def files_now(folder: Path) -> Files:
    """The files of a catalogue on disk: which file it is, when it changed, and its size."""
    seen = {}
    for path in folder.glob("*.y*ml"):
        try:
            status = path.stat()
        except OSError:
            continue  # whoever reads it says what is wrong
        seen[path.name] = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
    return seen
