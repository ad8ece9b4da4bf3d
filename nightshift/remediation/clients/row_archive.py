"""The files of archived rows: one folder per table, in it one per run, in it one CSV file and manifest per batch.

A batch's file is written under another name, read back, and renamed before its rows are deleted. Its manifest names the
transaction that deletes them, so that the server itself tells later whether they are gone. What a run that died left
behind is therefore never in doubt: rows in a file whose transaction failed are still in the table, and the file goes.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import re
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import IO, TypeVar
from uuid import uuid4

from pydantic import ValidationError

from nightshift.remediation.clients.database_tables import Column
from nightshift.remediation.errors import CommandFailedError, DiskFullError, PermanentError
from nightshift.remediation.faults import point
from nightshift.remediation.models import Value, canonical_json
from nightshift.remediation.text import printable

_PARTIAL = ".partial"
_RUN = "run.json"
_ROWS = ".csv.gz"
_BLOCK = 1 << 20

V = TypeVar("V", bound=Value)


class BatchState(StrEnum):
    """What became of the rows in an archived batch."""

    ARCHIVED = "archived"
    """In the file; whether they are deleted is for the transaction to say."""
    DELETED = "deleted"
    RESTORED = "restored"
    """Inserted again."""


class Batch(Value):
    """The manifest of one file of rows."""

    database: str
    table_schema: str
    table_name: str
    columns: tuple[Column, ...]
    time_column: str
    before: str
    """Every row is older than this."""
    rows: int
    sha256: str
    """Of the compressed file, as read back."""
    transaction: str
    """Of the server; it deletes exactly these rows."""
    file: str
    format: str = "gzip of CSV with a header, UTF-8; every value is quoted, an unquoted nothing is NULL"
    state: BatchState = BatchState.ARCHIVED


class Run(Value):
    """One approved action on a table; begun once, and continued after an interruption."""

    before: str
    rows: int
    """Its bound."""
    ended: bool = False


class RunFolder:
    """The folder of one run."""

    def __init__(self, path: Path, run: Run) -> None:
        self.path = path
        self.run = run

    @property
    def batches(self) -> list[Batch]:
        """All manifests, oldest first."""
        return [_read(path, Batch) for path in sorted(self.path.glob("batch-*.json"))]

    @property
    def rows_deleted(self) -> int:
        """Rows that went from the table into this folder, restored ones included."""
        return sum(batch.rows for batch in self.batches if batch.state is not BatchState.ARCHIVED)

    def end(self) -> None:
        """Nothing more will be added."""
        self.run = self.run.model_copy(update={"ended": True})
        _write(self.path / _RUN, self.run)

    def next_file(self) -> str:
        """A name that no batch has."""
        taken = [int(path.name[6:12]) for path in self.path.glob(f"batch-*{_ROWS}")]
        return f"batch-{max(taken, default=0) + 1:06}{_ROWS}"

    def keep(self, batch: Batch) -> Batch:
        """Write a manifest, so that it survives a crash."""
        _write(self._manifest(batch), batch)
        return batch

    def mark(self, batch: Batch, state: BatchState) -> Batch:
        """Record what became of a batch."""
        return self.keep(batch.model_copy(update={"state": state}))

    def discard(self, batch: Batch) -> None:
        """Remove a batch whose rows are still in the table. First the manifest: a file without one counts nothing."""
        with writing(self.path):
            self._manifest(batch).unlink()
            (self.path / batch.file).unlink(missing_ok=True)
            _sync_folder(self.path)

    def discard_unfinished(self) -> None:
        """Remove what was being written when a run died; rows are deleted only after there is a manifest."""
        known = {batch.file for batch in self.batches}
        with writing(self.path):
            for path in self.path.iterdir():
                if path.name.endswith(_PARTIAL) or (path.name.endswith(_ROWS) and path.name not in known):
                    path.unlink()

    def write_rows(self, name: str, blocks: Callable[[Callable[[bytes], object]], None], rows: int) -> str:
        """Write, sync, read back and compare one file of rows; only then it gets its name. Returns its SHA-256.

        Args:
            name: of the file.
            blocks: writes the CSV text through the function it gets.
            rows: how many there must be.

        Raises:
            DiskFullError: no space; nothing is left of the file.
            CommandFailedError: it cannot be written, or what was read back is not what was written.
        """
        partial = self.path / f"{name}{_PARTIAL}"
        written = hashlib.sha256()
        try:
            with writing(self.path), _created(partial) as raw:
                with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as packed:

                    def put(block: bytes) -> None:
                        written.update(block)
                        packed.write(block)
                        point("archive_half_written")

                    blocks(put)
                raw.flush()
                _sync(raw)
                _forget_cached(raw)
            with writing(self.path):
                checksum = _compare(partial, written.hexdigest(), rows)
                partial.rename(self.path / name)
                _sync_folder(self.path)
        except BaseException:  # whatever it was, the space goes back at once; after a SIGKILL the next run sees to it
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
        return checksum

    @contextmanager
    def open_rows(self, batch: Batch) -> Iterator[IO[bytes]]:
        """The CSV text of a batch, after its checksum and row count were compared with the manifest.

        Raises:
            CommandFailedError: the file is missing or damaged.
        """
        path = self.path / batch.file
        with writing(self.path):
            if _compare(path, None, batch.rows) != batch.sha256:
                raise CommandFailedError(f"{path} is not what was archived: its checksum differs.")
            with gzip.open(path, "rb") as text:
                yield text  # type: ignore[misc]

    def _manifest(self, batch: Batch) -> Path:
        return self.path / f"{batch.file.removesuffix(_ROWS)}.json"


def table_folder(to: str, identity: tuple[str, ...]) -> Path:
    """The folder of a table's archives; hostile names cannot leave ``to`` and no two tables share one.

    Args:
        to: the directory of the policy.
        identity: the server's system identifier, database, schema and table.
    """
    words = re.sub(r"[^A-Za-z0-9_]+", "-", ".".join(identity[1:]))[:80].strip("-") or "table"
    return Path(to) / f"{words}-{hashlib.sha256(canonical_json(list(identity)).encode()).hexdigest()[:12]}"


def runs_of(folder: Path, before: str | None = None) -> list[RunFolder]:
    """The runs on a table, oldest first; with a cut-off, those with this one.

    Raises:
        CommandFailedError, PermanentError: they cannot be read.
    """
    with writing(folder):
        found = [read_run(path.parent) for path in sorted(folder.glob(f"*/{_RUN}"))]
    return [run for run in found if before in (None, run.run.before)]


def read_run(path: Path) -> RunFolder:
    """The run in a folder.

    Raises:
        PermanentError: there is none, or it cannot be read.
    """
    return RunFolder(path, _read(path / _RUN, Run))


def begin_run(folder: Path, before: str, rows: int) -> RunFolder:
    """The folder of a new run.

    Raises:
        DiskFullError, CommandFailedError: the directory cannot be written.
    """
    path = folder / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{uuid4().hex[:8]}"
    run = Run(before=before, rows=rows)
    with writing(folder):
        path.mkdir(parents=True, mode=0o700)
        _sync_folder(folder)
    _write(path / _RUN, run)
    return RunFolder(path, run)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """File errors in our words."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(f"There is no space left for the archive in {printable(str(folder))}.") from None
        words = error.strerror or type(error).__name__
        raise CommandFailedError(f"The archive in {printable(str(folder))} cannot be used: {words}.") from None
    except (EOFError, zlib.error):
        raise CommandFailedError(f"A file of the archive in {printable(str(folder))} is damaged.") from None


