"""Whether a namespace lets a workload have what it is to get: its LimitRanges and quotas, which judge only pods.

Operation ``kubernetes.read_resource_quota``. An account that may not read them goes on as before: the server refuses
the pods then, and the rollout says so.
"""

from __future__ import annotations

import copy

from nightshift.remediation.clients.kubernetes.changing import Edit
from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.clients.kubernetes.errors import ForbiddenError
from nightshift.remediation.clients.kubernetes.overview import quota_amount
from nightshift.remediation.clients.kubernetes.resources import LIMIT_RANGES, QUOTAS, WORKLOADS
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.kubernetes.arguments import ScaleWorkload, SetResources
from nightshift.remediation.kubernetes.namespace_rules import Growth, Left, NamespaceRules, why_refused
from nightshift.remediation.kubernetes.objects import Workload, WorkloadKind
from nightshift.remediation.text import printable

_COUNTED = ("pods", "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")


def rules_of(cluster: Cluster, namespace: str) -> NamespaceRules:
    """What the namespace lets its pods ask for; nothing where we may not look."""
    try:
        limits = tuple(cluster.list(LIMIT_RANGES, namespace))
        quotas = [quota for quota in cluster.list(QUOTAS, namespace) if not quota.scoped]
    except ForbiddenError:
        return NamespaceRules()
    left = [
        Left(
            name=quota.name,
            amounts={
                name: quota_amount(name, hard) - quota_amount(name, quota.used.get(name, "0"))
                for name, hard in quota.hard.items()
                if name in _COUNTED
            },
        )
        for quota in quotas
    ]
    return NamespaceRules(limits=limits, left=left)


def see_limits_fit(cluster: Cluster, arguments: SetResources, edit: Edit) -> None:
    """Raises: TargetChangedError: the namespace would refuse pods with these amounts."""
    before = cluster.document(edit.resource, edit.name, edit.namespace)
    if edit.done(before):
        return
    after = copy.deepcopy(before)
    edit.apply(after)
    parse = WORKLOADS[arguments.workload].parse
    now, then = parse(before), parse(after)
    growth = Growth(
        before=now.template.containers,
        after=then.template.containers,
        pods_before=now.replicas,
        pods_after=then.replicas,
        surges=now.kind is WorkloadKind.DEPLOYMENT and now.strategy != "Recreate" and now.max_surge not in ("0", "0%"),
    )
    _see(cluster, now, growth)


def see_replicas_fit(cluster: Cluster, arguments: ScaleWorkload) -> None:
    """Raises: TargetChangedError: the namespace would refuse so many pods."""
    now = cluster.get(WORKLOADS[arguments.workload], arguments.name, arguments.namespace)
    same = now.template.containers
    growth = Growth(before=same, after=same, pods_before=now.replicas, pods_after=arguments.to_replicas)
    _see(cluster, now, growth)


def _see(cluster: Cluster, workload: Workload, growth: Growth) -> None:
    if growth.more and (why := why_refused(rules_of(cluster, workload.namespace), growth)):
        named = f"{workload.kind} {printable(f'{workload.namespace}/{workload.name}', 120)}"
        raise TargetChangedError(f"{named} may not have so much: {why}.")
