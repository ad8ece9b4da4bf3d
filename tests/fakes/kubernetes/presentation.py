"""Objects and lists as a client asked to see them: whole, or metadata only."""

from __future__ import annotations

from tests.fakes.kubernetes.messages import Answer, Request
from tests.fakes.kubernetes.objects import Obj
from tests.fakes.kubernetes.resources import Resource
from tests.fakes.kubernetes.routes import Route


def _asked_as(request: Request) -> str:
    accept = request.header("accept")
    return next(
        (kind for kind in ("Table", "PartialObjectMetadataList", "PartialObjectMetadata") if f"as={kind};" in accept),
        "",
    )


def metadata_only(obj: Obj) -> Obj:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def converted(request: Request, resource: Resource, version: str, obj: Obj) -> Obj:
    """One object, in the version and form asked for."""
    if _asked_as(request) == "PartialObjectMetadata":
        return metadata_only(obj)
    if version != resource.versions[0]:
        return {**obj, "apiVersion": resource.in_version(version)}
    return obj


def shown(request: Request, resource: Resource, route: Route, obj: Obj, code: int = 200) -> Answer:
    """The answer with one object."""
    return Answer(code, converted(request, resource, route.version, obj))


def listed(request: Request, resource: Resource, version: str, metadata: Obj, found: list[Obj]) -> Answer:
    """The answer with a list. Items of built-in kinds carry neither kind nor apiVersion."""
    if _asked_as(request) == "PartialObjectMetadataList":
        items = [metadata_only(o) for o in found]
        body: Obj = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
        return Answer(200, {**body, "metadata": metadata, "items": items})
    items = [converted(request, resource, version, o) for o in found]
    if not resource.custom:
        items = [{k: v for k, v in o.items() if k not in ("kind", "apiVersion")} for o in items]
    body = {"kind": f"{resource.kind}List", "apiVersion": resource.in_version(version)}
    return Answer(200, {**body, "metadata": metadata, "items": items})