def _compare(path: Path, expected: str | None, rows: int) -> str:
    """Read a file of rows back; its SHA-256, after its text and number of rows were compared."""
    packed_sum, text_sum, records, quotes = hashlib.sha256(), hashlib.sha256(), -1, 0
    with path.open("rb") as raw:
        while block := raw.read(_BLOCK):
            packed_sum.update(block)
        raw.seek(0)
        with gzip.GzipFile(fileobj=raw, mode="rb") as text:
            for line in text:
                text_sum.update(line)
                quotes += line.count(b'"')
                # A record ends with a line end outside of quotes: an even number of quotes came before.
                records += quotes % 2 == 0 and line.endswith(b"\n")
    if records != rows or expected not in (None, text_sum.hexdigest()):
        raise CommandFailedError(f"{path.name} reads back as {records:,} rows and not as the {rows:,} written.")
    return packed_sum.hexdigest()


def _read(path: Path, kind: type[V]) -> V:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        remedy = "See what became of it; nothing is deleted from the table meanwhile."
        raise PermanentError(f"{printable(str(path))} cannot be read: {type(error).__name__}.", remedy=remedy) from None


def _write(path: Path, value: Value) -> None:
    """Replace a small file, all or nothing."""
    partial = path.with_name(path.name + _PARTIAL)
    with writing(path.parent):
        with _created(partial) as file:
            file.write(value.model_dump_json(indent=2).encode())
            file.flush()
            _sync(file)
        partial.replace(path)
        _sync_folder(path.parent)


def _created(path: Path) -> IO[bytes]:
    """A new file instead of what a dead run left there; its rows are nobody's business but the worker's."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _sync(file: IO[bytes]) -> None:
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _forget_cached(file: IO[bytes]) -> None:
    """So that reading back asks the disk and not the memory, where the system lets us."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
