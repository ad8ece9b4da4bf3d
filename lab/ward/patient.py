"""How the gate's actions reach a patient of the ward, and the plan that they carry out."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nightshift.remediation.actions import ActionKind, ActionKinds, Connections, Effect, Observation
from nightshift.remediation.errors import (
    CommandFailedError,
    CommandTimeoutError,
    ConnectionLostError,
    TargetChangedError,
    TargetUnreachableError,
)
from nightshift.remediation.models import Action, Plan, Quantity, Risk, Target
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
                connection.settimeout(ANSWER_WITHIN * self.pace if do == "raise" else 20)
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


def kinds(port: int, who: str, pace: float) -> ActionKinds:
    """The one kind of action that there is: raise a level by one."""

    def patient(action: Action) -> Patient:
        return Patient(port, str(action.arguments["bed"]), pace)

    def act(action: Action, _connections: Connections) -> Effect:
        answer = patient(action).ask(
            "raise",
            step=action.arguments["step"],
            target=action.target.key,
            who=who,
            until=time.time() + TIMEOUT * pace,
            late=LATE * pace,
        )
        if not answer["ok"]:
            raise CommandFailedError("the ward says that it failed")
        return Effect(summary="raised", amount=Quantity(amount=1, unit="levels"))

    def observe(action: Action, _connections: Connections) -> Observation:
        level = patient(action).ask("look", step=action.arguments["step"])["level"]
        return Observation.DONE if level else Observation.NOT_DONE

    def check(action: Action, _connections: Connections) -> None:
        if patient(action).ask("check")["changed"]:
            raise TargetChangedError

    registered = ActionKinds()
    registered.register(
        ActionKind(
            name="raise_level",
            timeout=TIMEOUT * pace,
            act=act,
            observe=observe,
            precondition=check,
            permitted=NothingNeeded("the ward asks nobody who they are"),
            undo=None,
        )
    )
    return registered


def plan(bed: str, target: Target, steps: Sequence[str]) -> Plan:
    """Raise the level of each step, in this order."""
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
            undo="cannot be undone",
        )
        for step in steps
    )
    return Plan(goal="every level raised once", target=target, actions=actions)
