"""What controllers share: access to the registry, the cluster's settings, events."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import ClassVar

from tests.fakes.kubernetes.managed import Writer
from tests.fakes.kubernetes.objects import Obj, condition, micro_timestamp, timestamp
from tests.fakes.kubernetes.registry import Registry
from tests.fakes.kubernetes.resources import EVENTS, Resource
from tests.fakes.kubernetes.store import Store


@dataclass
class Settings:
    """How the fake's machines behave. Times are seconds; change them at any moment.

    Args:
        start_delay: From being bound to running.
        ready_delay: From running to ready (annotation ``lab/ready-after`` of a pod wins).
        stop_delay: From the request to terminate to gone, at most the grace period (``lab/stop-after`` wins).
        broken_images: Images whose name starts so cannot be pulled.
        node_grace: From a silent node to ``Ready=Unknown``.
        taint_delay: From a cordon to its taint.
        silent_nodes: Nodes whose kubelet has stopped.
        paused: Controllers that stand still: ``scheduler``, ``budgets``.
        watch_pace: How long a second of a watch's ``timeoutSeconds`` lasts.
        before_v1_34: Answer as older control planes do (``releases.py``), not as the recorded one.
    """

    start_delay: float = 0.02
    ready_delay: float = 0.0
    stop_delay: float = 0.1
    broken_images: tuple[str, ...] = ("broken:", "broken/")
    node_grace: float = 0.05
    taint_delay: float = 0.0
    silent_nodes: set[str] = field(default_factory=set)
    paused: set[str] = field(default_factory=set)
    watch_pace: float = 1.0
    before_v1_34: bool = False


@dataclass
class Controller:
    """One controller. ``reconcile`` is called with the store's lock held, after every change and when it asked to."""

    MANAGER: ClassVar[str] = "kube-controller-manager"
    """In whose name it writes."""
    registry: Registry
    settings: Settings

    def take_turn(self, now: float) -> float | None:
        """``reconcile`` in its own name."""
        self.registry.writer = Writer(self.MANAGER)
        return self.reconcile(now)

    @property
    def store(self) -> Store:
        return self.registry.store

    def reconcile(self, now: float) -> float | None:
        """Move what is due; the monotonic time at which to be called again, if nothing changes before."""
        raise NotImplementedError

    def write_status(self, resource: Resource, obj: Obj, status: Obj) -> Obj:
        """Write ``status`` if it differs."""
        if obj.get("status") == status:
            return obj
        return self.registry.update(resource, obj, {**obj, "status": status}, subresource="status")

    def event(self, about: Obj, reason: str, message: str, component: str, *, kind: str = "Normal") -> None:
        """An event as controllers write it; one more of the same only counts up."""
        metadata = about["metadata"]
        namespace = metadata.get("namespace", "default")
        for known in self.store.all(EVENTS.id, namespace):
            same = known["involvedObject"].get("uid") == metadata["uid"] and known["reason"] == reason
            if same and known["message"] == message and known["source"].get("component") == component:
                changed = copy.deepcopy(known)
                changed |= {"count": known.get("count", 1) + 1, "lastTimestamp": timestamp()}
                self.registry.update(EVENTS, known, changed)
                return
        body = event_body(about, reason, message, kind)
        now = timestamp()
        body |= {"source": {"component": component}, "firstTimestamp": now, "lastTimestamp": now, "count": 1}
        body |= {"eventTime": None, "reportingComponent": component, "reportingInstance": ""}
        self.registry.create(EVENTS, namespace, body)


def event_body(about: Obj, reason: str, message: str, kind: str) -> Obj:
    """What all events have."""
    metadata = about["metadata"]
    involved = {
        "kind": about["kind"],
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "uid": metadata["uid"],
        "apiVersion": about["apiVersion"],
        "resourceVersion": metadata["resourceVersion"],
    }
    suffix = f"{hash((metadata['uid'], reason, metadata['resourceVersion'], micro_timestamp())) & (2**64 - 1):016x}"
    return {
        "metadata": {"name": f"{metadata['name']}.{suffix}"},
        "involvedObject": {k: v for k, v in involved.items() if v},
        "reason": reason,
        "message": message,
        "type": kind,
    }


def with_condition(status: Obj, kind: str, value: str, **more: object) -> Obj:
    """``status`` with one condition set; its transition time moves only when its status does."""
    old = condition({"status": status}, kind)
    now = timestamp()
    entry: Obj = {"type": kind, "status": value, "lastTransitionTime": now, **more}
    if old is not None and old["status"] == value:
        entry["lastTransitionTime"] = old["lastTransitionTime"]
    conditions: list[Obj] = status.get("conditions", [])
    if old is None:
        return {**status, "conditions": [*conditions, entry]}
    return {**status, "conditions": [entry if c["type"] == kind else c for c in conditions]}


def earliest(*times: float | None) -> float | None:
    return min((t for t in times if t is not None), default=None)
