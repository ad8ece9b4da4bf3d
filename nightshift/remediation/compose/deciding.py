"""Which action on a service of Docker Compose is the right one, as a pure function of what was seen.

A restart runs the same container again, so where the image name means another image by now the container is recreated;
where the configuration changed, only Compose itself knows it, and a person runs it. Follows the operations
``docker.restart_service``, ``docker.recreate_service``, ``docker.scale_service``, ``docker.prune`` and the roll-back of
bybit_strategy_tester.HighErrorRate: the previous image, never ``down``, never ``--volumes``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from nightshift.remediation.actions import CANNOT_BE_UNDONE
from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.compose.arguments import (
    PruneImages,
    RecreateContainer,
    RestartContainer,
    RollBackContainer,
    ScaleService,
)
from nightshift.remediation.compose.objects import (
    FILES_LABEL,
    FOLDER_LABEL,
    Container,
    Image,
    ServiceLook,
    Usage,
)
from nightshift.remediation.models import (
    Action,
    Proposal,
    Quantity,
    Refusal,
    Risk,
    Target,
    UndoWhen,
    format_bytes,
)
from nightshift.remediation.text import counted, printable, shell_word

ONE = Quantity(amount=1, unit="containers")
BACK = "the container of the image from before can be made again (nightshift undo)"


def repair(target: Target, engine: str, look: ServiceLook, one: Container, reason: str, wait: float) -> Action:
    """Let a container work again: restart it, or recreate it where a restart would bring an old image back.

    Neither brings a newer configuration, which only Compose knows: where another container of the service has one, a
    person decides.
    """
    action = _repaired(target, engine, look, one, reason, wait)
    if (newer := look.newer_configuration(one)) is None:
        return action
    asks = f"Its configuration is older than that of {printable(newer.name, 120)}, and it would run with it again: "
    return action.model_copy(update={"asks": f"{asks}or shall Compose make it anew?", "risk": Risk.HIGH})


def _repaired(target: Target, engine: str, look: ServiceLook, one: Container, reason: str, wait: float) -> Action:
    if look.tagged and look.tagged != one.image_id:
        why = f"{reason}; {printable(one.image, 120)} means another image by now, which a restart would not run"
        return _replaced(RecreateContainer, target, engine, one, (one.image, look.tagged), why, wait)
    arguments = RestartContainer(
        engine=engine,
        service=one.service,
        container=one.id,
        name=one.name,
        started_at=one.started_at,
        wait=wait,
    )
    again = "Restart" if one.state == "running" else "Start"
    return _action(target, arguments, f"{again} the container {printable(one.name, 120)}", reason, one.id)


def differing_configurations(look: ServiceLook) -> Proposal | None:
    """What a person does where the containers of one service were made from different configurations."""
    if len({one.config_hash for one in look.containers if one.config_hash}) < 2:
        return None
    newest = max(look.containers, key=lambda one: one.created or 0)
    folder, files = (newest.labels.get(label, "") for label in (FOLDER_LABEL, FILES_LABEL))
    where = f" (in {printable(folder, 200)}, with {printable(files, 200)})" if folder and files else ""
    return Proposal(
        title=f"Let Compose recreate {printable(look.service, 80)}",
        detail=f"docker compose up -d --no-deps {shell_word(look.service, 80)}{where}",
        reason="Its containers were made from different configurations; only Compose knows the newest.",
    )


def roll_back(
    target: Target, engine: str, look: ServiceLook, one: Container, reason: str, wait: float
) -> Action | Refusal:
    """Run the newest image that is older than the container's."""
    before = look.previous(one.image_id)
    if before is None:
        return Refusal(
            what=f"Rolling {printable(one.name, 120)} back",
            reason="no older image of the service is on its host",
            lifted_by="docker pull of the release before, or a build of it",
        )
    name = next((tag for tag in before.tags if tag.rpartition(":")[0] in _repositories(look, one)), before.id)
    return _replaced(RollBackContainer, target, engine, one, (name, before.id), reason, wait)


