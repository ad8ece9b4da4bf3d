"""The opposites of changes of services: pure, from the action and from what it really did. All of them by hand."""

from __future__ import annotations

from nightshift.remediation.actions import CANNOT_BE_UNDONE, Effect
from nightshift.remediation.compose.arguments import RecreateContainer, ScaleService
from nightshift.remediation.models import Action, Quantity
from nightshift.remediation.text import printable


def image_back(action: Action, effect: Effect | None) -> Action:
    """A container of the image from before. Where the new one was never recorded, it is not known, and refused."""
    done = RecreateContainer.from_json(action.arguments)
    evidence = effect.evidence if effect is not None else {}
    opposite = done.model_copy(
        update={
            "container": str(evidence.get("container") or done.container),
            "image": done.from_image_id,
            "from_image": done.image,
            "from_image_id": done.to_image_id,
            "to_image_id": done.from_image_id,
        }
    )
    return Action(
        kind=RecreateContainer.KIND,
        target=action.target,
        arguments=opposite.to_json(),
        items=(opposite.container, opposite.to_image_id),
        title=f"Recreate the container {printable(done.name, 120)} from its image before",
        reason=f"It ran {printable(done.from_image, 120)} before.",
        risk=action.risk,
        bound=action.bound,
        undo=CANNOT_BE_UNDONE,
    )


def scale_back(action: Action, _effect: Effect | None) -> Action:
    """As many containers as before: those that were added go."""
    done = ScaleService.from_json(action.arguments)
    opposite = done.model_copy(update={"from_replicas": done.to_replicas, "to_replicas": done.from_replicas})
    return Action(
        kind=ScaleService.KIND,
        target=action.target,
        arguments=opposite.to_json(),
        items=action.items,
        title=f"Remove the containers of {printable(done.service, 80)} that were added",
        reason=f"It had {done.from_replicas} before.",
        risk=action.risk,
        bound=Quantity(amount=abs(done.to_replicas - done.from_replicas), unit="containers"),
        undo=CANNOT_BE_UNDONE,
    )
