"""Canary secrets: made-up secrets that are planted where secrets are kept, and looked for where none may be."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

_LARGEST_FILE = 64 * 1024 * 1024


@dataclass(frozen=True)
class Canary:
    """One secret."""

    name: str
    """Where it is kept, for people."""
    text: str

    @classmethod
    def hatch(cls, name: str) -> Canary:
        """A new one. The @ is there so that its quoted form is another one."""
        return cls(name, f"{secrets.token_hex(8)}@{secrets.token_hex(8)}")

    @property
    def quoted(self) -> str:
        """As it stands in a URL."""
        return quote(self.text, safe="")

    def forms(self) -> dict[str, bytes]:
        """How it may look where it leaked, by the form's name."""
        raw = self.text.encode()
        twice = quote(self.quoted, safe="")
        found = {"clear": raw, "URL-quoted": self.quoted.encode(), "URL-quoted twice": twice.encode()}
        found |= {"hex": raw.hex().encode(), "hex, large": raw.hex().upper().encode()}
        # In base64 the same bytes look different by their place in what was encoded; what neighbours change is cut off.
        for before in range(3):
            encoded = base64.b64encode(b"\0" * before + raw)
            inner = encoded[(4 if before else 0) : -4]
            found[f"base64, {before} before"] = inner
            found[f"base64 for URLs, {before} before"] = inner.replace(b"+", b"-").replace(b"/", b"_")
        return found


@dataclass(frozen=True)
class Leak:
    """A secret where none may be."""

    canary: str
    form: str
    place: str
    around: str

    def __str__(self) -> str:
        return f"{self.canary} ({self.form}) in {self.place}: …{self.around}…"


Place = tuple[str, bytes]
"""Something to be searched: what it is, and its content."""


def leaks(canaries: Iterable[Canary], places: Iterable[Place]) -> list[Leak]:
    """Every secret that is found, in any form."""
    wanted = [(canary.name, form, needle) for canary in canaries for form, needle in canary.forms().items()]
    found = []
    for place, content in places:
        for name, form, needle in wanted:
            at = content.find(needle)
            if at >= 0:
                around = content[max(0, at - 80) : at + len(needle) + 20].decode(errors="replace")
                found.append(Leak(name, form, place, around))
    return found


def files_below(folder: Path, *, besides: Iterable[Path] = ()) -> Iterator[Place]:
    """Every file of a folder and its name, besides some files and folders."""
    left_out = {path.absolute() for path in besides}
    for path in sorted(folder.rglob("*")):
        if left_out & {path.absolute(), *path.absolute().parents} or not path.is_file() or path.is_symlink():
            continue
        with suppress(FileNotFoundError):  # a temporary file of a running part
            if path.stat().st_size > _LARGEST_FILE:
                raise AssertionError(f"{path} is too large to be searched")
            yield str(path), str(path).encode() + b"\n" + path.read_bytes()


def tables_of(database_url: str, label: str) -> Iterator[Place]:
    """Every row of every table of a database, as text; each table is a place."""
    query = "select table_schema, table_name from information_schema.tables where table_schema = 'public'"
    with psycopg.connect(database_url, autocommit=True) as connection:
        for schema, table in connection.execute(query).fetchall():
            whole = sql.SQL("select t::text from {} t").format(sql.Identifier(schema, table))
            rows = connection.execute(whole).fetchall()
            yield f"{label}, table {table}, {len(rows)} rows", "\n".join(row[0] or "" for row in rows).encode()


def command_lines(mark: str) -> Iterator[Place]:
    """What everybody on the machine can see of the processes that carry this text in their environment."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # of another user, or gone meanwhile
            if mark in process.environ().values():
                seen = [*process.cmdline(), process.name(), Path(f"/proc/{process.pid}/comm").read_text()]
                yield f"command line of process {process.pid}", "\n".join(seen).encode()
