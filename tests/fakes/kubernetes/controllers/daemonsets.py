"""One pod per node that a DaemonSet wants, cordoned nodes too."""

from __future__ import annotations

import copy

from tests.fakes.kubernetes.controllers.base import Controller
from tests.fakes.kubernetes.controllers.deployments import template_hash
from tests.fakes.kubernetes.controllers.replicasets import pods_by_owner
from tests.fakes.kubernetes.controllers.scheduler import selects_node
from tests.fakes.kubernetes.objects import (
    Obj,
    controller_reference,
    is_active,
    is_ready,
    is_terminating,
    labels_of,
    name_of,
)
from tests.fakes.kubernetes.registry import DeleteOptions
from tests.fakes.kubernetes.resources import DAEMONSETS, NODES, PODS

_HASH = "controller-revision-hash"
_TOLERATED = (
    *(("not-ready", "NoExecute"), ("unreachable", "NoExecute"), ("disk-pressure", "NoSchedule")),
    *(("memory-pressure", "NoSchedule"), ("pid-pressure", "NoSchedule"), ("unschedulable", "NoSchedule")),
)


def _node_of(pod: Obj) -> str:
    terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    return str(terms["nodeSelectorTerms"][0]["matchFields"][0]["values"][0])


class DaemonSets(Controller):
    """The DaemonSet controller."""

    def reconcile(self, now: float) -> float | None:  # noqa: ARG002
        daemonsets = self.store.all(DAEMONSETS.id)
        if not daemonsets:
            return None
        owned = pods_by_owner(self.store.each(PODS.id))
        for daemonset in daemonsets:
            pods = [p for p in owned.get(daemonset["metadata"]["uid"], []) if p["spec"].get("affinity")]
            nodes = [n for n in self.store.all(NODES.id) if selects_node(daemonset["spec"]["template"], n)]
            if not is_terminating(daemonset):
                self._place(daemonset, pods, [name_of(n) for n in nodes])
            self._report(daemonset, len(nodes))
        return None

    def _place(self, daemonset: Obj, pods: list[Obj], nodes: list[str]) -> None:
        digest = template_hash(daemonset["spec"]["template"])
        active = [p for p in pods if is_active(p)]
        taken = {_node_of(p) for p in pods if is_active(p) or is_terminating(p)}
        for node in nodes:
            if node not in taken:
                self._create(daemonset, node, digest)
        stale = [p for p in active if labels_of(p).get(_HASH) != digest]
        unready = sum(not is_ready(p) for p in pods)
        surplus = [p for p in active if _node_of(p) not in nodes]
        rolling = daemonset["spec"]["updateStrategy"]["type"] == "RollingUpdate"
        for pod in surplus + (stale[:1] if rolling and not unready else []):
            self.registry.delete(PODS, pod["metadata"]["namespace"], name_of(pod), DeleteOptions())

    def _create(self, daemonset: Obj, node: str, digest: str) -> None:
        pod = copy.deepcopy(daemonset["spec"]["template"])
        metadata = pod.setdefault("metadata", {})
        generation = (daemonset["metadata"].get("annotations") or {}).get("deprecated.daemonset.template.generation")
        metadata.setdefault("labels", {}).update({_HASH: digest, "pod-template-generation": generation or "1"})
        metadata |= {"generateName": f"{name_of(daemonset)}-", "ownerReferences": [controller_reference(daemonset)]}
        field = {"key": "metadata.name", "operator": "In", "values": [node]}
        terms = {"nodeSelectorTerms": [{"matchFields": [field]}]}
        pod["spec"]["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
        pod["spec"].setdefault("tolerations", []).extend(
            {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": effect} for key, effect in _TOLERATED
        )
        self.registry.create(PODS, daemonset["metadata"]["namespace"], pod)

    def _report(self, daemonset: Obj, desired: int) -> None:
        current = self.store.find(DAEMONSETS.id, daemonset["metadata"]["namespace"], name_of(daemonset))
        if current is None:
            return
        owned = pods_by_owner(self.store.all(PODS.id, daemonset["metadata"]["namespace"]))
        alive = [p for p in owned.get(daemonset["metadata"]["uid"], []) if is_active(p)]
        ready = sum(map(is_ready, alive))
        digest = template_hash(daemonset["spec"]["template"])
        updated = sum(labels_of(p).get(_HASH) == digest for p in alive)
        status: Obj = {
            "currentNumberScheduled": len(alive),
            "numberMisscheduled": 0,
            "desiredNumberScheduled": desired,
            "numberReady": ready,
            "observedGeneration": current["metadata"]["generation"],
        }
        more = {"updatedNumberScheduled": updated, "numberAvailable": ready, "numberUnavailable": desired - ready}
        status |= {k: v for k, v in more.items() if v}
        self.write_status(DAEMONSETS, current, status)
