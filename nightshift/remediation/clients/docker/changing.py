"""Changes of containers and images, each safe to begin again after it was interrupted at any moment."""

from __future__ import annotations

import time
from typing import Any

from docker.errors import APIError, NotFound

from nightshift.remediation.actions import Observation
from nightshift.remediation.clients.docker.engine import Engine, translated
from nightshift.remediation.clients.docker.reading import container, containers_of, image_id, inspect
from nightshift.remediation.clients.docker.specification import more_networks, specification
from nightshift.remediation.compose.arguments import PruneImages, RecreateContainer, RestartContainer, ScaleService
from nightshift.remediation.compose.objects import ADDED_LABEL, NUMBER_LABEL, REPLACES_LABEL, Container
from nightshift.remediation.errors import CommandFailedError, TargetChangedError
from nightshift.remediation.text import printable

_LOOKS_SECONDS = 0.25
SETTLE_SECONDS = 3.0
"""A container without a check of its own must have run for so long."""
_PARKED = "_before_"


def stop_seconds(found: dict[str, Any]) -> int:
    """How long the container may take to end, at most a minute."""
    given = found["Config"].get("StopTimeout")
    return min(60, int(given) if given is not None else 10)


def wait_for(engine: Engine, identity: str, seconds: float) -> Container:
    """The container when it works, or after so many seconds however it is then.

    One that restarts meanwhile does not work, nor does one that has not run for a moment.
    """
    until, since = time.monotonic() + seconds, time.monotonic()
    before: Container | None = None
    while True:
        seen = container(inspect(engine, identity))
        if not seen.works or before is None or seen.started_at != before.started_at:
            since = time.monotonic()
        before = seen
        if seen.works and (seen.health == "healthy" or time.monotonic() - since >= SETTLE_SECONDS):
            return seen
        if time.monotonic() >= until or seen.state in ("exited", "dead"):
            return seen
        time.sleep(_LOOKS_SECONDS)


def check_restart(engine: Engine, arguments: RestartContainer) -> None:
    """Raise TargetChangedError unless it is still the same run of the same container."""
    seen = container(inspect(engine, arguments.container))
    if seen.started_at != arguments.started_at:
        raise TargetChangedError(f"{printable(arguments.name)} was started anew by something else meanwhile.")


def observe_restart(engine: Engine, arguments: RestartContainer) -> Observation:
    """Whether another run of the container has begun."""
    try:
        seen = container(inspect(engine, arguments.container))
    except NotFound:
        return Observation.UNKNOWN
    begun = seen.started_at != arguments.started_at and seen.state in ("running", "restarting")
    return Observation.DONE if begun else Observation.NOT_DONE


def restart(engine: Engine, arguments: RestartContainer) -> Container:
    """Stop it with its own time to end, start it, and wait until it works."""
    engine.api.restart(arguments.container, timeout=stop_seconds(inspect(engine, arguments.container)))
    return wait_for(engine, arguments.container, arguments.wait)


def check_recreate(engine: Engine, arguments: RecreateContainer) -> None:
    """Raise TargetChangedError unless the container and both images are as they were diagnosed."""
    old = inspect(engine, arguments.container)
    if old["Image"] != arguments.from_image_id:
        raise TargetChangedError(f"{printable(arguments.name)} is of another image by now.")
    if old["HostConfig"].get("AutoRemove"):
        raise TargetChangedError(f"{printable(arguments.name)} is removed when it ends (--rm): it has no way back.")
    if image_id(engine, arguments.image) != arguments.to_image_id:
        raise TargetChangedError(f"{printable(arguments.image)} is another image by now.")


def observe_recreate(engine: Engine, arguments: RecreateContainer) -> Observation:
    """Whether the new container stands in its place. Half-way counts as not done: it is begun anew."""
    try:
        engine.api.inspect_container(arguments.container)
    except NotFound:
        new = _replacement(engine, arguments)
        return Observation.DONE if new is not None and new.works else Observation.UNKNOWN
    return Observation.NOT_DONE


def recreate(engine: Engine, arguments: RecreateContainer) -> Container:
    """Make the new container, let it take the place of the old one, and remove the old one when the new one works.

    Raises:
        CommandFailedError: the new one did not work; the old one runs again.
    """
    put_back(engine, arguments)
    old = inspect(engine, arguments.container)
    old_image = engine.api.inspect_image(old["Image"])
    body = specification(old, old_image, arguments.image, {REPLACES_LABEL: old["Id"]})
    new = engine.api.create_container_from_config(body, f"{arguments.name}_new_{old['Id'][:12]}")["Id"]
    try:
        for network, how in more_networks(old, body).items():
            engine.api.connect_container_to_network(new, network, aliases=how["Aliases"])
        engine.api.stop(old["Id"], timeout=stop_seconds(old))
        engine.api.rename(old["Id"], f"{arguments.name}{_PARKED}{old['Id'][:12]}")
        engine.api.rename(new, arguments.name)
        engine.api.start(new)
        seen = wait_for(engine, new, arguments.wait)
    except APIError as error:
        put_back(engine, arguments)
        raise CommandFailedError(f"{translated(engine.name, error)} The container from before runs again.") from None
    if not seen.works:
        put_back(engine, arguments)
        how = printable(seen.health or seen.state, 40)
        raise CommandFailedError(
            f"With {printable(arguments.image)}, {printable(arguments.name)} was {how} after {arguments.wait:g} s; "
            "the container from before runs again."
        )
    engine.api.remove_container(old["Id"], v=False)
    return seen


