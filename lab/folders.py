"""Temporary folders whose names read the same everywhere."""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path


def temporary_folder(prefix: str) -> Path:
    """A new folder, only for its maker, that whoever asked for it removes.

    Its name ends in hex digits: one of ``mkdtemp`` may have an underscore beside a hyphen, which pages for people show
    escaped, so that a test which looks for the path there would fail once in a while.

    Args:
        prefix: how its name begins.
    """
    folder = Path(tempfile.gettempdir()).resolve() / f"{prefix}{secrets.token_hex(5)}"
    folder.mkdir(mode=0o700)
    return folder
