"""What is on an engine: containers and images of the project, their logs and what they use. Changes nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from docker.errors import APIError, ImageNotFound

from nightshift.remediation.clients.docker.ending import with_cause
from nightshift.remediation.clients.docker.engine import Engine
from nightshift.remediation.compose.objects import (
    ADDED_LABEL,
    HASH_LABEL,
    NUMBER_LABEL,
    ONE_OFF_LABEL,
    PROJECT_LABEL,
    REPLACES_LABEL,
    SERVICE_LABEL,
    Container,
    Image,
    ServiceLook,
    Usage,
)
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.inventory import serves

_MOST_LOG = 64 * 1024
"""Bytes of a log that are kept, the newest."""
_MOST_READ = 4 * 1024 * 1024
"""Bytes of a log that are read at all."""
_MOST_TOLD = 400


def inspect(engine: Engine, container: str) -> dict[str, Any]:
    """Everything about one container of the project.

    Raises:
        TargetChangedError: there is none of this id or name in the project.
    """
    found: dict[str, Any] = engine.api.inspect_container(container)
    if (found["Config"].get("Labels") or {}).get(PROJECT_LABEL) != engine.project:
        raise TargetChangedError(f"{engine.name}: this container belongs to no service of {engine.project}.")
    return found


def containers_of(engine: Engine, service: str | None = None) -> tuple[Container, ...]:
    """The containers of a service, or of the whole project, by service and number, whether they run or not."""
    labels = [f"{PROJECT_LABEL}={engine.project}"]
    if service is not None:
        labels.append(f"{SERVICE_LABEL}={service}")
    listed = engine.api.containers(all=True, filters={"label": labels})
    said = [engine.api.inspect_container(one["Id"]) for one in listed if _stays(one["Labels"])]
    found = [with_cause(engine, container(one), one) for one in said]
    return tuple(sorted(found, key=lambda one: (one.service, one.number, one.name)))


def _stays(labels: dict[str, str]) -> bool:
    return labels.get(ONE_OFF_LABEL, "False").lower() != "true"


def container(found: dict[str, Any]) -> Container:
    """A container from what the engine says of it."""
    config, state, host = found["Config"], found["State"], found["HostConfig"]
    labels = config.get("Labels") or {}
    health = state.get("Health") or {}
    log = health.get("Log") or [{}]
    running = state["Status"] in ("running", "paused")
    number = labels.get(NUMBER_LABEL, "")
    bound = [one for many in (host.get("PortBindings") or {}).values() for one in many or ()]
    return Container(
        id=found["Id"],
        name=found["Name"].lstrip("/"),
        service=labels.get(SERVICE_LABEL, ""),
        number=int(number) if number.isdecimal() else 0,
        image=config["Image"],
        image_id=found["Image"],
        state=state["Status"],
        health=health.get("Status", "") if health.get("Status") != "none" else "",
        health_says=(log[-1].get("Output") or "")[-_MOST_TOLD:],
        created=_moment(found.get("Created")),
        labels=dict(labels),
        started_at=state.get("StartedAt", ""),
        exit_code=None if running else state.get("ExitCode"),
        oom_killed=bool(state.get("OOMKilled")),
        restarts=int(found.get("RestartCount") or 0),
        config_hash=labels.get(HASH_LABEL, ""),
        memory_limit=int(host.get("Memory") or 0),
        host_ports=tuple(sorted(int(one["HostPort"]) for one in bound if str(one.get("HostPort", "")).isdecimal())),
        command=(found.get("Path") or "", *(found.get("Args") or ())),
        volumes=tuple(sorted(mount["Destination"] for mount in found.get("Mounts") or ())),
        replaces=labels.get(REPLACES_LABEL, ""),
        added=ADDED_LABEL in labels,
    )


def _moment(said: object) -> float | None:
    """Seconds since 1970 of a moment as the engine writes it; None where it says none (year 1)."""
    try:
        moment = datetime.fromisoformat(str(said)).timestamp()
    except (ValueError, OverflowError):
        return None
    return moment if moment > 0 else None


def look_at_service(engine: Engine, service: str) -> ServiceLook:
    """One service: its containers, the images it could run, and what its image name means now."""
    containers = containers_of(engine, service)
    names = {one.image for one in containers}
    tagged = image_id(engine, next(iter(names))) if len(names) == 1 else ""
    return ServiceLook(
        service=service, containers=containers, images=_images_for(engine, service, containers), tagged=tagged
    )


def image_id(engine: Engine, name: str) -> str:
    """The id that an image name stands for at this moment; empty: none of that name is on the host."""
    try:
        return str(engine.api.inspect_image(name)["Id"])
    except ImageNotFound:
        return ""


def _images_for(engine: Engine, service: str, containers: Iterable[Container]) -> tuple[Image, ...]:
    used = {one["ImageID"] for one in engine.api.containers(all=True)}
    images = {one["Id"]: _image(one, used, engine.project) for one in engine.api.images(all=False)}
    current = [images[one.image_id] for one in containers if one.image_id in images]
    repositories = {name for image in current for name in image.repositories}
    repositories |= {one.image.rpartition(":")[0] for one in containers if ":" in one.image.rpartition("/")[2]}
    ours = [
        image
        for image in images.values()
        if image in current or image.repositories & repositories or image.service == service
    ]
    dated = [replace(image, arrived=_arrived(engine, image.id)) if image in current else image for image in ours]
    return tuple(sorted(dated, key=lambda image: -image.created))


def _arrived(engine: Engine, image: str) -> float | None:
    try:
        return _moment((engine.api.inspect_image(image).get("Metadata") or {}).get("LastTagTime"))
    except ImageNotFound:
        return None


def _image(found: dict[str, Any], used: set[str], project: str) -> Image:
    labels = found.get("Labels") or {}
    created = found["Created"]
    if isinstance(created, str):
        created = datetime.fromisoformat(created).timestamp()
    return Image(
        id=found["Id"],
        tags=tuple(tag for tag in found.get("RepoTags") or () if tag != "<none>:<none>"),
        digests=tuple(digest for digest in found.get("RepoDigests") or () if digest != "<none>@<none>"),
        created=float(created),
        size=int(found.get("Size") or 0),
        service=labels.get(SERVICE_LABEL, "") if labels.get(PROJECT_LABEL) == project else "",
        used=found["Id"] in used,
    )


@serves("trading_signals.general: logs", "bybit_strategy_tester.general: logs")
def logs(
    engine: Engine,
    container: str,
    *,
    lines: int = 200,
    since: float | None = None,
    most: int = _MOST_LOG,
    timestamps: bool = False,
) -> str:
    """The newest lines of a container, both streams; hostile text.

    Args:
        engine: where.
        container: its id.
        lines: at most so many.
        since: seconds since 1970; None: however old.
        most: at most so many bytes, the newest.
        timestamps: each line begins with the moment at which the engine got it.
    """
    asked: dict[str, Any] = {"tail": lines, "stream": True, "follow": False, "timestamps": timestamps}
    if since is not None:
        asked["since"] = int(since)
    kept: deque[bytes] = deque()
    size = read = 0
    for part in engine.api.logs(container, stdout=True, stderr=True, **asked):
        kept.append(part[-most:])
        size, read = size + len(kept[-1]), read + len(part)
        while size - len(kept[0]) >= most:
            size -= len(kept.popleft())
        if read > max(_MOST_READ, most):
            break
    return b"".join(kept)[-most:].decode(errors="replace")


@serves("trading_signals.general: stats")
def usage(engine: Engine, container: str) -> Usage:
    """What a container uses, measured by the engine over about a second."""
    found = engine.api.stats(container, stream=False)
    memory, cpu, before = found.get("memory_stats") or {}, found.get("cpu_stats") or {}, found.get("precpu_stats") or {}
    details = memory.get("stats") or {}
    cache = details.get("inactive_file", details.get("total_inactive_file", 0))
    spent = _total(cpu) - _total(before)
    passed = (cpu.get("system_cpu_usage") or 0) - (before.get("system_cpu_usage") or 0)
    return Usage(
        memory=max(0, int(memory.get("usage") or 0) - int(cache)),
        memory_limit=int(memory.get("limit") or 0),
        cpus=spent / passed * (cpu.get("online_cpus") or 1) if passed > 0 else 0.0,
    )


def top(engine: Engine, container: str, most: int = 10) -> tuple[str, ...]:
    """The processes of a running container that use most memory: number, memory, processor, program.

    Arguments of their command lines stay unread, since they may hold secrets.
    """
    found = engine.api.top(container, ps_args="-eo pid,rss,pcpu,comm --sort=-rss")
    return tuple(" ".join(map(str, row)) for row in (found.get("Processes") or ())[:most])


def titles_of(engine: Engine, container: str, prefix: str) -> tuple[str, ...]:
    """Titles that processes of a container give themselves, only those with this beginning; none where it stopped.

    Everything else of their command lines stays unread, since it may hold secrets.
    """
    try:
        found = engine.api.top(container, ps_args="-eo pid,args")
    except APIError:
        return ()
    titles = (" ".join(map(str, row[1:])) for row in found.get("Processes") or ())
    return tuple(title for title in titles if title.startswith(prefix))


def _total(cpu: dict[str, Any]) -> int:
    return int((cpu.get("cpu_usage") or {}).get("total_usage") or 0)
