"""Whether a Docker engine can be reached, and whether the project of Docker Compose is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nightshift.remediation.connections import Connection
from nightshift.remediation.text import counted, listed, printable
from nightshift.running.doctor.finding import Seen, ok, warning


def look_at_engine(name: str, connections: Mapping[str, Connection]) -> Iterator[Seen]:
    """Whether it answers us, and which services it has of the project.

    Raises:
        NightshiftError: it does not answer, with the remedy.
    """
    # The docker package is imported for systems that have an engine.
    from nightshift.remediation.clients.docker.engine import open_engine
    from nightshift.remediation.clients.docker.reading import containers_of

    with open_engine(name, connections) as engine:
        version, found = engine.api.version()["Version"], containers_of(engine)
    services = sorted({printable(one.service, 60) for one in found})
    if not found:
        yield warning(
            f"Docker {version} answers, but has no container of the project {engine.project}.",
            "See `docker compose ls` there, and project in the connection's entry.",
        )
        return
    yield ok(
        f"Docker {version} answers; {counted(len(services), 'service')} of {engine.project}: {listed(services, 8)}."
    )