def scale(
    target: Target, engine: str, look: ServiceLook, wanted: int, ceiling: int, reason: str, wait: float
) -> Action | Refusal:
    """More containers of the service, never fewer, up to the ceiling."""
    there = len(look.containers)
    what = f"Scaling {printable(look.service, 80)} to {wanted}"
    working = [one for one in look.containers if one.works]
    if wanted <= there or there >= ceiling:
        return Refusal(what=what, reason=f"it has {there} already, and {ceiling} is the ceiling of the policy")
    if not working:
        return Refusal(what=what, reason="none of its containers works: more of them would not either")
    template = max(working, key=lambda one: one.number)
    if template.host_ports:
        port = template.host_ports[0]
        return Refusal(what=what, reason=f"port {port} of the host leads to it, and it can lead to one container only")
    if not template.name.endswith((f"-{template.number}", f"_{template.number}")):
        reason = f"its configuration names the container {printable(template.name, 80)}: there can be one of that name"
        return Refusal(what=what, reason=reason, lifted_by="its Compose file, without container_name")
    arguments = ScaleService(
        engine=engine,
        service=look.service,
        from_replicas=there,
        to_replicas=min(wanted, ceiling),
        template=template.id,
        wait=wait,
    )
    added = arguments.to_replicas - there
    return Action(
        kind=ScaleService.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=(look.service,),
        title=f"Run {counted(arguments.to_replicas, 'container')} of {printable(look.service, 80)} instead of {there}",
        reason=reason,
        risk=Risk.MEDIUM,
        bound=Quantity(amount=added, unit="containers"),
        undo="the containers that were added can be removed again (nightshift undo)",
        undo_when=UndoWhen.BY_HAND,
    )


def no_room(usages: Mapping[str, Usage], mine: Collection[str], host: tuple[int, int], free_below: float) -> str | None:
    """Why a host has no room for another container of a service; None: it has, by what the project uses.

    Args:
        usages: of the running containers of the project, by id.
        mine: ids of those of the service.
        host: its processors and its memory in bytes; 0 where that is not known.
        free_below: the share of its processors that may be in use.
    """
    host_cpus, host_memory = host
    if not host_cpus or not host_memory:
        return "what the host has is not known"
    cpus = sum(usage.cpus for usage in usages.values())
    if cpus > free_below * host_cpus:
        return f"the project uses {cpus:.1f} of {host_cpus} processors already"
    memory = sum(usage.memory for usage in usages.values())
    one_more = max((usage.memory for name, usage in usages.items() if name in mine), default=0)
    if memory + one_more > 0.8 * host_memory:
        return "the project uses nearly all memory of the host"
    return None


def prunable(look: ServiceLook, *, now: float, older_than: float, keep: int) -> tuple[Image, ...]:
    """Images that nothing needs: unused, old, and neither a current one, nor one that a roll-back would take.

    Args:
        look: the service.
        now: seconds since 1970.
        older_than: seconds.
        keep: newest images that stay in any case.
    """
    running = {one.image_id for one in look.containers}
    previous = {image.id for identity in running if (image := look.previous(identity)) is not None}
    newest = {image.id for image in sorted(look.images, key=lambda image: -image.created)[:keep]}
    needed = running | previous | newest | {look.tagged}
    return tuple(
        image for image in look.images if image.id not in needed and not image.used and now - image.created > older_than
    )


def prune(target: Target, engine: str, images: Sequence[Image], reason: str) -> Action:
    """Remove images by their ids; containers, networks, volumes and build cache stay."""
    size = sum(image.size for image in images)
    return Action(
        kind=PruneImages.KIND,
        target=target,
        arguments=PruneImages(engine=engine, images=tuple(image.id for image in images)).to_json(),
        items=tuple(image.id for image in images),
        title=f"Remove {counted(len(images), 'unused image')}",
        reason=f"{reason}; together up to {format_bytes(size)}",
        risk=Risk.HIGH,
        bound=Quantity(amount=len(images), unit="images"),
        undo=f"{CANNOT_BE_UNDONE}; they are pulled or built again",
    )


def _replaced(
    kind: type[RecreateContainer],
    target: Target,
    engine: str,
    one: Container,
    image: tuple[str, str],
    reason: str,
    wait: float,
) -> Action:
    arguments = kind(
        engine=engine,
        service=one.service,
        container=one.id,
        name=one.name,
        image=image[0],
        from_image=one.image,
        from_image_id=one.image_id,
        to_image_id=image[1],
        wait=wait,
    )
    verb = "Roll" if kind is RollBackContainer else "Recreate"
    back = f"back to {printable(image[0], 120)}" if verb == "Roll" else f"from {printable(image[0], 120)}"
    action = _action(
        target, arguments, f"{verb} the container {printable(one.name, 120)} {back}", reason, one.id, image[1]
    )
    return action.model_copy(update={"undo": BACK, "undo_when": UndoWhen.BY_HAND})


def _action(target: Target, arguments: ActionArguments, title: str, reason: str, *items: str) -> Action:
    return Action(
        kind=arguments.KIND,
        target=target,
        arguments=arguments.to_json(),
        items=items,
        title=title,
        reason=reason,
        risk=Risk.MEDIUM,
        bound=ONE,
        undo=f"{CANNOT_BE_UNDONE}; what it kept in memory is gone, its volumes stay",
    )


def _repositories(look: ServiceLook, one: Container) -> frozenset[str]:
    current = look.image(one.image_id)
    return (current.repositories if current is not None else frozenset()) | {one.image.rpartition(":")[0]}
