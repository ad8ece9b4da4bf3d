"""What etcd and the watch cache are to a real API server: versions, history, compaction."""

from __future__ import annotations

import threading
from bisect import bisect_right
from typing import NamedTuple

from tests.fakes.kubernetes.objects import Obj

Key = tuple[str, str]
"""(namespace, name); cluster-scoped objects have the namespace ''."""

_FIRST_VERSION = 1000
_HISTORY = 50_000


class Change(NamedTuple):
    """One write: ``before`` is None for a creation, ``after`` for a removal ``object`` is the last state."""

    version: int
    kind: str
    resource: str
    key: Key
    object: Obj
    before: Obj | None


class Store:
    """All objects of a cluster. Hold ``lock`` for every use; it is also notified of every change."""

    def __init__(self) -> None:
        self.lock = threading.Condition(threading.RLock())
        self.version = _FIRST_VERSION
        self.compacted = _FIRST_VERSION
        self._objects: dict[str, dict[Key, Obj]] = {}
        self._history: list[Change] = []

    def find(self, resource: str, namespace: str, name: str) -> Obj | None:
        return self._objects.get(resource, {}).get((namespace, name))

    def all(self, resource: str, namespace: str = "") -> list[Obj]:
        """Objects ordered by key; of every namespace when none is given."""
        found = self._objects.get(resource, {})
        keys = sorted((k for k in found if not namespace or k[0] == namespace), key="/".join)
        return [found[k] for k in keys]

    def each(self, resource: str) -> list[Obj]:
        """As ``all``, in no particular order: for controllers, which look at everything often."""
        return list(self._objects.get(resource, {}).values())

    def resources(self) -> list[str]:
        return list(self._objects)

    def put(self, resource: str, obj: Obj) -> Obj:
        """Store ``obj`` (which then belongs to the store) under a new version."""
        key = (obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        objects = self._objects.setdefault(resource, {})
        before = objects.get(key)
        self._stamp(obj)
        objects[key] = obj
        self._record(Change(self.version, "MODIFIED" if before else "ADDED", resource, key, obj, before))
        return obj

    def remove(self, resource: str, obj: Obj) -> Obj:
        """Remove; the last state of the object carries the version of the removal."""
        key = (obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        before = self._objects[resource].pop(key)
        last = {**obj, "metadata": dict(obj["metadata"])}
        self._stamp(last)
        self._record(Change(self.version, "DELETED", resource, key, last, before))
        return last

    def _stamp(self, obj: Obj) -> None:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)

    def _record(self, change: Change) -> None:
        self._history.append(change)
        if len(self._history) > 2 * _HISTORY:
            self.compact(self._history[_HISTORY].version)
        self.lock.notify_all()

    def compact(self, version: int | None = None) -> None:
        """Forget the history up to ``version`` (default: all of it): older list tokens and watches get 410."""
        if version is None:
            self.version += 1
        self.compacted = self.version if version is None else version
        self._history = [c for c in self._history if c.version > self.compacted]

    def since(self, version: int) -> list[Change]:
        """Changes after ``version``, oldest first."""
        return self._history[bisect_right(self._history, version, key=lambda c: c.version) :]

    def snapshot(self, resource: str, namespace: str, version: int) -> list[Obj]:
        """The objects as they were at ``version``, ordered by key."""
        found = dict(self._objects.get(resource, {}))
        for change in reversed(self.since(version)):
            if change.resource == resource:
                if change.before is None:
                    found.pop(change.key, None)
                else:
                    found[change.key] = change.before
        return [found[k] for k in sorted(found, key="/".join) if not namespace or k[0] == namespace]
