"""A cluster: objects and lists read as values, page by page.

Operations of the inventory: kubernetes.list_*, read_*, describe_*, pod_logs, top_*; certmanager.*.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from nightshift.remediation.clients.kubernetes.errors import ExpiredError, Json, TooLargeError
from nightshift.remediation.clients.kubernetes.kubeconfig import configuration_of
from nightshift.remediation.clients.kubernetes.resources import PODS, Resource
from nightshift.remediation.clients.kubernetes.transport import Transport
from nightshift.remediation.connections import KubernetesConnection
from nightshift.remediation.errors import CommandFailedError, ConfigurationError
from nightshift.remediation.kubernetes.names import field_selector, label_selector, namespace_name
from nightshift.remediation.kubernetes.objects import Selector
from nightshift.remediation.text import printable

T = TypeVar("T")

PAGE = 500
"""Objects of one answer to a list."""
MOST_LOG_BYTES = 1024 * 1024
_RESTARTS = 3
"""So often a list that expired is begun anew."""


@dataclass(frozen=True)
class Page:
    """One answer to a list."""

    items: list[Json]
    version: str
    """``resourceVersion`` of the list: from it a watch goes on."""


@dataclass
class Cluster:
    """An open cluster; see :func:`open_cluster`."""

    name: str
    connection: KubernetesConnection
    transport: Transport

    def get(self, resource: Resource[T], name: str, namespace: str = "") -> T:
        """One object.

        Raises:
            ObjectNotFoundError: there is none of this name.
            NightshiftError: it could not be read; see :mod:`errors`.
        """
        return self._parsed(resource, self.document(resource, name, namespace))

    def document(self, resource: Resource[Any], name: str, namespace: str = "", subresource: str = "") -> Json:
        """One object as the API has it."""
        what = f"read {shown(resource, name, namespace)}"
        return self.transport.request(what, "GET", self._path(resource, namespace, name, subresource))

    def list(
        self,
        resource: Resource[T],
        namespace: str | None = None,
        *,
        labels: Selector | Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> Iterator[T]:
        """Objects, read page by page: no more than one page is in memory.

        Args:
            resource: their kind.
            namespace: None for all namespaces.
            labels: which ones, None for all.
            fields: equal fields, as ``{"spec.nodeName": "n1"}``.

        Raises:
            ValueError: a selector that cannot be one.
            NightshiftError: they could not be read; see :mod:`errors`.
        """
        for page in self.pages(resource, namespace, selection(labels, fields)):
            for item in page.items:
                yield self._parsed(resource, item)
            del page  # or it would still be there while the next one is read

    def pages(self, resource: Resource[Any], namespace: str | None, query: Mapping[str, str]) -> Iterator[Page]:
        """The pages of a list, as of one moment; after an expired page, of a later one, without repeating objects."""
        what, path = f"list {resource.plural}", self._path(resource, namespace or "")
        limit, token, last, restarts = PAGE, "", "", 0
        while True:
            asked = {**query, "limit": str(limit)} | ({"continue": token} if token else {})
            try:
                answer = self.transport.request(what, "GET", path, asked)
            except TooLargeError:
                if limit == 1:
                    raise
                limit = max(1, limit // 10)
                continue
            except ExpiredError as expired:
                restarts += 1
                if restarts > _RESTARTS:
                    raise
                token = expired.next_page
                continue
            items = answer.get("items") or []
            meta = answer.get("metadata") or {}
            # Lists come in the order of their keys; when one was begun anew, its beginning was told already.
            fresh = [item for item in items if _key(item) > last] if restarts else items
            last = _key(items[-1]) if items else last
            token = str(meta.get("continue") or "")
            yield Page(fresh, str(meta.get("resourceVersion") or ""))
            del answer, items, fresh  # read, it is the caller's: two pages at a time would double what a sweep takes
            if not token:
                return

    def logs(
        self,
        pod: str,
        namespace: str,
        container: str,
        *,
        previous: bool = False,
        tail: int = 1_000,
        since_seconds: int | None = None,
    ) -> str:
        """The newest lines of a container's log (``kubernetes.pod_logs``), at most :data:`MOST_LOG_BYTES`."""
        query = {
            "container": namespace_name(container),
            "tailLines": str(max(0, tail)),
            "limitBytes": str(MOST_LOG_BYTES),
            "timestamps": "true",
            **({"previous": "true"} if previous else {}),
            **({"sinceSeconds": str(max(1, since_seconds))} if since_seconds is not None else {}),
        }
        what = f"read the log of {shown(PODS, pod, namespace)}"
        path = self._path(PODS, namespace, pod, "log")
        return self.transport.text(what, path, query, MOST_LOG_BYTES).decode(errors="replace")

    def now(self) -> datetime:
        """By the cluster's own clock, once it has answered anything."""
        return self.transport.clock.now()

    def version(self) -> str:
        """Of the API server: ``v1.34.1``."""
        return str(self.transport.request("read the version", "GET", "/version").get("gitVersion") or "")

    def _path(self, resource: Resource[Any], namespace: str = "", name: str = "", subresource: str = "") -> str:
        try:
            return resource.path(namespace, name, subresource)
        except ValueError as error:
            raise CommandFailedError(f"{self.name}: {error}.") from None

    def _parsed(self, resource: Resource[T], document: Json) -> T:
        try:
            return resource.parse(document)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            name = printable(str((document.get("metadata") or {}).get("name")), 80)
            raise CommandFailedError(
                f"{self.name}: the {resource.kind} {name} has another shape than documented: {type(error).__name__}."
            ) from None


@contextmanager
def open_cluster(name: str, connection: KubernetesConnection, *, within: float | None = None) -> Iterator[Cluster]:
    """The cluster under this name of the catalogue, for the time of the block. Nothing is asked of it yet.

    Args:
        name: of the connection.
        connection: how it is reached.
        within: seconds after which no request goes on; None: only each request has its time-out.

    Raises:
        ConfigurationError: the connection is not usable; with the first request, see :mod:`kubeconfig`.
    """
    until = None if within is None else time.monotonic() + within
    transport = Transport(name, partial(configuration_of, name, connection), connection.timeout, until)
    try:
        yield Cluster(name, connection, transport)
    finally:
        transport.close()


def cluster_connection(name: str, connections: Mapping[str, Any]) -> KubernetesConnection:
    """The connection of this name.

    Raises:
        ConfigurationError: the catalogue knows no such cluster.
    """
    connection = connections.get(name)
    if not isinstance(connection, KubernetesConnection):
        raise ConfigurationError(f"There is no cluster {name!r} in the catalogue any more.")
    return connection


def selection(labels: Selector | Mapping[str, str] | None, fields: Mapping[str, str] | None) -> dict[str, str]:
    """The query of a list or watch that selects these.

    Raises:
        ValueError: something in it cannot be part of a selector.
    """
    query = {} if labels is None else {"labelSelector": label_selector(labels)}
    return query if fields is None else {**query, "fieldSelector": field_selector(fields)}


def shown(resource: Resource[Any], name: str, namespace: str = "") -> str:
    """An object for people: ``Pod shop/web-0``."""
    where = f"{printable(namespace, 70)}/" if namespace else ""
    return f"{resource.kind} {where}{printable(name, 100)}"


def _key(item: Json) -> str:
    """By which the server orders: what is in ``shop-db`` comes before what is in ``shop``, as ``-`` before ``/``."""
    meta = item.get("metadata") or {}
    return f"{meta.get('namespace') or ''}/{meta.get('name') or ''}"
