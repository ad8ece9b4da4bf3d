"""Rolls Deployments out: a ReplicaSet per template, revisions, surge and unavailability, deadline."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from typing import Any

from tests.fakes.kubernetes.controllers.base import Controller, with_condition
from tests.fakes.kubernetes.controllers.rollout_status import rollout_status
from tests.fakes.kubernetes.objects import (
    Obj,
    annotation,
    condition,
    controller_reference,
    is_controlled_by,
    is_terminating,
    name_of,
    timestamp,
)
from tests.fakes.kubernetes.registry import DeleteOptions
from tests.fakes.kubernetes.resources import DEPLOYMENTS, REPLICASETS

REVISION = "deployment.kubernetes.io/revision"
_HISTORY = "deployment.kubernetes.io/revision-history"
_DESIRED = "deployment.kubernetes.io/desired-replicas"
_MAXIMUM = "deployment.kubernetes.io/max-replicas"
_HASH = "pod-template-hash"
_COMPONENT = "deployment-controller"


def share(value: Any, of: int, round_up: bool) -> int:
    """An ``IntOrString`` such as 25%."""
    if isinstance(value, str):
        exact = int(value.rstrip("%")) * of / 100
        return math.ceil(exact) if round_up else math.floor(exact)
    return int(value)


def _limits(deployment: Obj) -> tuple[int, int]:
    """(surge, unavailable)."""
    spec = deployment["spec"]
    rolling = spec["strategy"].get("rollingUpdate")
    if rolling is None:
        return 0, spec["replicas"]
    surge = share(rolling["maxSurge"], spec["replicas"], True)
    unavailable = share(rolling["maxUnavailable"], spec["replicas"], False)
    return surge, max(unavailable, 1) if surge == 0 else unavailable


def _template(replicaset: Obj) -> Obj:
    template: Obj = copy.deepcopy(replicaset["spec"]["template"])
    template["metadata"]["labels"].pop(_HASH, None)
    return template


def _bare(template: Obj) -> Obj:
    metadata = {k: v for k, v in template.get("metadata", {}).items() if v}
    return {"metadata": metadata, "spec": template["spec"]}


def template_hash(template: Obj) -> str:
    """A stable name for a template, in the alphabet of the real one."""
    digest = hashlib.sha256(json.dumps(_bare(template), sort_keys=True).encode()).digest()
    return "".join("bcdfghjklmnpqrstvwxz2456789"[b % 27] for b in digest[:10])


def revision_of(obj: Obj) -> int:
    return int(annotation(obj, REVISION) or 0)


class Deployments(Controller):
    """The Deployment controller."""

    def reconcile(self, now: float) -> float | None:
        due: float | None = None
        for deployment in self.store.all(DEPLOYMENTS.id):
            owned = [
                r
                for r in self.store.all(REPLICASETS.id, deployment["metadata"]["namespace"])
                if is_controlled_by(r, deployment)
            ]
            if not is_terminating(deployment):
                self._roll(deployment, owned)
            else:
                self._report(deployment, None, owned)
            progressing = condition(deployment, "Progressing")
            if progressing is not None and progressing.get("reason") in ("ReplicaSetUpdated", "NewReplicaSetCreated"):
                due = now + 0.1
        return due

    def _roll(self, deployment: Obj, owned: list[Obj]) -> None:
        wanted = _bare(deployment["spec"]["template"])
        new = next((r for r in owned if _bare(_template(r)) == wanted), None)
        if deployment["spec"].get("paused"):
            self._scale_evenly(deployment, owned)
            self._report(deployment, new, owned)
            return
        if new is None:
            new = self._create(deployment, owned)
            owned = [*owned, new]
        new = self._revise(deployment, new, owned)
        owned = [new if r["metadata"]["uid"] == new["metadata"]["uid"] else r for r in owned]
        old = [r for r in owned if r is not new]
        if deployment["spec"]["strategy"]["type"] == "Recreate":
            new, old = self._recreate(deployment, new, old)
        else:
            new, old = self._surge(deployment, new, old)
        self._forget(deployment, old)
        self._report(deployment, new, [new, *old])

    def _create(self, deployment: Obj, owned: list[Obj]) -> Obj:
        template = copy.deepcopy(deployment["spec"]["template"])
        digest = template_hash(template)
        template.setdefault("metadata", {}).setdefault("labels", {})[_HASH] = digest
        selector = copy.deepcopy(deployment["spec"]["selector"])
        selector.setdefault("matchLabels", {})[_HASH] = digest
        surge, _ = _limits(deployment)
        running = sum(r["spec"]["replicas"] for r in owned)
        room = max(0, deployment["spec"]["replicas"] + surge - running)
        if deployment["spec"]["strategy"]["type"] == "Recreate" and running:
            room = 0
        body: Obj = {
            "metadata": {
                "name": f"{name_of(deployment)}-{digest}",
                "labels": dict(template["metadata"]["labels"]),
                "annotations": self._annotations(deployment, self._next_revision(owned)),
                "ownerReferences": [controller_reference(deployment)],
            },
            "spec": {
                "replicas": min(deployment["spec"]["replicas"], room),
                "selector": selector,
                "template": template,
            },
        }
        if deployment["spec"].get("minReadySeconds"):
            body["spec"]["minReadySeconds"] = deployment["spec"]["minReadySeconds"]
        made = self.registry.create(REPLICASETS, deployment["metadata"]["namespace"], body)
        self._say_scaled(deployment, made, 0, made["spec"]["replicas"])
        self._progress(deployment, "NewReplicaSetCreated", f'Created new replica set "{name_of(made)}"')
        return made

    def _annotations(self, deployment: Obj, revision: int) -> dict[str, str]:
        surge, _ = _limits(deployment)
        carried = {
            k: v
            for k, v in (deployment["metadata"].get("annotations") or {}).items()
            if k not in (REVISION, "kubectl.kubernetes.io/last-applied-configuration")
        }
        replicas = deployment["spec"]["replicas"]
        return {**carried, _DESIRED: str(replicas), _MAXIMUM: str(replicas + surge), REVISION: str(revision)}

    def _next_revision(self, owned: list[Obj]) -> int:
        return max((revision_of(r) for r in owned), default=0) + 1

    def _revise(self, deployment: Obj, new: Obj, owned: list[Obj]) -> Obj:
        """The current template's ReplicaSet carries the highest revision, and the Deployment the same."""
        old = [r for r in owned if r is not new]
        revision = max(revision_of(new), self._next_revision(old))
        annotations = {**(new["metadata"].get("annotations") or {}), **self._annotations(deployment, revision)}
        if revision != revision_of(new):
            history = [h for h in (annotation(new, _HISTORY) or "").split(",") if h]
            annotations[_HISTORY] = ",".join([*history, str(revision_of(new))])
        new = self._annotate(REPLICASETS.id, new, annotations)
        current = self._current(deployment)
        known = current["metadata"].get("annotations") or {}
        if known.get(REVISION) != str(revision):
            self._annotate(DEPLOYMENTS.id, current, {**known, REVISION: str(revision)})
        return new

    def _annotate(self, resource: str, obj: Obj, annotations: dict[str, str]) -> Obj:
        if obj["metadata"].get("annotations") == annotations:
            return obj
        return self.store.put(resource, {**obj, "metadata": {**obj["metadata"], "annotations": annotations}})

    def _current(self, deployment: Obj) -> Obj:
        return self.registry.get(DEPLOYMENTS, deployment["metadata"]["namespace"], name_of(deployment))

    def _surge(self, deployment: Obj, new: Obj, old: list[Obj]) -> tuple[Obj, list[Obj]]:
        surge, unavailable = _limits(deployment)
        replicas = deployment["spec"]["replicas"]
        total = new["spec"]["replicas"] + sum(r["spec"]["replicas"] for r in old)
        if new["spec"]["replicas"] > replicas:
            new = self._scale(deployment, new, replicas)
        elif new["spec"]["replicas"] < replicas and (room := replicas + surge - total) > 0:
            new = self._scale(deployment, new, min(replicas, new["spec"]["replicas"] + room))
        return new, self._shrink(deployment, new, old, replicas - unavailable)

    def _shrink(self, deployment: Obj, new: Obj, old: list[Obj], at_least: int) -> list[Obj]:
        """Scale old ReplicaSets down: what is unhealthy first, then as far as availability allows."""
        ready_new = new["status"].get("availableReplicas", 0)
        unready_new = new["spec"]["replicas"] - ready_new
        total = new["spec"]["replicas"] + sum(r["spec"]["replicas"] for r in old)
        spare = total - at_least - unready_new
        shrunk: list[Obj] = []
        for replicaset in sorted(old, key=revision_of):
            sick = replicaset["spec"]["replicas"] - replicaset["status"].get("availableReplicas", 0)
            away = max(0, min(sick, spare))
            spare -= away
            shrunk.append(self._scale(deployment, replicaset, replicaset["spec"]["replicas"] - away))
        ready = ready_new + sum(min(r["spec"]["replicas"], r["status"].get("availableReplicas", 0)) for r in shrunk)
        spare = ready - at_least
        result: list[Obj] = []
        for replicaset in shrunk:
            away = max(0, min(replicaset["spec"]["replicas"], spare))
            spare -= away
            result.append(self._scale(deployment, replicaset, replicaset["spec"]["replicas"] - away))
        return result

    def _recreate(self, deployment: Obj, new: Obj, old: list[Obj]) -> tuple[Obj, list[Obj]]:
        old = [self._scale(deployment, r, 0) for r in old]
        if not any(r["status"].get("replicas") or r["status"].get("terminatingReplicas") for r in old):
            new = self._scale(deployment, new, deployment["spec"]["replicas"])
        return new, old

    def _scale_evenly(self, deployment: Obj, owned: list[Obj]) -> None:
        """A paused Deployment still follows ``replicas``, with the templates it has."""
        active = [r for r in owned if r["spec"]["replicas"]] or owned[-1:]
        if len(active) == 1 and active[0]["spec"]["replicas"] != deployment["spec"]["replicas"]:
            self._scale(deployment, active[0], deployment["spec"]["replicas"])

    def _scale(self, deployment: Obj, replicaset: Obj, replicas: int) -> Obj:
        before = replicaset["spec"]["replicas"]
        if before == replicas:
            return replicaset
        scaled = {**replicaset, "spec": {**replicaset["spec"], "replicas": replicas}}
        made = self.registry.update(REPLICASETS, replicaset, scaled)
        self._say_scaled(deployment, made, before, replicas)
        return made

    def _say_scaled(self, deployment: Obj, replicaset: Obj, before: int, after: int) -> None:
        direction = "up" if after > before else "down"
        message = f"Scaled {direction} replica set {name_of(replicaset)} from {before} to {after}"
        self.event(deployment, "ScalingReplicaSet", message, _COMPONENT)

    def _forget(self, deployment: Obj, old: list[Obj]) -> None:
        empty = [r for r in old if not r["spec"]["replicas"] and not r["status"].get("replicas")]
        surplus = len(empty) - deployment["spec"]["revisionHistoryLimit"]
        for replicaset in sorted(empty, key=revision_of)[: max(0, surplus)]:
            self.registry.delete(REPLICASETS, replicaset["metadata"]["namespace"], name_of(replicaset), DeleteOptions())
            old.remove(replicaset)

    def _progress(self, deployment: Obj, reason: str, message: str, value: str = "True") -> None:
        current = self._current(deployment)
        status = with_condition(
            current["status"], "Progressing", value, lastUpdateTime=timestamp(), reason=reason, message=message
        )
        self.write_status(DEPLOYMENTS, current, status)

    def _report(self, deployment: Obj, new: Obj | None, owned: list[Obj]) -> None:
        current = self.store.find(DEPLOYMENTS.id, deployment["metadata"]["namespace"], name_of(deployment))
        if current is not None:
            fresh = [self.registry.get(REPLICASETS, r["metadata"]["namespace"], name_of(r)) for r in owned]
            mine = next((r for r in fresh if new is not None and name_of(r) == name_of(new)), None)
            _, unavailable = _limits(current)
            self.write_status(DEPLOYMENTS, current, rollout_status(current, mine, fresh, unavailable))
