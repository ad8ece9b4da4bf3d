"""The eviction subresource: the arithmetic of PodDisruptionBudgets and its answers."""

from __future__ import annotations

import copy
from typing import Any

from tests.fakes.kubernetes import errors
from tests.fakes.kubernetes.objects import Obj, is_finished, is_ready, is_terminating, labels_of, timestamp
from tests.fakes.kubernetes.registry import DeleteOptions, Registry
from tests.fakes.kubernetes.resources import BUDGETS, PODS
from tests.fakes.kubernetes.selectors import object_selector

_BLOCKED = "Cannot evict pod as it would violate the pod's disruption budget."
_MANY = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."


def _blocked(cause: str, retry_after: int | None = None) -> errors.ApiError:
    details: Obj = {"causes": [{"reason": "DisruptionBudget", "message": cause}]}
    headers: dict[str, str] = {}
    if retry_after is not None:
        details["retryAfterSeconds"] = retry_after
        headers["Retry-After"] = str(retry_after)
    return errors.failure(429, "TooManyRequests", _BLOCKED, details, headers)


def _budgets_of(registry: Registry, pod: Obj) -> list[Obj]:
    budgets = registry.store.all(BUDGETS.id, pod["metadata"]["namespace"])
    return [b for b in budgets if object_selector(b["spec"].get("selector"))(labels_of(pod))]


def _use_budget(registry: Registry, budget: Obj, pod: Obj, dry_run: bool) -> None:
    name, status = budget["metadata"]["name"], budget["status"]
    if status.get("observedGeneration", 0) < budget["metadata"]["generation"]:
        raise _blocked(f"The disruption budget {name} is still being processed by the server.", 10)
    if status["disruptionsAllowed"] <= 0:
        needs, has = status["desiredHealthy"], status["currentHealthy"]
        raise _blocked(f"The disruption budget {name} needs {needs} healthy pods and has {has} currently")
    if dry_run:
        return
    used = copy.deepcopy(budget)
    used["status"]["disruptionsAllowed"] -= 1
    used["status"].setdefault("disruptedPods", {})[pod["metadata"]["name"]] = timestamp()
    if used["status"]["disruptionsAllowed"] == 0:
        for entry in used["status"].get("conditions", []):
            entry |= {"status": "False", "reason": "InsufficientPods", "lastTransitionTime": timestamp()}
    registry.update(BUDGETS, budget, used, subresource="status")


def _may_ignore_budget(pod: Obj, budget: Obj) -> bool:
    if is_ready(pod):
        return False
    status = budget["status"]
    always = budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow"
    healthy_enough = status["currentHealthy"] >= status["desiredHealthy"] > 0
    return bool(pod["status"].get("phase") == "Running" and (always or healthy_enough))


def _check_body(namespace: str, name: str, body: Any) -> None:
    if body.get("kind", "Eviction") != "Eviction":
        kind = body["kind"]
        raise errors.bad_request(
            f'{kind} in version "{body.get("apiVersion")}" cannot be handled as a Eviction: '
            f"converting (v1.{kind}) to (policy.Eviction): unknown conversion"
        )
    metadata = body.get("metadata") or {}
    if metadata.get("namespace", namespace) != namespace:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if metadata.get("name", name) != name:
        raise errors.bad_request("name in URL does not match name in Eviction object")


def evict(registry: Registry, namespace: str, name: str, body: Obj, options: DeleteOptions) -> Obj:
    """Evict one pod.

    Raises:
        ApiError: 400, 404, 409 (preconditions), 429 (a budget is used up), 500 (two budgets).
    """
    _check_body(namespace, name, body)
    pod = registry.get(PODS, namespace, name)
    unbudgeted = is_finished(pod) or is_terminating(pod) or pod["status"].get("phase") == "Pending"
    budgets = [] if unbudgeted else _budgets_of(registry, pod)
    if len(budgets) > 1:
        raise errors.failure(500, None, _MANY)
    registry.check_preconditions(PODS, pod, options)
    if budgets and not _may_ignore_budget(pod, budgets[0]):
        _use_budget(registry, budgets[0], pod, options.dry_run)
    if not options.dry_run:
        _mark_disrupted(registry, pod)
        registry.delete(PODS, namespace, name, DeleteOptions(options.grace_seconds))
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def _mark_disrupted(registry: Registry, pod: Obj) -> None:
    marked = copy.deepcopy(pod)
    conditions = [c for c in marked["status"].get("conditions", []) if c["type"] != "DisruptionTarget"]
    conditions.append(
        {
            "type": "DisruptionTarget",
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": timestamp(),
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
        }
    )
    marked["status"]["conditions"] = conditions
    registry.update(PODS, pod, marked, subresource="status")
