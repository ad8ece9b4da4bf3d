"""Watches that go on: over the end of a stream, a silence, a broken connection, and a version that is too old (410)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from nightshift.remediation.clients.kubernetes.cluster import Cluster, selection
from nightshift.remediation.clients.kubernetes.errors import ExpiredError, Json
from nightshift.remediation.clients.kubernetes.resources import Resource
from nightshift.remediation.errors import CommandFailedError, TargetUnreachableError
from nightshift.remediation.kubernetes.objects import KubernetesObject, Selector

K = TypeVar("K", bound=KubernetesObject)

STREAM_SECONDS = 240
"""So long the server is asked to keep one stream; then another is opened."""
SILENCE_SECONDS = 90.0
"""Bookmarks come every minute: a stream that says nothing for so long is dead."""
_PAUSE = 1.0


class Happened(StrEnum):
    """What happened to an object."""

    SEEN = "seen"
    """It is there, as it looks now: at the beginning, or after the watch had to look anew."""
    CHANGED = "changed"
    GONE = "gone"


@dataclass(frozen=True)
class Change(Generic[K]):
    """One thing that happened."""

    happened: Happened
    object: K
    """As it is, or was last."""


def watch(
    cluster: Cluster,
    resource: Resource[K],
    namespace: str | None,
    *,
    seconds: float,
    labels: Selector | Mapping[str, str] | None = None,
    fields: Mapping[str, str] | None = None,
    silence: float = SILENCE_SECONDS,
) -> Iterator[Change[K]]:
    """What is there, then what happens to it, until the time is over. What was missed meanwhile is told by its result.

    Args:
        cluster: which one.
        resource: the kind of objects.
        namespace: None for all namespaces.
        seconds: after which it ends; in a quiet cluster nothing may come before.
        labels: which ones.
        fields: equal fields.
        silence: seconds without any word after which a stream counts as dead.

    Raises:
        NightshiftError: it is refused for good, or the cluster could not be reached until the time was over.
    """
    yield from _Watch(cluster, resource, namespace, selection(labels, fields), silence).until(
        time.monotonic() + seconds
    )


class _Watch(Generic[K]):
    def __init__(
        self, cluster: Cluster, resource: Resource[K], namespace: str | None, query: dict[str, str], silence: float
    ) -> None:
        self._cluster, self._resource, self._namespace = cluster, resource, namespace
        self._query, self._silence = query, silence
        self._known: dict[str, K] = {}
        """By uid; what is watched is little, and only so what vanished unseen can be told."""
        self._version = ""

    def until(self, end: float) -> Iterator[Change[K]]:
        while True:
            try:
                if not self._version:
                    yield from self._look()
                if time.monotonic() >= end:
                    return
                began = time.monotonic()
                yield from self._stream(end)
                # A server that ends each stream at once is not asked without a pause.
                time.sleep(max(0.0, min(_PAUSE, end - time.monotonic()) if time.monotonic() < began + _PAUSE else 0.0))
            except ExpiredError:
                self._version = ""
            except TargetUnreachableError:
                if time.monotonic() + _PAUSE >= end and not self._version:
                    raise
                time.sleep(max(0.0, min(_PAUSE, end - time.monotonic())))

    def _look(self) -> Iterator[Change[K]]:
        """List, and tell what differs from what was known."""
        before, self._known, version = self._known, {}, ""
        for page in self._cluster.pages(self._resource, self._namespace, self._query):
            version = page.version
            for item in page.items:
                found = self._resource.parse(item)
                self._known[found.uid] = found
                old = before.pop(found.uid, None)
                if old is None or old.meta.resource_version != found.meta.resource_version:
                    yield Change(Happened.SEEN, found)
        self._version = version
        yield from (Change(Happened.GONE, gone) for gone in before.values())

    def _stream(self, end: float) -> Iterator[Change[K]]:
        seconds = max(1, min(STREAM_SECONDS, round(end - time.monotonic())))
        query = {
            **self._query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(seconds),
        }
        path = self._resource.path(self._namespace or "")
        silence = min(self._silence, seconds + 5.0)
        with self._cluster.transport.lines(f"watch {self._resource.plural}", path, query, silence) as lines:
            for line in lines:
                yield from self._event(line)
                if time.monotonic() >= end:
                    return

    def _event(self, line: bytes) -> Iterator[Change[K]]:
        event: Json = json.loads(line)
        kind, document = event.get("type"), event.get("object") or {}
        if kind == "ERROR":
            raise self._error(document)
        self._version = str((document.get("metadata") or {}).get("resourceVersion") or self._version)
        if kind == "BOOKMARK":
            return
        found = self._resource.parse(document)
        if kind == "DELETED":
            self._known.pop(found.uid, None)
            yield Change(Happened.GONE, found)
        else:
            self._known[found.uid] = found
            yield Change(Happened.CHANGED, found)

    def _error(self, said: Mapping[str, Any]) -> Exception:
        what = f"{self._cluster.name}: watch {self._resource.plural}"
        if said.get("code") == 410:
            return ExpiredError(f"{what}: the version is too old.")
        if (said.get("code") or 0) >= 500:
            return TargetUnreachableError(f"{what}: the cluster ended it with {said.get('code')}.")
        return CommandFailedError(f"{what}: the cluster ended it with {said.get('code')}.")