def put_back(engine: Engine, arguments: RecreateContainer) -> None:
    """As it was before a replacement that was interrupted or did not work: the old container, alone and running."""
    old = inspect(engine, arguments.container)
    new, renamed = _replacement(engine, arguments), old["Name"].lstrip("/") != arguments.name
    if new is not None:
        engine.api.remove_container(new.id, v=False, force=True)
    if renamed:
        engine.api.rename(old["Id"], arguments.name)
    if new is not None or renamed:
        engine.api.start(old["Id"])


def _replacement(engine: Engine, arguments: RecreateContainer) -> Container | None:
    found = containers_of(engine, arguments.service)
    return next((one for one in found if one.replaces == arguments.container), None)


def check_scale(engine: Engine, arguments: ScaleService) -> None:
    """Raise TargetChangedError unless there are still as many containers, and more are possible.

    What an attempt of ours that was cut off has added or removed already is no change of somebody else.
    """
    found = containers_of(engine, arguments.service)
    fewest, most = sorted((arguments.from_replicas, arguments.to_replicas))
    ours = len(found) - arguments.from_replicas <= sum(one.added for one in found)
    if not fewest <= len(found) <= most or not ours:
        raise TargetChangedError(f"There are {len(found)} containers by now, not {arguments.from_replicas}.")
    if arguments.to_replicas < arguments.from_replicas:
        return
    template = container(inspect(engine, arguments.template))
    if template.host_ports:
        raise TargetChangedError(f"A port of the host leads to {printable(template.name)}: there can be only one.")


def observe_scale(engine: Engine, arguments: ScaleService) -> Observation:
    """Whether there are as many as wanted, each of them begun."""
    found = containers_of(engine, arguments.service)
    whole = len(found) == arguments.to_replicas and not any(map(_never_began, found))
    return Observation.DONE if whole else Observation.NOT_DONE


def scale(engine: Engine, arguments: ScaleService) -> tuple[Container, ...]:
    """Add containers like the template, or remove those that were added; returns all there are.

    Raises:
        CommandFailedError: a new one did not work; it is removed again.
    """
    for one in filter(_never_began, containers_of(engine, arguments.service)):
        engine.api.remove_container(one.id, v=True, force=True)
    found = containers_of(engine, arguments.service)
    if arguments.to_replicas < len(found):
        _remove_added(engine, found, len(found) - arguments.to_replicas)
    for _ in range(arguments.to_replicas - len(found)):
        _add(engine, arguments)
    return containers_of(engine, arguments.service)


def _never_began(one: Container) -> bool:
    """Whether it is of an attempt of ours that was cut off between making it and starting it."""
    return one.added and one.state == "created"


def _add(engine: Engine, arguments: ScaleService) -> None:
    old = inspect(engine, arguments.template)
    like = container(old)
    number = max(one.number for one in containers_of(engine, arguments.service)) + 1
    labels = {NUMBER_LABEL: str(number), ADDED_LABEL: "scaled"}
    body = specification(old, engine.api.inspect_image(old["Image"]), like.image, labels)
    body["HostConfig"]["Binds"] = list(old["HostConfig"].get("Binds") or ())  # its anonymous volumes are its own
    name = like.name.removesuffix(str(like.number)) + str(number)
    new = engine.api.create_container_from_config(body, name)["Id"]
    try:
        for network, how in more_networks(old, body).items():
            engine.api.connect_container_to_network(new, network, aliases=how["Aliases"])
        engine.api.start(new)
        works = wait_for(engine, new, arguments.wait).works
    except APIError as error:
        engine.api.remove_container(new, v=True, force=True)
        raise translated(engine.name, error) from None
    if not works:
        engine.api.remove_container(new, v=True, force=True)
        raise CommandFailedError(f"{printable(name)} did not work after {arguments.wait:g} s, and is removed again.")


def _remove_added(engine: Engine, found: tuple[Container, ...], many: int) -> None:
    """Remove containers that Nightshift added, the newest first; never one of Compose."""
    added = sorted((one for one in found if one.added), key=lambda one: -one.number)
    for one in added[:many]:
        engine.api.stop(one.id, timeout=stop_seconds(inspect(engine, one.id)))
        engine.api.remove_container(one.id, v=False)


def prune(engine: Engine, arguments: PruneImages) -> tuple[list[str], int]:
    """Remove the images that nothing uses at this moment; the ids of those that went, and their bytes together."""
    gone, size = [], 0
    for identity in arguments.images:
        if any(one["ImageID"] == identity for one in engine.api.containers(all=True)):
            continue
        try:
            found = engine.api.inspect_image(identity)
            for tag in found.get("RepoTags") or ():
                engine.api.remove_image(tag, force=False)
            if image_id(engine, identity):
                engine.api.remove_image(identity, force=False)
        except APIError as error:
            if error.status_code not in (404, 409):  # gone already, or used since this moment
                raise
            continue
        gone.append(identity)
        size += int(found.get("Size") or 0)
    return gone, size


def observe_prune(engine: Engine, arguments: PruneImages) -> Observation:
    """Whether none of them is there any more."""
    return Observation.NOT_DONE if any(image_id(engine, one) for one in arguments.images) else Observation.DONE
