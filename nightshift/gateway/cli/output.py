"""What the command line prints: for people with rich, for programs as JSON."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.text import Text

from nightshift.gateway.cli.texts import inert
from nightshift.remediation.errors import NightshiftError

_PIPE_WIDTH = 200
"""Characters of a line into a pipe or a file: names stay whole for ``grep``."""

# Without emoji codes: `:bomb:` in somebody's text is text.
out = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
"""Results."""
err = Console(stderr=True, highlight=False, emoji=False)
"""Errors and progress, so that results can be piped."""
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
"""The option that every command offers that lists something."""


def print_json(content: BaseModel | list[Any] | dict[str, Any], *, indent: int | None = 2) -> None:
    """Print as JSON, without colours or wrapping; in ASCII, so that nothing in it acts on a terminal."""
    if isinstance(content, BaseModel):
        content = content.model_dump(mode="json")
    out.print(json.dumps(content, indent=indent, default=_plain), markup=False, soft_wrap=True)


def print_error(error: NightshiftError) -> None:
    """The message, and below it what to do."""
    err.print(Text.assemble(("Error: ", "bold red"), inert(error.message)), soft_wrap=True)
    if error.remedy:
        err.print(Text(inert(error.remedy)), soft_wrap=True)


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)
