"""What a path names: a resource, an object, a subresource, or something outside of the resources."""

from __future__ import annotations

from dataclasses import dataclass

from tests.fakes.kubernetes.access import Attributes
from tests.fakes.kubernetes.messages import Request


@dataclass(frozen=True)
class Route:
    """A path taken apart; ``plural`` is empty for everything that is not a resource."""

    group: str = ""
    version: str = ""
    plural: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    old_watch: bool = False


def parse(path: str) -> Route:
    """``/apis/apps/v1/namespaces/n/deployments/d/scale`` and its like."""
    parts = [p for p in path.split("/") if p]
    if len(parts) >= 3 and parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    elif len(parts) >= 4 and parts[0] == "apis":
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return Route()
    old_watch = rest[0] == "watch" and len(rest) > 1
    if old_watch:
        rest = rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    elif rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
    padded = [*rest, "", ""]
    return Route(group, version, padded[0], namespace, padded[1], padded[2], old_watch)


_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def attributes(request: Request, route: Route) -> Attributes:
    """The request as authorization sees it."""
    if not route.plural:
        verbs = {**_VERBS, "GET": "get", "HEAD": "get"}
        return Attributes(verbs.get(request.method, request.method.lower()), path=request.path)
    verb = _VERBS.get(request.method, "get")
    if request.method in ("GET", "HEAD"):
        verb = "get" if route.name else "list"
        if request.is_watch or route.old_watch:
            verb = "watch"
    elif request.method == "DELETE" and not route.name:
        verb = "deletecollection"
    return Attributes(verb, route.group, route.plural, route.subresource, route.namespace, route.name)
