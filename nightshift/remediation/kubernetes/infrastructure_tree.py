"""The decision tree for trouble of the infrastructure, walked with what was seen: which way was taken, and why.

Follows octollm.tree.infrastructure, every question in its order. What is then done is the planner's, who keeps more
guards than the tree has; where the tree calls somebody, the page says whom.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from nightshift.remediation.disk_space.policy import Percent
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.node_diagnosis import NodeDiagnosis, NodeTrouble, trouble_of
from nightshift.remediation.models import Finding, Value, Verdict
from nightshift.remediation.text import counted

Called = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=60)], ...], Field(min_length=1, max_length=5)]
_PRESSURES = {NodeTrouble.MEMORY: "memory", NodeTrouble.DISK: "disk"}


class InfrastructureTree(Value):
    """Whom the tree calls, as the system's people are called."""

    many_percent: Percent = 30
    """Above this share of the nodes it is the whole cluster's trouble."""
    several: Called
    """Called when several nodes are not ready."""
    many: Called
    """Called when more than ``many_percent`` of them are not."""
    replacement: Called
    """Called to replace a node whose pressure could not be cleaned up."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way through the tree."""

    answers: tuple[str, ...]
    """Each question with its answer, from the root on."""
    then: str
    """What the tree says at its end."""

    @property
    def said(self) -> str:
        """For people: the answers and where they lead."""
        return f"{'; '.join(self.answers)} → {self.then}"


@serves("octollm.tree: infrastructure")
def walk(diagnosis: NodeDiagnosis, tree: InfrastructureTree) -> Way:
    """The way that this diagnosis takes."""
    broken = [node for node in diagnosis.nodes if not node.is_ready]
    share = 100 * len(broken) / max(1, len(diagnosis.nodes))
    how_many = f"{len(broken)} of {counted(len(diagnosis.nodes), 'node')} not ready, {share:.0f} %"
    if len(broken) > 1:
        above = share > tree.many_percent
        answers = (how_many, f"{'more' if above else 'not more'} than {tree.many_percent:g} %")
        called = tree.many if above else tree.several
        return Way(answers=answers, then=f"{'critical: ' if above else ''}call {_and(called)}")
    if not diagnosis.node.is_ready:
        return Way(answers=(how_many,), then="a single node: cordon it, drain it, replace it")
    if (short_of := _PRESSURES.get(trouble_of(diagnosis))) is not None:
        then = f"move pods off it and watch; if that does not resolve it, call {_and(tree.replacement)} to replace it"
        return Way(answers=(how_many, f"the node is short of {short_of}"), then=then)
    return Way(answers=(how_many, "no pressure on disk or memory"), then="none of the tree's cases")


def why_this_way(diagnosis: NodeDiagnosis, tree: InfrastructureTree | None) -> tuple[Finding, ...]:
    """The way as a finding of the report; nothing where the system has no such tree."""
    if tree is None:
        return ()
    return (Finding(title="Why this way, by the decision tree for infrastructure", detail=walk(diagnosis, tree).said),)


def after_cleaning_up(verdict: Verdict, before: NodeDiagnosis, tree: InfrastructureTree | None) -> Verdict:
    """The verdict with the tree's last question answered: did moving pods resolve the pressure?"""
    if tree is None or not before.node.is_ready or (short_of := _PRESSURES.get(trouble_of(before))) is None:
        return verdict
    if verdict.healthy:
        return verdict.model_copy(update={"reason": f"{verdict.reason} That resolved its shortage of {short_of}."})
    ending = f"Moving pods did not resolve its shortage of {short_of}: call {_and(tree.replacement)} to replace it."
    return verdict.model_copy(update={"reason": f"{verdict.reason} {ending}"})


def _and(called: tuple[str, ...]) -> str:
    return " and ".join(called)
