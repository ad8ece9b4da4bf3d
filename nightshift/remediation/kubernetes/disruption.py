"""What the eviction API will answer, told beforehand: the arithmetic of PodDisruptionBudgets.

Follows the API server's eviction (``pkg/registry/core/pod/storage/eviction.go`` of kubernetes/kubernetes): finished,
pending and terminating pods are not counted; a pod of two budgets is answered 500 for ever; a pod that is not ready may
go when its budget says ``AlwaysAllow`` or still has as many healthy pods as it wants; a budget whose controller lags
behind its specification answers 429, and so does one that is spent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from nightshift.remediation.kubernetes.objects import DisruptionBudget, Pod
from nightshift.remediation.text import counted, listed, printable


class Leave(StrEnum):
    """Whether a pod may be evicted."""

    NOW = "now"
    LATER = "later"
    """Not now: when others of its budget are healthy again."""
    NEVER = "never"
    """Not before a person changes something."""


@dataclass(frozen=True, kw_only=True)
class BudgetAnswer:
    """What is expected for one pod, and why."""

    leave: Leave
    reason: str = ""
    lifted_by: str | None = None
    budget: str = ""
    """Name of the one budget that counts it."""


@dataclass
class Allowances:
    """Counts down what the budgets allow, eviction by eviction. One object for one imagined drain."""

    budgets: Sequence[DisruptionBudget]
    _left: dict[tuple[str, str], int] = field(default_factory=dict)

    def ask(self, pod: Pod) -> BudgetAnswer:
        """The answer for this pod after all that were asked before it and may leave now."""
        if pod.is_finished or pod.phase == "Pending" or pod.is_terminating:
            return BudgetAnswer(leave=Leave.NOW)
        covering = [budget for budget in self.budgets if _covers(budget, pod)]
        if not covering:
            return BudgetAnswer(leave=Leave.NOW)
        if len(covering) > 1:
            names = listed(sorted(printable(budget.name, 60) for budget in covering))
            return BudgetAnswer(
                leave=Leave.NEVER,
                reason=f"{len(covering)} disruption budgets count it ({names}), which the eviction API refuses always",
                lifted_by="selectors of the disruption budgets that have no pod in common",
            )
        return self._of_one(covering[0], pod)

    def _of_one(self, budget: DisruptionBudget, pod: Pod) -> BudgetAnswer:
        if not pod.is_ready and _lets_unready_go(budget):
            return BudgetAnswer(leave=Leave.NOW, reason="it is not ready, so its disruption budget does not count it")
        key = (budget.namespace, budget.name)
        left = self._left.setdefault(key, max(0, budget.disruptions_allowed))
        name = printable(budget.name, 60)
        if budget.observed_generation < budget.meta.generation:
            reason = f"the disruption budget {name} was changed and is still being worked out by its controller"
            return BudgetAnswer(leave=Leave.LATER, reason=reason, budget=budget.name)
        if left > 0:
            self._left[key] = left - 1
            return BudgetAnswer(leave=Leave.NOW, budget=budget.name)
        needs = f"the disruption budget {name} needs {counted(budget.desired_healthy, 'healthy pod')}"
        if budget.expected_pods - budget.desired_healthy <= 0:
            among = f"{needs} of {budget.expected_pods}"
            if not budget.expected_pods:
                among = f"the disruption budget {name} knows no controller of its pods"
            return BudgetAnswer(
                leave=Leave.NEVER,
                reason=f"{among}, so that none may ever be evicted",
                lifted_by=f"more replicas, or a looser disruption budget {name}",
                budget=budget.name,
            )
        reason = f"{needs} and has {budget.current_healthy}"
        return BudgetAnswer(leave=Leave.LATER, reason=reason, budget=budget.name)


def _covers(budget: DisruptionBudget, pod: Pod) -> bool:
    """A selector that cannot be understood may cover every pod of its namespace."""
    try:
        return budget.covers(pod)
    except ValueError:
        return budget.namespace == pod.namespace


def _lets_unready_go(budget: DisruptionBudget) -> bool:
    if budget.unhealthy_eviction == "AlwaysAllow":
        return True
    return budget.current_healthy >= budget.desired_healthy > 0
