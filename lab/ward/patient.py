"""How the gate's actions reach a patient of the ward, and the plan that they carry out."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nightshift.remediation.actions import (
    CANNOT_BE_UNDONE,
    ActionKind,
    ActionKinds,
    Connections,
    Effect,
    Observation,
    Undo,
)
from nightshift.remediation.errors import (
    CommandFailedError,
    CommandTimeoutError,
    ConnectionLostError,
    TargetChangedError,
    TargetUnreachableError,
)
from nightshift.remediation.models import Action, Plan, Quantity, Risk, Target, UndoWhen
from nightshift.remediation.privileges import NothingNeeded

TIMEOUT = 0.9
"""Seconds after which a command has certainly ended on the ward."""
ANSWER_WITHIN = 0.4
"""Seconds for which its client waits for the answer."""
LATE = 0.6
"""When a late command has its effect: after the client gave up, and within the time it was given."""


@dataclass(frozen=True)
class Patient:
    """One bed, over a connection for each question."""

    port: int
    bed: str
    pace: float = 1
    """By how much everything takes longer on a busy machine."""

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Ask the ward.

        Raises:
            TargetUnreachableError: nobody listens.
            CommandTimeoutError: no answer in time.
            ConnectionLostError: the connection was closed without an answer.
        """
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
                connection.settimeout(ANSWER_WITHIN * self.pace if do in ("raise", "lower") else 20)
                connection.sendall(json.dumps({"do": do, "bed": self.bed, **request}).encode() + b"\n")
                line = connection.makefile("rb").readline()
        except TimeoutError:
            raise CommandTimeoutError from None
        except ConnectionRefusedError:
            raise TargetUnreachableError from None
        except ConnectionError:
            raise ConnectionLostError from None
        if not line:
            raise ConnectionLostError
        answer: dict[str, Any] = json.loads(line)
        return answer

    def set(self, **values: Any) -> None:
        """Tell it how to behave; see :class:`lab.ward.server.Bed`."""
        self.ask("set", values=values)

    def levels(self, who: str) -> dict[str, int]:
        """How often each step was done; the ward notes who asked."""
        return dict(self.ask("measure", who=who)["levels"])


@dataclass(frozen=True)
class _Treatment:
    """How the gate's actions reach their patients."""

    port: int
    who: str
    pace: float

    def patient(self, action: Action) -> Patient:
        return Patient(self.port, str(action.arguments["bed"]), self.pace)

    def move(self, do: str, action: Action) -> Effect:
        answer = self.patient(action).ask(
            do,
            step=action.arguments["step"],
            target=action.target.key,
            who=self.who,
            until=time.time() + TIMEOUT * self.pace,
            late=LATE * self.pace,
        )
        if not answer["ok"]:
            raise CommandFailedError("the ward says that it failed")
        return Effect(summary=f"{do}d", amount=Quantity(amount=1, unit="levels"))

    def is_raised(self, action: Action) -> bool:
        return bool(self.patient(action).ask("look", step=action.arguments["step"])["level"] > 0)

    def check(self, action: Action, _connections: Connections) -> None:
        if self.patient(action).ask("check")["changed"]:
            raise TargetChangedError


def kinds(port: int, who: str, pace: float) -> ActionKinds:
    """The two kinds of action that there are: raise a level by one, and take that back."""
    treatment, registered = _Treatment(port, who, pace), ActionKinds()

    def register(name: str, do: str, done: Callable[[bool], bool], undo: Undo | None) -> None:
        def observe(action: Action, _connections: Connections) -> Observation:
            return Observation.DONE if done(treatment.is_raised(action)) else Observation.NOT_DONE

        registered.register(
            ActionKind(
                name=name,
                timeout=TIMEOUT * pace,
                act=lambda action, _connections: treatment.move(do, action),
                observe=observe,
                precondition=treatment.check,
                permitted=NothingNeeded("the ward asks nobody who they are"),
                undo=undo,
            )
        )

    register("raise_level", "raise", lambda raised: raised, Undo(when=UndoWhen.INEFFECTIVE, action=_lowering))
    register("lower_level", "lower", lambda raised: not raised, None)
    return registered


def _lowering(raised: Action, _effect: Effect | None) -> Action:
    title = f"Lower {raised.arguments['step']}"
    changes = {"kind": "lower_level", "title": title, "undo": CANNOT_BE_UNDONE, "undo_when": UndoWhen.NONE}
    return raised.model_copy(update=changes)


def plan(bed: str, target: Target, steps: Sequence[str], *, undone: bool) -> Plan:
    """Raise the level of each step, in this order; announcing that it is taken back when it does not help, or not."""
    actions = tuple(
        Action(
            kind="raise_level",
            target=target,
            arguments={"bed": bed, "step": step},
            items=(step,),
            title=f"Raise {step}",
            reason="the schedule wants it",
            risk=Risk.LOW,
            bound=Quantity(amount=1, unit="levels"),
            undo="lower it" if undone else CANNOT_BE_UNDONE,
            undo_when=UndoWhen.INEFFECTIVE if undone else UndoWhen.NONE,
        )
        for step in steps
    )
    return Plan(goal="every level raised once", target=target, actions=actions)
