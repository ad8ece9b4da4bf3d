"""What every flow declares before it exists: how it measures its symptom, and how long that must stay away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from pydantic import TypeAdapter

from nightshift.remediation.durations import format_duration
from nightshift.remediation.models import Symptom, Target, Value


@runtime_checkable
class Declares(Protocol):
    """The policy of a flow."""

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        ...


def flows_with(policies: Mapping[str, type[Value]]) -> dict[str, TypeAdapter[Any]]:
    """What validates the policy of each flow.

    Raises:
        TypeError: a flow does not say how it measures its symptom.
    """
    for flow, kind in policies.items():
        if not callable(getattr(kind, "symptom", None)):
            raise TypeError(
                f"the flow {flow} does not register: {kind.__name__} has no method symptom(target), which says how its "
                "symptom is measured and how long it must stay away"
            )
    return {flow: TypeAdapter(kind) for flow, kind in policies.items()}


def in_words(symptom: Symptom) -> str:
    """When it counts as solved."""
    allowed = f"; allowed for: {', '.join(symptom.allowances)}" if symptom.allowances else ""
    return (
        f"{symptom.solved}, for {format_duration(symptom.hold)} on end, measured by {symptom.measured_by}{allowed}. "
        "What cannot be measured does not count as solved."
    )
