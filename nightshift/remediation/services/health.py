"""Whether a service answers over HTTP, and whether its metric says that it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, StringConstraints

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.models import Finding, Value
from nightshift.remediation.text import listed

HttpPath = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9._~/-]{0,200}$")]
MetricName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]{0,200}$")]
LabelName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]{0,100}$")]


class HealthChecks(Value):
    """What must answer with a 2xx for a service to work."""

    api: Annotated[str, ConnectionOf("http")]
    """Name of the connection."""
    paths: tuple[HttpPath, ...] = Field(default=("/health",), min_length=1, max_length=10)


class RunningMetric(Value):
    """A metric of the service that is 1 while it runs."""

    prometheus: Annotated[str, ConnectionOf("http")]
    """Name of the connection."""
    name: MetricName
    labels: dict[LabelName, str] = Field(default_factory=dict, max_length=10)
    """That select the service's series."""


@dataclass(frozen=True, kw_only=True)
class HttpAnswer:
    """How one address answered."""

    path: str
    status: int | None = None
    """None: it did not answer."""
    why: str = ""
    """Why not: the name of the error."""
    seconds: float = 0.0

    @property
    def well(self) -> bool:
        """Whether it answered with a 2xx."""
        return self.status is not None and 200 <= self.status < 300


def all_well(answers: Sequence[HttpAnswer]) -> bool:
    """Whether every address answered well."""
    return all(one.well for one in answers)


def answers_in_words(answers: Sequence[HttpAnswer]) -> str:
    """How the addresses answered, as a part of a line for people."""
    bad = [f"{one.path} {one.status or 'is silent'}" for one in answers if not one.well]
    if not bad:
        return f"{listed([one.path for one in answers])} answered"
    if len(bad) == len(answers) and all(one.status is None for one in answers):
        return "it does not answer"
    return f"it does not answer well: {listed(bad)}"


def answer_findings(answers: Sequence[HttpAnswer]) -> tuple[Finding, ...]:
    """One finding for each address."""
    return tuple(
        Finding(
            title=f"{one.path}: {one.status if one.status is not None else 'no answer'}",
            detail=one.why or f"within {one.seconds:.1f} s",
            troubling=not one.well,
        )
        for one in answers
    )
