"""What our account may do in a cluster: asked by SelfSubjectAccessReview, which changes nothing and needs no right."""

from __future__ import annotations

from collections.abc import Iterable

from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.kubernetes.permissions import Need, grant_words
from nightshift.remediation.privileges import Lack

_PATH = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def is_allowed(cluster: Cluster, need: Need) -> bool:
    """Whether the account may do it."""
    attributes = {
        "verb": need.verb,
        "group": need.group,
        "resource": need.resource,
        "subresource": need.subresource,
        "namespace": need.namespace,
        "name": need.name,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
    }
    answer = cluster.transport.request("ask what we may do", "POST", _PATH, None, review)
    return bool((answer.get("status") or {}).get("allowed"))


def lacks(cluster: Cluster, needs: Iterable[Need]) -> list[Lack]:
    """What of it the account may not do, and how it is granted."""
    return [
        Lack(what=str(need), grant=grant_words(need)) for need in dict.fromkeys(needs) if not is_allowed(cluster, need)
    ]
