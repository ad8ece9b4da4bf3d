"""How a container ended that was killed at its limit of memory, where the engine did not note why."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from nightshift.remediation.clients.docker.engine import Engine
from nightshift.remediation.compose.objects import Container

_BY_SIGKILL = 137
_LATE_SECONDS = 1
"""So long after the end is a notice still waited for."""


def with_cause(engine: Engine, one: Container, found: dict[str, Any]) -> Container:
    """The container, with what the engine's events tell of a death that its flag does not explain.

    The engine hears of a kill for memory apart from the end, and loses that notice when the container is gone before it
    was read (4 of 75, measured; containerd issues 8180 and 8893): then neither the flag nor an event is ever set.
    What is left: it ended by SIGKILL, had a limit, and nobody asked the engine to end it. The engine keeps only its
    last 256 events, so where the end itself is not among them, nothing is concluded.

    Args:
        engine: where.
        one: as read.
        found: what the engine says of it.
    """
    if one.exit_code != _BY_SIGKILL or one.oom_killed or not one.memory_limit:
        return one
    events = set(_events(engine, one, found["State"]))
    if "oom" in events:
        return replace(one, oom_killed=True)
    return replace(one, oom_likely="die" in events and "kill" not in events)


def _events(engine: Engine, one: Container, state: dict[str, Any]) -> Iterator[str]:
    """What happened in its last run, as far as the engine still knows; nothing where it does not tell."""
    try:
        started, ended = (datetime.fromisoformat(str(state[key])).timestamp() for key in ("StartedAt", "FinishedAt"))
    except (KeyError, ValueError):
        return
    api = engine.api
    # Its own events() would wait without an end.
    answer = api.get(
        f"{api.base_url}/v{api.api_version}/events",
        params={
            "since": str(math.floor(started)),
            "until": str(math.ceil(ended) + _LATE_SECONDS),
            "filters": json.dumps({"container": [one.id], "event": ["oom", "kill", "die"]}),
        },
        timeout=api.timeout,
    )
    if answer.status_code != 200:
        return
    for line in answer.text.splitlines():
        event = json.loads(line)
        if started <= event["timeNano"] / 1e9:
            yield event["Action"]
