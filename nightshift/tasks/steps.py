"""How a step is declared: as a Prefect task, with the retries and caching that its nature allows.

Steps have no tags: for a step with tags Prefect asks its server for a slot first, and a repair that was begun must go
on when the server is away.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from nightshift.remediation.actions import ACTION_KINDS, ActionKind, Connections, Effect, Observation, Undo
from nightshift.remediation.errors import CommandTimeoutError, TemporaryError
from nightshift.remediation.models import Action
from nightshift.remediation.privileges import Permitted

P = ParamSpec("P")
R = TypeVar("R")


def _is_temporary(_task: Any, _task_run: TaskRun, state: State[Any]) -> bool:
    """Try again only what may work the next time. What hung for its whole time-out must not keep a person waiting."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, TemporaryError) and not isinstance(error, CommandTimeoutError)


def diagnostic(name: str, *, of: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare a step that only reads: never cached, since the world moves on; retried when the trouble may pass.

    Args:
        name: what it does, in words.
        of: what it looks at, as a format of its parameters: the name of a task run in the Prefect UI ends with it.
    """

    def declare(function: Callable[P, R]) -> Callable[P, R]:
        declared = Task(
            fn=function,
            name=name,
            task_run_name=f"{name}: {of}",
            cache_policy=NO_CACHE,
            persist_result=False,
            retries=2,
            retry_delay_seconds=[1, 4],
            retry_condition_fn=_is_temporary,
        )

        @functools.wraps(function)
        def step(*args: P.args, **kwargs: P.kwargs) -> R:
            return declared(*args, **kwargs)

        return step

    return declare


def action(
    *,
    kind: str,
    name: str,
    timeout: float,
    observe: Callable[[Action, Connections], Observation],
    precondition: Callable[[Action, Connections], None],
    permitted: Permitted,
    undo: Undo | None,
) -> Callable[[Callable[[Action, Connections], Effect]], ActionKind]:
    """Declare a step that changes something. What comes back is no function: only the gate can carry it out.

    Never retried by Prefect: whether a change may be made again is for the ledger to say.
    """

    def declare(function: Callable[[Action, Connections], Effect]) -> ActionKind:
        declared = Task(
            fn=function,
            name=name,
            task_run_name=f"{name}: at most {{action.bound}}",
            cache_policy=NO_CACHE,
            persist_result=False,
            retries=0,
        )
        return ACTION_KINDS.register(
            ActionKind(
                name=kind,
                timeout=timeout,
                act=declared,
                observe=observe,
                precondition=precondition,
                permitted=permitted,
                undo=undo,
            )
        )

    return declare
