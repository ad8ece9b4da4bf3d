"""The arithmetic of PodDisruptionBudgets."""

from __future__ import annotations

from tests.fakes.kubernetes.controllers.base import Controller, with_condition
from tests.fakes.kubernetes.controllers.deployments import share
from tests.fakes.kubernetes.objects import Obj, controller_of, is_finished, is_ready, is_terminating, labels_of, name_of
from tests.fakes.kubernetes.resources import BUDGETS, DEPLOYMENTS, PODS, REPLICASETS
from tests.fakes.kubernetes.selectors import object_selector


class Budgets(Controller):
    """The disruption controller."""

    def reconcile(self, now: float) -> float | None:  # noqa: ARG002
        if "budgets" in self.settings.paused:
            return None
        by_namespace: dict[str, list[Obj]] = {}
        budgets = self.store.all(BUDGETS.id)
        if budgets:
            for pod in self.store.each(PODS.id):
                by_namespace.setdefault(pod["metadata"]["namespace"], []).append(pod)
        for budget in budgets:
            self._count(budget, by_namespace.get(budget["metadata"]["namespace"], []))
        return None

    def _count(self, budget: Obj, pods: list[Obj]) -> None:
        selected = object_selector(budget["spec"].get("selector"))
        # A finished pod is expected (it was one of the healthy), but not healthy.
        matching = [p for p in pods if selected(labels_of(p))]
        disrupted = self._disrupted(budget, matching)
        healthy = sum(is_ready(p) and not is_finished(p) and name_of(p) not in disrupted for p in matching)
        expected, desired = self._desired(budget["spec"], matching)
        allowed = max(0, healthy - desired) if expected else 0
        generation = budget["metadata"]["generation"]
        status: Obj = {"observedGeneration": generation, "disruptionsAllowed": allowed}
        if disrupted:
            status["disruptedPods"] = disrupted
        status |= {"currentHealthy": healthy, "desiredHealthy": desired, "expectedPods": expected}
        status["conditions"] = budget["status"].get("conditions", [])
        value, reason = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
        status = with_condition(
            status, "DisruptionAllowed", value, observedGeneration=generation, reason=reason, message=""
        )
        self.write_status(BUDGETS, budget, status)

    def _disrupted(self, budget: Obj, pods: list[Obj]) -> dict[str, str]:
        waiting = {name_of(p) for p in pods if not is_terminating(p)}
        known: dict[str, str] = budget["status"].get("disruptedPods") or {}
        return {name: since for name, since in known.items() if name in waiting}

    def _desired(self, spec: Obj, pods: list[Obj]) -> tuple[int, int]:
        """(expected, desired)."""
        if "maxUnavailable" in spec:
            expected = self._expected(pods)
            return expected, max(0, expected - share(spec["maxUnavailable"], expected, True))
        minimum = spec.get("minAvailable", 1)
        if isinstance(minimum, str):
            expected = self._expected(pods)
            return expected, share(minimum, expected, True)
        return len(pods), minimum

    def _expected(self, pods: list[Obj]) -> int:
        """Replicas of the owners of these pods; a pod without an owner is not counted."""
        scales: dict[str, int] = {}
        for pod in pods:
            owner = controller_of(pod)
            if owner is None:
                continue
            found = self.store.find(REPLICASETS.id, pod["metadata"]["namespace"], owner["name"])
            above = controller_of(found) if found else None
            if found is not None and above is not None:
                found = self.store.find(DEPLOYMENTS.id, pod["metadata"]["namespace"], above["name"]) or found
            if found is not None:
                scales[found["metadata"]["uid"]] = found["spec"].get("replicas", 1)
        return sum(scales.values())
