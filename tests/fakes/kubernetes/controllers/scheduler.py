"""Binds pods to nodes, and says why it cannot, in the words of the real scheduler."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal

from tests.fakes.kubernetes.admission import copy_zone
from tests.fakes.kubernetes.controllers.base import Controller, event_body, with_condition
from tests.fakes.kubernetes.objects import (
    Obj,
    is_finished,
    is_terminating,
    labels_of,
    micro_timestamp,
    name_of,
)
from tests.fakes.kubernetes.quantities import amount
from tests.fakes.kubernetes.resources import CLAIMS, EVENTS, NODES, PODS

_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_HARD = ("NoSchedule", "NoExecute")


def _tolerates(pod: Obj, taint: Obj) -> bool:
    for toleration in pod["spec"].get("tolerations") or []:
        key_fits = toleration.get("key") in (None, "", taint["key"])
        effect_fits = toleration.get("effect") in (None, "", taint["effect"])
        value_fits = toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")
        if key_fits and effect_fits and value_fits:
            return True
    return False


def _expression_fits(expression: Obj, values: dict[str, str]) -> bool:
    value = values.get(expression["key"])
    match expression["operator"]:
        case "In":
            return value in expression["values"]
        case "NotIn":
            return value not in expression["values"]
        case "Exists":
            return value is not None
        case _:
            return value is None


def selects_node(pod: Obj, node: Obj) -> bool:
    """Whether the pod's node selector and required node affinity fit."""
    wanted = pod["spec"].get("nodeSelector") or {}
    if any(labels_of(node).get(k) != v for k, v in wanted.items()):
        return False
    affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if affinity is None:
        return True
    fields = {"metadata.name": name_of(node)}
    return any(
        all(_expression_fits(e, labels_of(node)) for e in term.get("matchExpressions") or [])
        and all(_expression_fits(e, fields) for e in term.get("matchFields") or [])
        for term in affinity["nodeSelectorTerms"]
    )


def requests(pod: Obj) -> dict[str, Decimal]:
    """What the containers of a pod ask for together."""
    total: dict[str, Decimal] = {}
    for container in pod["spec"]["containers"]:
        for name, value in (container.get("resources", {}).get("requests") or {}).items():
            total[name] = total.get(name, Decimal(0)) + amount(value)
    return total


@dataclass
class Scheduler(Controller):
    """The emptiest node that fits wins."""

    MANAGER = "kube-scheduler"

    _told: dict[str, str] = field(default_factory=dict)

    def reconcile(self, now: float) -> float | None:  # noqa: ARG002
        pods = self.store.each(PODS.id)
        waiting = [p for p in pods if not p["spec"].get("nodeName") and not is_terminating(p) and not is_finished(p)]
        if waiting and "scheduler" not in self.settings.paused:
            nodes = self.store.all(NODES.id)
            used: dict[str, Counter[str]] = {name_of(n): Counter() for n in nodes}
            for pod in pods:
                if pod["spec"].get("nodeName") in used and not is_finished(pod):
                    self._count(used[pod["spec"]["nodeName"]], pod)
            for pod in sorted(waiting, key=lambda p: (p["metadata"]["creationTimestamp"], name_of(p))):
                self._schedule(pod, nodes, used)
        return None

    def _count(self, used: Counter[str], pod: Obj) -> None:
        used["pods"] += 1
        for name, value in requests(pod).items():
            used[name] += value  # type: ignore[assignment]

    def _schedule(self, pod: Obj, nodes: list[Obj], used: dict[str, Counter[str]]) -> None:
        if self._waits_for_claim(pod):
            return
        reasons: Counter[str] = Counter()
        fitting: list[Obj] = []
        for node in nodes:
            reason = self._misfit(pod, node, used[name_of(node)])
            if reason is None:
                fitting.append(node)
            else:
                reasons[reason] += 1
        if fitting:
            node = min(fitting, key=lambda n: (used[name_of(n)]["pods"], name_of(n)))
            self._bind(pod, name_of(node))
            self._count(used[name_of(node)], pod)
        else:
            self._refuse(pod, reasons, len(nodes))

    def _waits_for_claim(self, pod: Obj) -> bool:
        claims = [
            v["persistentVolumeClaim"]["claimName"]
            for v in pod["spec"].get("volumes") or []
            if "persistentVolumeClaim" in v
        ]
        found = [self.store.find(CLAIMS.id, pod["metadata"]["namespace"], c) for c in claims]
        return any(c is None or c["status"]["phase"] != "Bound" for c in found)

    def _misfit(self, pod: Obj, node: Obj, used: Counter[str]) -> str | None:
        taints = [t for t in node["spec"].get("taints") or [] if t["effect"] in _HARD and not _tolerates(pod, t)]
        cordoned = {"key": _UNSCHEDULABLE, "effect": "NoSchedule"}
        if node["spec"].get("unschedulable") and not _tolerates(pod, cordoned):
            return "node(s) were unschedulable"
        if not selects_node(pod, node):
            return "node(s) didn't match Pod's node affinity/selector"
        if taints:
            return "node(s) had untolerated taint(s)"
        room = node["status"].get("allocatable") or {}
        if used["pods"] + 1 > int(room.get("pods", 110)):
            return "Too many pods"
        for name, value in requests(pod).items():
            if used[name] + value > amount(room.get(name, 0)):
                return f"Insufficient {name}"
        return None

    def _bind(self, pod: Obj, node: str) -> None:
        bound = {**pod, "spec": {**pod["spec"], "nodeName": node}, "metadata": dict(pod["metadata"])}
        copy_zone(self.store, bound)
        bound["status"] = with_condition(pod["status"], "PodScheduled", "True", lastProbeTime=None)
        self._told.pop(pod["metadata"]["uid"], None)
        self.store.put(PODS.id, bound)

    def _refuse(self, pod: Obj, reasons: Counter[str], nodes: int) -> None:
        listed = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
        message = (
            (
                f"0/{nodes} nodes are available: {listed}. no new claims to deallocate, preemption: "
                f"0/{nodes} nodes are available: {nodes} Preemption is not helpful for scheduling."
            )
            if nodes
            else "no nodes available to schedule pods"
        )
        told = self._told.get(pod["metadata"]["uid"])
        if told == message:
            return
        self._tell(pod, message)
        status = with_condition(
            pod["status"],
            *("PodScheduled", "False"),
            observedGeneration=pod["metadata"]["generation"],
            lastProbeTime=None,
            reason="Unschedulable",
            message=message,
        )
        again = self.write_status(PODS, pod, status)
        self._tell(again, message)
        self._told[pod["metadata"]["uid"]] = message

    def _tell(self, pod: Obj, message: str) -> None:
        body = event_body(pod, "FailedScheduling", message, "Warning")
        body |= {"source": {}, "firstTimestamp": None, "lastTimestamp": None, "eventTime": micro_timestamp()}
        body |= {"action": "Scheduling", "reportingComponent": "default-scheduler"}
        body["reportingInstance"] = "default-scheduler-vm"
        self.registry.create(EVENTS, pod["metadata"]["namespace"], body)
