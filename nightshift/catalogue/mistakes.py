"""Mistakes in catalogue files: where they are, what is wrong, and what to write instead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from nightshift.remediation.errors import ConfigurationError


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One mistake. Values of the file are never repeated where they could be secrets."""

    file: Path
    line: int
    """From 1; 0: the file as a whole."""
    column: int
    where: str
    """Path in the document: ``connections.web1.port``."""
    problem: str
    remedy: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else str(self.file)
        where = f"{self.where}: " if self.where else ""
        return f"{place}: {where}{self.problem}." + (f" {self.remedy}." if self.remedy else "")


class CatalogueError(ConfigurationError):
    """The catalogue has mistakes."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(sorted(set(mistakes)))
        count = len(self.mistakes)
        title = "The catalogue has 1 mistake:" if count == 1 else f"The catalogue has {count} mistakes:"
        super().__init__("\n".join((title, *map(str, self.mistakes))))


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """``Did you mean 'x'?`` where one is near, else what there is to choose from."""
    if near := get_close_matches(word, known, n=1, cutoff=0.6):
        return f"Write {near[0]!r}"
    return f"Known are {', '.join(sorted(known))}" if known else "None is declared"
