"""What may be shown of a statement: its shape. Values in it may be anybody's data or a password, and are left out."""

from __future__ import annotations

import re

from nightshift.remediation.text import printable

_VALUES = re.compile(
    r"""
    \$(?P<tag>[A-Za-z_]*)\$.*?(?:\$(?P=tag)\$|\Z)   # dollar quotes
  | [eE]?'(?:[^'\\]|''|\\.)*(?:'|\Z)                # text; what is cut off ends with the statement
  | (?<![\w$"])\d[\w.]*                             # numbers
  | --[^\n]*                                        # comments hold values, too
  | /\*.*?(?:\*/|\Z)
    """,
    re.VERBOSE | re.DOTALL,
)


def shape_of(statement: str, limit: int = 160) -> str:
    """The statement on one line with ``?`` for each of its values, fit to be shown."""
    bare = _VALUES.sub(lambda found: " " if found.group().startswith(("--", "/*")) else "?", statement)
    return printable(" ".join(bare.split()), limit)
