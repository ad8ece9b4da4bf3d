"""Every node's kubelet: starts containers, lets them crash or not be pulled, ends pods that are to go.

A pod says by annotation how it behaves, with the words of the laboratory in which the transcripts were recorded:
``lab/state`` (NotReady, CrashLoopBackOff, Failed, Succeeded), ``lab/needs-memory`` (above its limit: OOMKilled),
``lab/ready-after`` and ``lab/stop-after`` (seconds), ``lab/stuck-terminating``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.fakes.kubernetes.controllers.base import Controller, earliest
from tests.fakes.kubernetes.objects import Obj, annotation, condition, is_finished, is_terminating, timestamp
from tests.fakes.kubernetes.quantities import amount
from tests.fakes.kubernetes.registry import DeleteOptions
from tests.fakes.kubernetes.resources import NODES, PODS

_BACK_OFF: Obj = {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}
CRASHES = 5


def _terminated(code: int, reason: str) -> Obj:
    now = timestamp()
    return {"terminated": {"exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now}}


def _over_memory(pod: Obj, container: Obj) -> bool:
    needs = annotation(pod, "lab/needs-memory")
    limit = (container.get("resources", {}).get("limits") or {}).get("memory")
    return needs is not None and limit is not None and amount(needs) > amount(limit)


@dataclass
class Kubelet(Controller):
    """Stands for the kubelets of all nodes."""

    MANAGER = "kubelet"

    _since: dict[str, float] = field(default_factory=dict)
    _stopping: dict[str, float] = field(default_factory=dict)
    _addresses: int = 0

    def reconcile(self, now: float) -> float | None:
        due: float | None = None
        for pod in self.store.each(PODS.id):
            if pod["spec"].get("nodeName") and pod["spec"]["nodeName"] not in self.settings.silent_nodes:
                due = earliest(due, self._end(pod, now) if is_terminating(pod) else self._run(pod, now))
        return due

    def _end(self, pod: Obj, now: float) -> float | None:
        if annotation(pod, "lab/stuck-terminating") or pod["metadata"].get("finalizers"):
            return None
        metadata = pod["metadata"]
        wanted = annotation(pod, "lab/stop-after")
        delay = self.settings.stop_delay if wanted is None else float(wanted)
        asked = self._stopping.setdefault(metadata["uid"], now)
        ends: float = asked + min(delay, metadata["deletionGracePeriodSeconds"])
        if now < ends:
            return ends
        del self._stopping[metadata["uid"]]
        self._since.pop(metadata["uid"], None)
        options = DeleteOptions(grace_seconds=0)
        self.registry.delete(PODS, metadata["namespace"], metadata["name"], options)
        return None

    def _run(self, pod: Obj, now: float) -> float | None:
        if is_finished(pod):
            return None
        since = self._since.setdefault(pod["metadata"]["uid"], now)
        if now < since + self.settings.start_delay:
            return since + self.settings.start_delay
        wanted = annotation(pod, "lab/ready-after")
        ready_at = since + self.settings.start_delay
        ready_at += self.settings.ready_delay if wanted is None else float(wanted)
        status = self._status(pod, now >= ready_at)
        if status != pod["status"]:
            self.write_status(PODS, pod, status)
        return ready_at if now < ready_at else None

    def _status(self, pod: Obj, ready_by_now: bool) -> Obj:
        state = annotation(pod, "lab/state") or ""
        containers = [self._container(pod, c, state, ready_by_now) for c in pod["spec"]["containers"]]
        ready = all(c["ready"] for c in containers)
        pulled = not any(c["state"].get("waiting", {}).get("reason") == "ImagePullBackOff" for c in containers)
        phase = state if state in ("Failed", "Succeeded") else "Running"
        status = {**pod["status"], "phase": phase if pulled else "Pending", "containerStatuses": containers}
        status["conditions"] = self._conditions(pod, ready)
        node = self.store.find(NODES.id, "", pod["spec"]["nodeName"])
        addresses = node["status"].get("addresses", []) if node else []
        status.setdefault("hostIP", next((a["address"] for a in addresses if a["type"] == "InternalIP"), "10.0.0.1"))
        status.setdefault("podIP", self._next_address() if "podIP" not in status else "")
        status["podIPs"] = [{"ip": status["podIP"]}]
        status.setdefault("startTime", timestamp())
        return status

    def _next_address(self) -> str:
        self._addresses += 1
        return f"10.{64 + self._addresses // 62500}.{self._addresses // 250 % 250}.{1 + self._addresses % 250}"

    def _container(self, pod: Obj, container: Obj, state: str, ready_by_now: bool) -> Obj:
        name, image = container["name"], container["image"]
        known = [c for c in pod["status"].get("containerStatuses", []) if c["name"] == name and c["image"] == image]
        status: Obj = {"name": name, "lastState": {}, "ready": False, "restartCount": 0}
        if image.startswith(self.settings.broken_images):
            status["state"] = {
                "waiting": {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{image}"'}
            }
        elif state in ("Failed", "Succeeded"):
            code, reason = (1, "Error") if state == "Failed" else (0, "Completed")
            status["state"] = _terminated(code, reason)
        elif state == "CrashLoopBackOff" or _over_memory(pod, container):
            if known:
                crashed: Obj = known[0]
                return crashed
            code, reason = (137, "OOMKilled") if state != "CrashLoopBackOff" else (1, "Error")
            status |= {"state": {"waiting": _BACK_OFF}, "lastState": _terminated(code, reason), "restartCount": CRASHES}
        else:
            running = known[0]["state"].get("running") if known else None
            status["state"] = {"running": running or {"startedAt": timestamp()}}
            status["ready"] = state != "NotReady" and ready_by_now
        return {**status, "image": image, "imageID": "", "started": status["ready"]}

    def _conditions(self, pod: Obj, ready: bool) -> list[Obj]:
        conditions = [
            self._condition(pod, "Initialized", True),
            self._condition(pod, "Ready", ready),
            self._condition(pod, "ContainersReady", ready),
            self._condition(pod, "PodReadyToStartContainers", True),
        ]
        ours = {c["type"] for c in conditions}
        return conditions + [c for c in pod["status"].get("conditions", []) if c["type"] not in ours]

    def _condition(self, pod: Obj, kind: str, value: bool) -> Obj:
        old = condition(pod, kind)
        text = "True" if value else "False"
        if old is not None and old["status"] == text:
            return old
        entry: Obj = {"type": kind, "status": text, "lastProbeTime": None, "lastTransitionTime": timestamp()}
        return entry if value else {**entry, "reason": "ContainersNotReady"}
