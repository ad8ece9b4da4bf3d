"""The roles that grant what a system needs of its cluster, as a manifest for ``kubectl apply``: pure.

What has no namespace, and what is looked at in all of them, stands in a ClusterRole; everything else in a Role of each
namespace of the system.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from nightshift.remediation.kubernetes.permissions import Need

_GROUP = "rbac.authorization.k8s.io"
_API = f"{_GROUP}/v1"
Document = dict[str, Any]


def manifest(system: str, account: str, namespace: str, needs: Sequence[Need]) -> str:
    """The account, its roles and their bindings, as YAML.

    Args:
        system: its id; roles are called after it.
        account: name of the service account.
        namespace: where the account lives.
        needs: see :func:`nightshift.remediation.kubernetes.permissions.needs_of_flows`.
    """
    return yaml.safe_dump_all(documents(system, account, namespace, needs), sort_keys=False)


def documents(system: str, account: str, namespace: str, needs: Sequence[Need]) -> list[Document]:
    """The objects of :func:`manifest`."""
    name = f"nightshift-{system.replace('_', '-')}"
    found: list[Document] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": namespace}}
    ]
    by_namespace: dict[str, list[Need]] = defaultdict(list)
    for need in needs:
        by_namespace["" if need.everywhere else need.namespace].append(need)
    for where, of_it in sorted(by_namespace.items()):
        kind, place = ("Role", {"namespace": where}) if where else ("ClusterRole", {})
        meta = {"name": name, **place}
        found.append({"apiVersion": _API, "kind": kind, "metadata": meta, "rules": rules(of_it)})
        found.append(
            {
                "apiVersion": _API,
                "kind": f"{kind}Binding",
                "metadata": dict(meta),
                "roleRef": {"apiGroup": _GROUP, "kind": kind, "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
            }
        )
    return found


def rules(needs: Iterable[Need]) -> list[Document]:
    """The rules that grant just this: resources of one group with the same verbs together."""
    verbs: dict[tuple[str, str], set[str]] = defaultdict(set)
    for need in needs:
        verbs[need.group, need.full_resource].add(need.verb)
    together: dict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (group, resource), found in sorted(verbs.items()):
        together[group, tuple(sorted(found))].append(resource)
    return [
        {"apiGroups": [group], "resources": resources, "verbs": list(found)}
        for (group, found), resources in sorted(together.items())
    ]
