"""Mount points named by an alert: checked here, and matched against the host's real mounts before they are used."""

from __future__ import annotations

import posixpath
import unicodedata

MAX_MOUNT_POINT = 255


def mount_point(text: str) -> str:
    """The text when it could be a mount point: absolute, normalised, without control characters, at most 255 long.

    Raises:
        ValueError: it could not; the message does not repeat the text.
    """
    if not text.startswith("/") or text.startswith("//") or posixpath.normpath(text) != text:
        raise ValueError("a mount point is an absolute, normalised path such as / or /data")
    if len(text) > MAX_MOUNT_POINT:
        raise ValueError(f"a mount point has at most {MAX_MOUNT_POINT} characters")
    # Category C: control, format (direction marks), surrogates, private use, unassigned.
    if any(unicodedata.category(character).startswith("C") for character in text):
        raise ValueError("a mount point has no control characters")
    return text
