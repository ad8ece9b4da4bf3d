"""Secrets: which keys one has, never what they hold; and the contents that another one is to get.

Operation ``kubernetes.read_secret_metadata``: octollm.CertificateExpiringInSevenDays.d8, r3.1, r3.2,
octollm.PodCrashLoopBackOff.r3.3 (``-o yaml prints the secret: key names only``). What a secret holds is dropped where
it is read, and stands in no result, plan, journal, log or error. Only whoever is granted it may read secrets at all:
the generated roles of the flows do not.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nightshift.remediation.clients.kubernetes.changing import Edit
from nightshift.remediation.clients.kubernetes.cluster import Cluster
from nightshift.remediation.clients.kubernetes.errors import Json
from nightshift.remediation.clients.kubernetes.parsing.common import metadata, part, text
from nightshift.remediation.clients.kubernetes.resources import Resource, raw
from nightshift.remediation.connections import resolve_secret
from nightshift.remediation.kubernetes.configuring import ReplaceSecret

SECRETS = Resource[Mapping[str, Any]]("Secret", "secrets", raw)
TLS_KEYS = frozenset(("tls.crt", "tls.key"))
TLS_TYPE = "kubernetes.io/tls"


@dataclass(frozen=True, kw_only=True)
class SecretMetadata:
    """What may be known of a secret."""

    namespace: str
    name: str
    uid: str
    version: str
    type: str
    """``Opaque``, ``kubernetes.io/tls``, ``kubernetes.io/dockerconfigjson``, ..."""
    keys: tuple[str, ...]
    """Names only, sorted; one whose value is empty is left out."""
    created_at: datetime | None
    changed_at: datetime | None
    """The newest write that its field managers tell of; None: nobody does."""

    @property
    def is_complete_tls(self) -> bool:
        """Whether an Ingress can serve it."""
        return self.type == TLS_TYPE and set(self.keys) >= TLS_KEYS


def read_secret_metadata(cluster: Cluster, namespace: str, name: str) -> SecretMetadata:
    """A secret without what it holds.

    Raises:
        ObjectNotFoundError: there is none of this name.
        NightshiftError: it could not be read; see :mod:`errors`.
    """
    document = cluster.document(SECRETS, name, namespace)
    meta = metadata(document)
    written = [manager.at for manager in meta.managers if manager.at is not None]
    return SecretMetadata(
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        version=meta.resource_version,
        type=text(document, "type") or "Opaque",
        keys=tuple(sorted(key for key, value in part(document, "data").items() if value)),
        created_at=meta.created_at,
        changed_at=max(written, default=None),
    )


def replace(cluster: Cluster, arguments: ReplaceSecret) -> Edit:
    """Its contents as a whole, in one patch: there is no moment without a secret.

    Raises:
        ConfigurationError: a value is not where its reference says.
        ObjectNotFoundError: the secret that it is copied from is gone.
    """
    wanted = _wanted(cluster, arguments)

    def misfit(document: Json) -> str | None:
        if document.get("immutable"):
            return "is immutable"
        if not wanted or not all(wanted.values()):
            return "would be left without a value"
        if document.get("type") == TLS_TYPE and not set(wanted) >= TLS_KEYS:
            return "is of a TLS certificate and would lose a part of it"
        same = document["metadata"]["resourceVersion"] == arguments.version
        return None if same else "was written since the diagnosis"

    def apply(document: Json) -> None:
        document["data"] = wanted

    return Edit(
        resource=SECRETS,
        namespace=arguments.namespace,
        name=arguments.name,
        uid=arguments.uid,
        misfit=misfit,
        apply=apply,
        done=lambda document: part(document, "data") == wanted,
    )


def copy_of(document: Json, name: str) -> Json:
    """A secret of another name with the same contents and labels that say whose copy it is."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": document["metadata"]["namespace"]},
        "type": document.get("type") or "Opaque",
        "data": dict(part(document, "data")),
    }


def _wanted(cluster: Cluster, arguments: ReplaceSecret) -> dict[str, str]:
    if arguments.copied_from is not None:
        return dict(part(cluster.document(SECRETS, arguments.copied_from, arguments.namespace), "data"))
    return {
        key: base64.b64encode(resolve_secret(reference).get_secret_value().encode()).decode()
        for key, reference in arguments.values.items()
    }
