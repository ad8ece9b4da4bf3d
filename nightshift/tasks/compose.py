"""Look at a service of Docker Compose, read only."""

from __future__ import annotations

import time
from collections.abc import Mapping

from nightshift.remediation.clients.docker.engine import open_engine
from nightshift.remediation.clients.docker.reading import logs, look_at_service
from nightshift.remediation.compose.objects import ServiceLook
from nightshift.remediation.connections import Connection
from nightshift.tasks.steps import diagnostic

_LOOKS_SECONDS = 1.0


@diagnostic("look at a service", of="{engine} {service}")
def look_at_compose_service(engine: str, connections: Mapping[str, Connection], service: str) -> ServiceLook:
    """Its containers and images (``docker.list_containers``, ``docker.inspect_container``)."""
    with open_engine(engine, connections) as opened:
        return look_at_service(opened, service)


@diagnostic("read the log of a container", of="{engine} {container}")
def read_container_log(engine: str, connections: Mapping[str, Connection], container: str, lines: int = 200) -> str:
    """Its newest lines, both streams, at most 64 KiB (``docker.container_logs``); hostile text."""
    with open_engine(engine, connections) as opened:
        return logs(opened, container, lines=lines)


@diagnostic("watch a service", of="{engine} {service}")
def watch_compose_service(
    engine: str, connections: Mapping[str, Connection], service: str, seconds: float
) -> tuple[ServiceLook, ...]:
    """Looks at even intervals over so many seconds, the first at once and the last at their end."""
    looks, until = [], time.monotonic() + seconds
    with open_engine(engine, connections) as opened:
        while True:
            looks.append(look_at_service(opened, service))
            if (left := until - time.monotonic()) <= 0:
                return tuple(looks)
            time.sleep(min(left, max(_LOOKS_SECONDS, seconds / 12)))
