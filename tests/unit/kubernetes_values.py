"""Short ways to write down nodes, pods and budgets in tests of planners."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from nightshift.remediation.kubernetes.objects import (
    Condition,
    Container,
    DisruptionBudget,
    Metadata,
    Node,
    Owner,
    Pod,
    Resources,
    Revision,
    Selector,
    Template,
    Volume,
    Workload,
    WorkloadKind,
)

NOW = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    """So long before now."""
    return NOW - timedelta(seconds=seconds)


def meta(name: str, namespace: str = "shop", **more: Any) -> Metadata:
    """Metadata with a uid of its own."""
    return Metadata(name=name, namespace=namespace, uid=f"uid-{namespace}-{name}", **more)


def owned_by(kind: str, name: str) -> tuple[Owner, ...]:
    """One controller."""
    return (Owner(kind=kind, name=name, uid=f"uid-{name}", controller=True),)


REPLICA_SET = owned_by("ReplicaSet", "web-1")


def pod(
    name: str = "web-1-a",
    *,
    owners: tuple[Owner, ...] = REPLICA_SET,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    ready: bool = True,
    phase: str = "Running",
    empty_dir: bool = False,
    deletion_at: datetime | None = None,
    namespace: str = "shop",
    **more: Any,
) -> Pod:
    """A running, ready pod of a ReplicaSet, but for what is said."""
    details = meta(
        name,
        namespace,
        owners=owners,
        labels=labels or {"app": "web"},
        annotations=annotations or {},
        deletion_at=deletion_at,
    )
    volumes = more.pop("volumes", ()) + ((Volume(name="scratch", kind="emptyDir"),) if empty_dir else ())
    conditions = (Condition(type="Ready", status="True" if ready else "False"),)
    values = {"meta": details, "phase": phase, "conditions": conditions, "volumes": volumes, "node": "n1"}
    return Pod(**{**values, **more})


def budget(
    name: str = "web",
    *,
    app: str = "web",
    allowed: int = 1,
    healthy: int = 3,
    desired: int = 2,
    expected: int = 3,
    generation: int = 1,
    observed: int = 1,
    namespace: str = "shop",
    **more: Any,
) -> DisruptionBudget:
    """A budget of the pods of one app."""
    return DisruptionBudget(
        meta=meta(name, namespace, generation=generation),
        selector=Selector(labels={"app": app}),
        disruptions_allowed=allowed,
        current_healthy=healthy,
        desired_healthy=desired,
        expected_pods=expected,
        observed_generation=observed,
        **more,
    )


def node(
    name: str = "n1", *, ready: str = "True", reason: str = "KubeletReady", since: float = 600, **more: Any
) -> Node:
    """A node whose Ready condition has been so for some seconds."""
    extra = more.pop("conditions", ())
    heard = NOW if ready != "Unknown" else ago(since)
    condition = Condition(type="Ready", status=ready, reason=reason, since=ago(since), heard_at=heard)
    details = meta(name, "", annotations=more.pop("annotations", {}), labels=more.pop("labels", {}))
    return Node(meta=details, conditions=(condition, *extra), **more)


def template(digest: str = "new", image: str = "shop/web:2", **more: Any) -> Template:
    """A pod template with one container ``app`` of 512 MiB."""
    limits = more.pop("limits", Resources(memory_bytes=512 * 2**20))
    init = more.pop("init", ())
    app = Container(name="app", image=image, limits=limits, requests=more.pop("requests", Resources()))
    return Template(digest=digest, containers=(*init, app), **more)


def deployment(name: str = "web", *, revision: int = 3, **more: Any) -> Workload:
    """A Deployment that is complete, but for what is said."""
    details = meta(
        name,
        generation=more.pop("generation", 1),
        annotations=more.pop("annotations", {}),
        labels=more.pop("labels", {}),
    )
    values: dict[str, Any] = {
        "kind": WorkloadKind.DEPLOYMENT,
        "replicas": 2,
        "existing": 2,
        "updated": 2,
        "ready": 2,
        "available": 2,
        "observed_generation": 1,
        "template": template(),
        "revision": revision,
    }
    return Workload(meta=details, **{**values, **more})


def revision(number: int, digest: str, *, made: float, available: int = 0, image: str = "shop/web:1") -> Revision:
    """A ReplicaSet that was made so many seconds ago."""
    return Revision(
        meta=meta(f"web-{number}", created_at=ago(made)),
        number=number,
        template=template(digest, image),
        replicas=available,
        ready=available,
        available=available,
    )
