"""Short programs of this host: what they wrote, cut; nothing where there is no such program."""

import subprocess
from typing import List

from .wire import Refused, to_text

_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
MOST_LINES = 200
_MOST_OF_A_LINE = 600
_MOST_WORDS = 600


def said(command: List[str], seconds: float) -> bytes:
    """What it says; nothing where there is no such program, or it hangs."""
    try:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            env=_ENVIRONMENT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return b""
    return ended.stdout


def lines(command: List[str], seconds: float, most: int = MOST_LINES) -> List[str]:
    """Of a program that tells the newest first: its lines, oldest first, each cut."""
    return [cut(line) for line in said(command, seconds).splitlines()[:most][::-1] if line.strip()]


def cut(line: bytes) -> str:
    """A line of a log as printable text."""
    return to_text(line[:_MOST_OF_A_LINE])


def obeyed(command: List[str], seconds: float, late: str) -> None:
    """Let a program do something; ``late`` says what it means that it did not end in time."""
    try:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=seconds,
            env=_ENVIRONMENT,
        )
    except subprocess.TimeoutExpired:
        raise Refused("failed", late) from None
    if ended.returncode:
        words = ended.stderr.decode("utf-8", "replace").strip()[:_MOST_WORDS]
        raise Refused("failed", "%s said: %s" % (command[0], words))
