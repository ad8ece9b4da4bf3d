"""ResourceQuotas and LimitRanges: what a namespace may use, and the words in which more is refused."""

from __future__ import annotations

from decimal import Decimal

from tests.fakes.kubernetes.errors import forbidden
from tests.fakes.kubernetes.objects import Obj, is_finished
from tests.fakes.kubernetes.quantities import amount, written
from tests.fakes.kubernetes.resources import CLAIMS, PODS, QUOTAS, Resource
from tests.fakes.kubernetes.store import Store

Amounts = dict[str, Decimal]
_COMPUTE = ("cpu", "memory", "ephemeral-storage")


def usage(resource: Resource, obj: Obj) -> Amounts:
    """What one object counts for, by the names of a quota."""
    used: Amounts = {resource.plural: Decimal(1), f"count/{resource.id}": Decimal(1)}
    if resource is CLAIMS:
        storage = (obj["spec"].get("resources") or {}).get("requests", {}).get("storage", 0)
        used["requests.storage"] = amount(storage)
    elif resource is PODS:
        for container in obj["spec"]["containers"]:
            for kind in ("requests", "limits"):
                for name, value in (container.get("resources", {}).get(kind) or {}).items():
                    used[f"{kind}.{name}"] = used.get(f"{kind}.{name}", Decimal(0)) + amount(value)
        for name in _COMPUTE:
            if f"requests.{name}" in used:
                used[name] = used[f"requests.{name}"]
    return used


def used_in(store: Store, namespace: str, names: list[str]) -> Amounts:
    """What the objects of a namespace use together."""
    total = dict.fromkeys(names, Decimal(0))
    for resource in (PODS, CLAIMS):
        for obj in store.all(resource.id, namespace):
            if resource is PODS and is_finished(obj):
                continue
            for name, value in usage(resource, obj).items():
                if name in total:
                    total[name] += value
    return total


def _shown(values: Amounts, like: dict[str, str]) -> str:
    return ",".join(f"{name}={written(value, like[name])}" for name, value in sorted(values.items()))


def _must_say(resource: Resource, obj: Obj, quota: Obj) -> None:
    missing: dict[str, list[str]] = {}
    for name in quota["spec"].get("hard", {}):
        kind, _, what = name.partition(".")
        if what not in _COMPUTE or kind not in ("requests", "limits"):
            continue
        for container in obj["spec"]["containers"]:
            if what not in (container.get("resources", {}).get(kind) or {}):
                missing.setdefault(name, []).append(container["name"])
    if missing:
        listed = "; ".join(f"{name} for: {','.join(containers)}" for name, containers in sorted(missing.items()))
        why = f"failed quota: {quota['metadata']['name']}: must specify {listed}"
        raise forbidden(resource.plural, resource.group, obj["metadata"]["name"], why)


def check(store: Store, resource: Resource, obj: Obj, old: Obj | None) -> None:
    """Raises: ApiError 403."""
    if resource not in (PODS, CLAIMS) or (resource is PODS and old is not None):
        return
    for quota in store.all(QUOTAS.id, obj["metadata"]["namespace"]):
        hard: dict[str, str] = quota["spec"].get("hard", {})
        if resource is PODS:
            _must_say(resource, obj, quota)
        before = usage(resource, old) if old is not None else {}
        asked = {n: v - before.get(n, Decimal(0)) for n, v in usage(resource, obj).items() if n in hard}
        asked = {n: v for n, v in asked.items() if v > 0}
        used = used_in(store, obj["metadata"]["namespace"], list(asked))
        over = {n: v for n, v in asked.items() if used[n] + v > amount(hard[n])}
        if over:
            _refuse(resource, obj, quota, over, used)


def _refuse(resource: Resource, obj: Obj, quota: Obj, over: Amounts, used: Amounts) -> None:
    hard: dict[str, str] = quota["spec"]["hard"]
    limited = ",".join(f"{n}={hard[n]}" for n in sorted(over))
    why = (
        f"exceeded quota: {quota['metadata']['name']}, requested: {_shown(over, hard)}, "
        f"used: {_shown({n: used[n] for n in over}, hard)}, limited: {limited}"
    )
    raise forbidden(resource.plural, resource.group, obj["metadata"]["name"], why)


def limit(store: Store, pod: Obj) -> None:
    """Fill in what LimitRanges say about containers, in place.

    Raises:
        ApiError: 403, above a maximum.
    """
    for limits in store.all("limitranges", pod["metadata"]["namespace"]):
        for rule in limits["spec"]["limits"]:
            if rule["type"] == "Container":
                for container in pod["spec"]["containers"]:
                    _limit_container(pod, container, rule)


def _limit_container(pod: Obj, container: Obj, rule: Obj) -> None:
    resources = container.setdefault("resources", {})
    for field, part in (("limits", "default"), ("requests", "defaultRequest")):
        for name, value in (rule.get(part) or {}).items():
            resources.setdefault(field, {}).setdefault(name, value)
    for name, most in (rule.get("max") or {}).items():
        asked = (resources.get("limits") or {}).get(name)
        if asked is not None and amount(asked) > amount(most):
            why = f"maximum {name} usage per Container is {most}, but limit is {asked}"
            raise forbidden("pods", "", pod["metadata"]["name"], why)
