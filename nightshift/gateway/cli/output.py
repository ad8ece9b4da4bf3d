"""What the command line prints: for people with rich, for programs as JSON."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.text import Text

from nightshift.remediation.errors import NightshiftError

out = Console(highlight=False)
"""Results."""
err = Console(stderr=True, highlight=False)
"""Errors and progress, so that results can be piped."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
"""The option that every command offers that lists something."""


def print_json(content: BaseModel | list[Any] | dict[str, Any]) -> None:
    """Print as indented JSON, without colours or wrapping."""
    if isinstance(content, BaseModel):
        text = content.model_dump_json(indent=2)
    else:
        text = json.dumps(content, indent=2, default=_plain)
    out.print(text, markup=False, soft_wrap=True)


def print_error(error: NightshiftError) -> None:
    """The message, and below it what to do."""
    err.print(Text.assemble(("Error: ", "bold red"), error.message), soft_wrap=True)
    if error.remedy:
        err.print(Text(error.remedy), soft_wrap=True)


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)
