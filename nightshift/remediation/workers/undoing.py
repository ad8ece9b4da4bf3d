"""The opposite of setting messages aside: pure, by hand."""

from __future__ import annotations

from nightshift.remediation.actions import CANNOT_BE_UNDONE, Effect
from nightshift.remediation.models import Action
from nightshift.remediation.text import counted, printable
from nightshift.remediation.workers.arguments import SetAside


def into_the_queue(action: Action, _effect: Effect | None) -> Action:
    """They return to the end of their queue: a worker takes them again."""
    done = SetAside.from_json(action.arguments)
    opposite = done.model_copy(update={"source": done.destination, "destination": done.source, "back": True})
    return Action(
        kind=SetAside.KIND,
        target=action.target,
        arguments=opposite.to_json(),
        items=action.items,
        title=f"Put {counted(len(done.messages), 'task')} back into the queue {printable(done.source, 60)}",
        reason="A worker takes them again; see first that it does not die over them once more.",
        risk=action.risk,
        bound=action.bound,
        undo=CANNOT_BE_UNDONE,
    )
