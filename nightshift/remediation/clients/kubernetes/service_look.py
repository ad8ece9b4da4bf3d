"""Who answers behind a Service: operation ``kubernetes.service_endpoints`` (octollm.PodCrashLoopBackOff.r1.1, r1.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.clients.kubernetes.errors import ForbiddenError, ObjectNotFoundError
from nightshift.remediation.clients.kubernetes.parsing.common import listed, part
from nightshift.remediation.clients.kubernetes.resources import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    SERVICES,
    STATEFUL_SETS,
)
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.crash_diagnosis import Dependency
from nightshift.remediation.kubernetes.objects import Workload

_SERVICE_OF_SLICE = "kubernetes.io/service-name"


@serves("octollm.PodCrashLoopBackOff: r1.1 r1.3")
def look_at_dependency(cluster: Cluster, namespace: str, service: str) -> Dependency:
    """A service that pods need: how many of its endpoints are ready, and what runs behind it.

    Raises:
        NightshiftError: it could not be read; a service that does not exist has no endpoints.
    """
    try:
        selector = part(cluster.get(SERVICES, service, namespace), "spec", "selector")
        ready = ready_endpoints(cluster, namespace, service)
    except ForbiddenError:
        return Dependency(service=service, ready_endpoints=None)
    except ObjectNotFoundError:
        return Dependency(service=service, ready_endpoints=0)
    return Dependency(service=service, ready_endpoints=ready, workload=_behind(cluster, namespace, selector))


def ready_endpoints(cluster: Cluster, namespace: str, service: str) -> int:
    """How many addresses behind it take connections."""
    slices = cluster.list(ENDPOINT_SLICES, namespace, labels={_SERVICE_OF_SLICE: service})
    ready = {
        str(address)
        for one in slices
        for endpoint in listed(one, "endpoints")
        # Not said counts as ready, as the API documents it.
        if part(endpoint, "conditions").get("ready", True) is not False
        for address in listed(endpoint, "addresses")
    }
    return len(ready)


def _behind(cluster: Cluster, namespace: str, selector: Mapping[str, Any]) -> Workload | None:
    if not selector:
        return None
    found = [
        workload
        for kind in (DEPLOYMENTS, STATEFUL_SETS)
        for workload in cluster.list(kind, namespace)
        if selector.items() <= dict(workload.template.labels).items()
    ]
    return found[0] if len(found) == 1 else None
