"""Changes of services of Docker Compose: each kind of action with what makes it safe to run unattended.

Only the gate carries these out. See :mod:`nightshift.remediation.clients.docker.changing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from pydantic import JsonValue

from nightshift.remediation.actions import Connections, Effect, Observation, Undo
from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.clients.docker import changing
from nightshift.remediation.clients.docker.engine import Engine, open_engine
from nightshift.remediation.clients.docker.reading import logs
from nightshift.remediation.compose.arguments import (
    OnContainer,
    PruneImages,
    RecreateContainer,
    RestartContainer,
    RollBackContainer,
    ScaleService,
)
from nightshift.remediation.compose.objects import Container
from nightshift.remediation.compose.undoing import image_back, scale_back
from nightshift.remediation.errors import ConnectionLostError, TargetUnreachableError
from nightshift.remediation.kubernetes.crash_diagnosis import last_lines, shown
from nightshift.remediation.models import Action, Quantity, UndoWhen, format_bytes
from nightshift.remediation.privileges import Lack
from nightshift.remediation.text import counted, printable
from nightshift.tasks.steps import action as declare_action

TIMEOUT_SECONDS = 480.0
"""Ending a container (at most a minute), waiting for the new one (at most five), and the way back."""
_LINES = 60

A = TypeVar("A", bound=ActionArguments)


def _engine_name(action: Action) -> str:
    return str(action.arguments["engine"])


def _checked(kind: type[A], check: Callable[[Engine, A], None]) -> Callable[[Action, Connections], None]:
    def precondition(action: Action, connections: Connections) -> None:
        with open_engine(_engine_name(action), connections) as engine:
            check(engine, kind.from_json(action.arguments))

    return precondition


def _observed(
    kind: type[A], observe: Callable[[Engine, A], Observation]
) -> Callable[[Action, Connections], Observation]:
    def look(action: Action, connections: Connections) -> Observation:
        with open_engine(_engine_name(action), connections) as engine:
            return observe(engine, kind.from_json(action.arguments))

    return look


def reaches(action: Action, connections: Connections) -> list[Lack]:
    """Who reaches an engine may do everything there; so reaching it is what is asked for."""
    with open_engine(_engine_name(action), connections):
        return []


@contextmanager
def _changing(name: str, connections: Connections) -> Iterator[Engine]:
    """The engine while something is changed: when it is lost then, nobody knows what was done.

    Raises:
        ConnectionLostError: it was lost.
    """
    try:
        with open_engine(name, connections) as engine:
            yield engine
    except TargetUnreachableError as error:
        raise ConnectionLostError(f"{error} Whether the change was made is unknown.") from None


def _saved(engine: Engine, arguments: OnContainer) -> dict[str, JsonValue]:
    """The last words of a container that is about to end, credentials masked."""
    return {"log": [shown(line) for line in last_lines(logs(engine, arguments.container, lines=_LINES))]}


def _how(one: Container) -> str:
    return "works" if one.works else f"does not work yet ({printable(one.health or one.state, 40)})"


@declare_action(
    kind=RestartContainer.KIND,
    name="restart a container",
    timeout=TIMEOUT_SECONDS,
    precondition=_checked(RestartContainer, changing.check_restart),
    observe=_observed(RestartContainer, changing.observe_restart),
    permitted=reaches,
    undo=None,
)
def restart_container(action: Action, connections: Connections) -> Effect:
    """``docker.restart_service``: the most used repair of both systems on Docker Compose. Its log is saved first."""
    arguments = RestartContainer.from_json(action.arguments)
    with _changing(arguments.engine, connections) as engine:
        saved = _saved(engine, arguments)
        after = changing.restart(engine, arguments)
    evidence: dict[str, JsonValue] = {**saved, "started_at": after.started_at}
    return Effect(summary=f"{printable(after.name, 120)} was restarted, and {_how(after)}", evidence=evidence)


def _recreate(action: Action, connections: Connections) -> Effect:
    arguments = RecreateContainer.from_json(action.arguments)
    with _changing(arguments.engine, connections) as engine:
        saved = _saved(engine, arguments)
        after = changing.recreate(engine, arguments)
    summary = f"{printable(after.name, 120)} runs {printable(after.image, 120)}, and {_how(after)}"
    return Effect(summary=summary, evidence={**saved, "container": after.id, "image": after.image_id})


recreate_container = declare_action(
    kind=RecreateContainer.KIND,
    name="recreate a container",
    timeout=TIMEOUT_SECONDS,
    precondition=_checked(RecreateContainer, changing.check_recreate),
    observe=_observed(RecreateContainer, changing.observe_recreate),
    permitted=reaches,
    undo=Undo(when=UndoWhen.BY_HAND, action=image_back),
)(_recreate)
"""``docker.recreate_service``: bybit_strategy_tester.APIUnresponsive, ConnectionPoolExhausted, CeleryWorkersDown."""
roll_back_container = declare_action(
    kind=RollBackContainer.KIND,
    name="roll a container back",
    timeout=TIMEOUT_SECONDS,
    precondition=_checked(RollBackContainer, changing.check_recreate),
    observe=_observed(RollBackContainer, changing.observe_recreate),
    permitted=reaches,
    undo=Undo(when=UndoWhen.BY_HAND, action=image_back),
)(_recreate)
"""The previous image: bybit_strategy_tester.HighErrorRate."""


@declare_action(
    kind=ScaleService.KIND,
    name="scale a service",
    timeout=TIMEOUT_SECONDS,
    precondition=_checked(ScaleService, changing.check_scale),
    observe=_observed(ScaleService, changing.observe_scale),
    permitted=reaches,
    undo=Undo(when=UndoWhen.BY_HAND, action=scale_back),
)
def scale_service(action: Action, connections: Connections) -> Effect:
    """``docker.scale_service``: bybit_strategy_tester.SlowResponseTime, HighCPUUsage, HighTaskQueueLength."""
    arguments = ScaleService.from_json(action.arguments)
    with _changing(arguments.engine, connections) as engine:
        there = changing.scale(engine, arguments)
    return Effect(
        summary=f"{printable(arguments.service, 80)} has {counted(len(there), 'container')}, "
        f"{sum(one.works for one in there)} of them working",
        amount=Quantity(amount=abs(len(there) - arguments.from_replicas), unit="containers"),
    )


@declare_action(
    kind=PruneImages.KIND,
    name="remove unused images",
    timeout=TIMEOUT_SECONDS,
    precondition=lambda _action, _connections: None,  # each image is looked at again in the moment it would go
    observe=_observed(PruneImages, changing.observe_prune),
    permitted=reaches,
    undo=None,
)
def prune_images(action: Action, connections: Connections) -> Effect:
    """``docker.prune`` without its hazards: images by id, never ``--volumes``, never what a roll-back needs."""
    arguments = PruneImages.from_json(action.arguments)
    with _changing(arguments.engine, connections) as engine:
        gone, size = changing.prune(engine, arguments)
    return Effect(
        summary=f"{counted(len(gone), 'image')} removed, up to {format_bytes(size)}",
        amount=Quantity(amount=len(gone), unit="images"),
        evidence={"images": list(gone)},
    )
