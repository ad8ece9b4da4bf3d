"""Watches: history since a version, then what happens, bookmarks, and 410 for what is forgotten."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from tests.fakes.kubernetes import errors
from tests.fakes.kubernetes.lists import integer, matcher, too_large
from tests.fakes.kubernetes.objects import Obj
from tests.fakes.kubernetes.resources import EVENTS, Resource
from tests.fakes.kubernetes.store import Change, Store

Show = Callable[[Obj], Obj]
_BOOKMARK_BEFORE_END = 2.0
_DEFAULT_TIMEOUT = 1800
_BEAT = 0.2


def _event(kind: str, obj: Obj) -> Obj:
    return {"type": kind, "object": obj}


def _seen(change: Change, matches: Callable[[Obj], bool]) -> str | None:
    """What a watcher with this selector is told: leaving the selection is a DELETED, entering it an ADDED."""
    before = change.before is not None and matches(change.before)
    if change.kind == "DELETED":
        return "DELETED" if before else None
    after = matches(change.object)
    if before and after:
        return "MODIFIED"
    if after:
        return "ADDED"
    return "DELETED" if before else None


def _check_options(query: dict[str, str]) -> None:
    version = query.get("resourceVersion", "")
    if query.get("sendInitialEvents") and query.get("resourceVersionMatch") != "NotOlderThan":
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        raise errors.invalid("ListOptions", "meta.k8s.io", "", [errors.forbidden_value("resourceVersionMatch", why)])
    if version and not version.isdecimal():
        why = f'Invalid value: "{version}": strconv.ParseUint: parsing "{version}": invalid syntax'
        raise errors.failure(500, None, f"resourceVersion: {why}")


class Watch:
    """One watch request, to be iterated outside of the store's lock."""

    def __init__(
        self,
        store: Store,
        resource: Resource,
        namespace: str,
        query: dict[str, str],
        show: Show,
        stop: threading.Event,
        pace: float,
    ) -> None:
        """Raises: ApiError for bad options; a forgotten version is told as an ERROR event."""
        _check_options(query)
        self._store, self._resource, self._namespace, self._show = store, resource, namespace, show
        self._matches = matcher(resource, query)
        self._bookmarks = query.get("allowWatchBookmarks", "").lower() in ("true", "1")
        self._initial = query.get("sendInitialEvents", "").lower() in ("true", "1")
        self._from = query.get("resourceVersion", "")
        seconds = integer(query["timeoutSeconds"]) if query.get("timeoutSeconds") else _DEFAULT_TIMEOUT
        self._pace = pace
        self._ends = time.monotonic() + seconds * pace
        self._stop = stop

    def events(self) -> Iterator[Obj | None]:
        """The events as they go over the wire; None when there is nothing new."""
        store = self._store
        with store.lock:
            version = store.version
            if self._from not in ("", "0") and not self._initial:
                version = int(self._from)
                if version < store.compacted:
                    yield self._gone(version)
                    return
                if version > store.version:
                    yield _event("ERROR", too_large(version, store.version).body)  # type: ignore[arg-type]
                    return
                started: list[Obj] = []
            else:
                started = [o for o in store.all(self._resource.id, self._namespace) if self._matches(o)]
        yield from (_event("ADDED", self._show(o)) for o in started)
        if self._initial or (self._bookmarks and not self._from):
            yield self._bookmark(version, {"k8s.io/initial-events-end": "true"})
            self._bookmarks = False
        yield from self._follow(version)

    def _follow(self, version: int) -> Iterator[Obj | None]:
        marked = not self._bookmarks
        # What happened before the request is told however short the time for it was.
        caught_up = False
        while not self._stop.is_set() and ((left := self._ends - time.monotonic()) > 0 or not caught_up):
            caught_up = True
            with self._store.lock:
                if version < self._store.compacted and not self._store.since(version):
                    version = max(version, self._store.compacted)
                changes = self._store.since(version)
                if not changes:
                    self._store.lock.wait(max(0, min(left, _BEAT)))
                    changes = self._store.since(version)
                version = self._store.version
            yield from self._told(changes)
            if not marked and left < _BOOKMARK_BEFORE_END * self._pace:
                marked = True
                yield self._bookmark(version)
            yield None

    def _told(self, changes: list[Change]) -> Iterator[Obj]:
        for change in changes:
            if change.resource == self._resource.id and self._namespace in ("", change.key[0]):
                kind = _seen(change, self._matches)
                if kind == "DELETED" and change.kind != "DELETED":
                    assert change.before is not None
                    last = {**change.before, "metadata": dict(change.before["metadata"])}
                    last["metadata"]["resourceVersion"] = str(change.version)
                    yield _event("DELETED", self._show(last))
                elif kind is not None:
                    yield _event(kind, self._show(change.object))

    def _bookmark(self, version: int, annotations: dict[str, str] | None = None) -> Obj:
        metadata: Obj = {"resourceVersion": str(version)}
        if annotations:
            metadata["annotations"] = annotations
        return _event(
            "BOOKMARK",
            {"kind": self._resource.kind, "apiVersion": self._resource.api_version, "metadata": metadata},
        )

    def _gone(self, version: int) -> Obj:
        message = f"too old resource version: {version} ({self._store.compacted + 1})"
        if self._resource is EVENTS:
            # Events are not in the watch cache, and etcd has other words.
            message = "The resourceVersion for the provided watch is too old."
        error = errors.expired(message)
        return _event("ERROR", error.status)
