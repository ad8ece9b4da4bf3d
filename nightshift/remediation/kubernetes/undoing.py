"""The opposites of changes in a cluster: pure, from the action and from what it really did.

All of them by hand: whether the state before was better than the one that did not help is for a person to say, and each
of them replaces pods or lets them onto a node once more.
"""

from __future__ import annotations

from nightshift.remediation.actions import CANNOT_BE_UNDONE, Effect
from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.kubernetes.arguments import (
    CordonNode,
    RolloutUndo,
    ScaleWorkload,
    SetResources,
    UncordonNode,
)
from nightshift.remediation.models import Action
from nightshift.remediation.text import printable


def uncordon_again(action: Action, _effect: Effect | None) -> Action:
    """The opposite of a cordon."""
    done = CordonNode.from_json(action.arguments)
    opposite = UncordonNode(node=done.node, uid=done.uid)
    return opposite_of(action, opposite, f"Uncordon {printable(done.node)}", "New pods may be put onto it again.")


def cordon_again(action: Action, _effect: Effect | None) -> Action:
    """The opposite of an uncordon."""
    done = UncordonNode.from_json(action.arguments)
    opposite = CordonNode(node=done.node, uid=done.uid)
    return opposite_of(action, opposite, f"Cordon {printable(done.node)} again", "It was closed to new pods before.")


def scale_back(action: Action, _effect: Effect | None) -> Action:
    """The number of replicas from before."""
    done = ScaleWorkload.from_json(action.arguments)
    opposite = done.model_copy(update={"from_replicas": done.to_replicas, "to_replicas": done.from_replicas})
    title = f"Scale {printable(done.name)} back to {done.from_replicas}"
    return opposite_of(action, opposite, title, f"It had {done.from_replicas} replicas before.")


def roll_forward(action: Action, _effect: Effect | None) -> Action:
    """The template from before the roll-back, which its Deployment keeps as a revision."""
    done = RolloutUndo.from_json(action.arguments)
    opposite = done.model_copy(
        update={
            "template": done.to_template,
            "from_revision": done.to_revision,
            "to_revision": done.from_revision,
            "to_template": done.template,
        }
    )
    title = f"Return {printable(done.name)} to the template of revision {done.from_revision}"
    return opposite_of(action, opposite, title, "It ran this one before it was rolled back.")


def resources_back(action: Action, effect: Effect | None) -> Action:
    """The limits and requests from before. What was not stated before cannot be taken away again, and stays."""
    done = SetResources.from_json(action.arguments)
    before = {
        "memory_limit_bytes": done.was_memory_limit_bytes,
        "memory_request_bytes": done.was_memory_request_bytes,
        "cpu_limit_millicores": done.was_cpu_limit_millicores,
        "cpu_request_millicores": done.was_cpu_request_millicores,
    }
    after = {f"was_{name}": getattr(done, name) for name in before}
    # Where the effect was never recorded, the template is not known: the guard against changes then refuses.
    template = str(effect.evidence.get("template") or "") if effect is not None else ""
    opposite = done.model_copy(update={**before, **after, "template": template or done.template})
    title = f"Give {printable(done.container)} of {printable(done.name)} its limits and requests from before"
    return opposite_of(action, opposite, title, "As the diagnosis saw them.")


def opposite_of(action: Action, arguments: ActionArguments, title: str, reason: str) -> Action:
    """An action that takes another one back: on the same target, with its risk and its bound."""
    return Action(
        kind=arguments.KIND,
        target=action.target,
        arguments=arguments.to_json(),
        items=action.items,
        title=title,
        reason=reason,
        risk=action.risk,
        bound=action.bound,
        undo=CANNOT_BE_UNDONE,
    )
