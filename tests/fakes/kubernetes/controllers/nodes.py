"""Node lifecycle: the taint of a cordon, silent nodes, and what becomes of the pods on them."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.fakes.kubernetes.controllers.base import Controller, with_condition
from tests.fakes.kubernetes.objects import Obj, condition, is_finished, is_true, name_of, timestamp
from tests.fakes.kubernetes.resources import NODES, PODS

_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_UNREACHABLE = "node.kubernetes.io/unreachable"
_NOT_READY = "node.kubernetes.io/not-ready"
_CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")


@dataclass
class Nodes(Controller):
    """The node lifecycle controller."""

    _silent_since: dict[str, float] = field(default_factory=dict)

    def reconcile(self, now: float) -> float | None:
        due: float | None = None
        down: set[str] = set()
        for node in self.store.all(NODES.id):
            name = name_of(node)
            if name in self.settings.silent_nodes:
                ends = self._silent_since.setdefault(name, now) + self.settings.node_grace
                if now >= ends:
                    node = self._lose(node)
                else:
                    due = ends if due is None else min(due, ends)
            else:
                self._silent_since.pop(name, None)
            if not is_true(node, "Ready"):
                down.add(name)
            self._taint(node)
        if down:
            self._mark_pods(down)
        return due

    def _lose(self, node: Obj) -> Obj:
        ready = condition(node, "Ready")
        if ready is not None and ready["status"] == "Unknown":
            return node
        status = node["status"]
        for kind in _CONDITIONS:
            status = with_condition(
                status,
                *(kind, "Unknown"),
                lastHeartbeatTime=(condition(node, kind) or {}).get("lastHeartbeatTime", timestamp()),
                reason="NodeStatusUnknown",
                message="Kubelet stopped posting node status.",
            )
        return self.write_status(NODES, node, status)

    def _taint(self, node: Obj) -> None:
        old: list[Obj] = node["spec"].get("taints") or []
        ready = (condition(node, "Ready") or {"status": "True"})["status"]
        wanted = {
            (_UNSCHEDULABLE, "NoSchedule"): bool(node["spec"].get("unschedulable")),
            (_UNREACHABLE, "NoSchedule"): ready == "Unknown",
            (_UNREACHABLE, "NoExecute"): ready == "Unknown",
            (_NOT_READY, "NoSchedule"): ready == "False",
            (_NOT_READY, "NoExecute"): ready == "False",
        }
        taints = [t for t in old if wanted.get((t["key"], t["effect"]), True)]
        present = {(t["key"], t["effect"]) for t in taints}
        for (key, effect), there in wanted.items():
            if there and (key, effect) not in present:
                taints.append({"key": key, "effect": effect, "timeAdded": timestamp()})
        if taints != old:
            spec = {k: v for k, v in node["spec"].items() if k != "taints"}
            self.registry.update(NODES, node, {**node, "spec": {**spec, "taints": taints} if taints else spec})

    def _mark_pods(self, down: set[str]) -> None:
        for pod in self.store.each(PODS.id):
            if pod["spec"].get("nodeName") in down and is_true(pod, "Ready") and not is_finished(pod):
                status = with_condition(pod["status"], "Ready", "False", lastProbeTime=None)
                self.write_status(PODS, pod, status)
