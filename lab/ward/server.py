"""The ward: a process of its own with patients whose levels can be raised, and lowered again.

A level must be raised exactly once per planned step, and lowered once where that is taken back, so a second time shows.
Everything that happens is appended to a log by the ward itself. It can be told to lie, to hang, to lose its answers,
and to carry commands out late.

Run as ``python -m lab.ward.server LOG``; prints its port. One JSON object per connection and direction.
"""

from __future__ import annotations

import json
import os
import socketserver
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LIES = ("fails", "says_failed", "says_done", "silent", "deaf", "cut", "late", "cut_late")


@dataclass
class Bed:
    """One patient: how often each step was done to it, and how it answers."""

    levels: Counter[str] = field(default_factory=Counter)
    lies: dict[str, list[str]] = field(default_factory=dict)
    """By command and step, as in ``raise one``: what each next one meets; an honest answer when none is left."""
    slow: float = 0
    """Seconds that every command takes."""
    blind: int = 0
    """How many of the next looks get no answer."""
    changed: bool = False
    """Whether it no longer looks as diagnosed."""


class Ward:
    """All beds, and the log."""

    def __init__(self, log: Path) -> None:
        self._beds: dict[str, Bed] = {}
        self._lock = threading.Lock()
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, what: str, request: dict[str, Any]) -> None:
        """One line of the log, in one write."""
        known = {key: request.get(key) for key in ("do", "bed", "step", "target", "who", "until")}
        row = {"at": time.time(), "what": what, **known}
        os.write(self._log, json.dumps(row).encode() + b"\n")

    def answer(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Do what was asked; None: no answer."""
        with self._lock:
            bed = self._beds.setdefault(request["bed"], Bed())
        match request["do"]:
            case "set":
                for name, value in request["values"].items():
                    setattr(bed, name, value)
                return {}
            case "measure":
                self.write("measured", request)
                return {"levels": dict(bed.levels)}
            case "check":
                return {"changed": bed.changed}
            case "look":
                if bed.blind > 0:
                    bed.blind -= 1
                    return None
                return {"level": bed.levels[request["step"]]}
            case "raise" | "lower":
                return self._move(bed, request)
        raise ValueError(request["do"])

    def _move(self, bed: Bed, request: dict[str, Any]) -> dict[str, Any] | None:
        self.write("begin", request)
        with self._lock:
            lies = bed.lies.get(f"{request['do']} {request['step']}", [])
            lie = lies.pop(0) if lies else ""
        if lie == "cut_late":
            threading.Thread(target=self._effect, args=(bed, request, request["late"])).start()
            return None
        without_effect = lie in ("fails", "says_done", "deaf")
        self._effect(bed, request, request["late"] if lie in ("late", "deaf") else bed.slow, without=without_effect)
        if lie in ("late", "deaf", "silent"):
            time.sleep(request["late"])  # until nobody waits any more
            return None
        return None if lie == "cut" else {"ok": lie not in ("fails", "says_failed")}

    def _effect(self, bed: Bed, request: dict[str, Any], delay: float, *, without: bool = False) -> None:
        """Move the level, unless the command's own time-out has passed: ``until``, as every clock here shows it."""
        time.sleep(delay)
        if not without and time.time() < request["until"]:
            with self._lock:
                bed.levels[request["step"]] += 1 if request["do"] == "raise" else -1
                self.write("effect", request)
        self.write("end", request)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


def main(log: Path) -> None:
    """Serve until killed."""
    ward = Ward(log)

    class Answering(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            line = self.rfile.readline()
            if line and (answer := ward.answer(json.loads(line))) is not None:
                self.wfile.write(json.dumps(answer).encode() + b"\n")

        def finish(self) -> None:
            try:
                super().finish()
            except OSError:
                return  # whoever asked has gone

    with _Server(("127.0.0.1", 0), Answering) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
