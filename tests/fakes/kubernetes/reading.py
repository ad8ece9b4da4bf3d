"""Bodies of requests: objects and patches, with the server's complaints about them."""

from __future__ import annotations

import json
from typing import Any

import yaml

from tests.fakes.kubernetes import errors
from tests.fakes.kubernetes.messages import Request
from tests.fakes.kubernetes.objects import Obj
from tests.fakes.kubernetes.patches import json_patch, merge_patch, strategic_merge
from tests.fakes.kubernetes.resources import Resource
from tests.fakes.kubernetes.routes import Route

_JSON_PATCH, _MERGE, _STRATEGIC, _APPLY = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
_READABLE = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")


def _media_type(request: Request) -> str:
    return request.header("content-type").partition(";")[0].strip()


def _unknown_format(accepted: tuple[str, ...]) -> errors.ApiError:
    listed = ", ".join(accepted)
    return errors.failure(
        415,
        "UnsupportedMediaType",
        f"the body of the request was in an unknown format - accepted media types include: {listed}",
    )


def _parsed(request: Request, kind: str) -> Any:
    media_type = _media_type(request) or "application/json"
    if media_type not in _READABLE:
        raise _unknown_format(_READABLE)
    if media_type == "application/yaml":
        return yaml.safe_load(request.body)
    try:
        return json.loads(request.body)
    except ValueError:
        text = request.body.decode(errors="replace")
        why = (
            f"invalid character '{text.lstrip('{[ ')[:1]}' looking for beginning of object key string"
            if text.strip()
            else "unexpected end of JSON input (<empty>)"
        )
        raise errors.bad_request(
            f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; "
            f"json parse error: {why}" + (f" ({_excerpt(text)})" if text.strip() else "")
        ) from None


def _excerpt(text: str) -> str:
    return json.dumps(text[:64])[1:-1]


def read_object(request: Request, resource: Resource, route: Route) -> Obj:
    """The object in the body.

    Raises:
        ApiError: 400, 415, 500 (a version on an object to be created).
    """
    body = _parsed(request, resource.kind)
    kind = body.get("kind") or resource.kind
    if kind != resource.kind:
        group = resource.group.partition(".")[0] or "core"
        raise errors.bad_request(
            f'{kind} in version "{body.get("apiVersion")}" cannot be handled as a {resource.kind}: '
            f"converting (v1.{kind}) to ({group}.{resource.kind}): unknown conversion"
        )
    metadata = body.setdefault("metadata", {})
    if resource.namespaced and metadata.get("namespace") not in (None, "", route.namespace):
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if route.name and metadata.get("name", route.name) != route.name:
        raise errors.bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({route.name})"
        )
    if not route.name and metadata.get("resourceVersion"):
        raise errors.failure(500, None, "resourceVersion should not be set on objects to be created")
    return body  # type: ignore[no-any-return]


def _decoded_patch(request: Request, wanted: type, name: str) -> Any:
    content = json.loads(request.body)
    if not isinstance(content, wanted):
        found = "object" if isinstance(content, dict) else "array"
        raise errors.bad_request(f"error decoding patch: json: cannot unmarshal {found} into Go value of type {name}")
    return content


def patched(request: Request, resource: Resource, old: Obj) -> Obj:
    """The object as the patch would have it.

    Raises:
        ApiError: 400, 415, 422.
    """
    media_type = _media_type(request)
    if media_type == _JSON_PATCH:
        return json_patch(old, _decoded_patch(request, list, "[]handlers.jsonPatchOp"))
    if media_type == _MERGE:
        patch = _decoded_patch(request, dict, "map[string]interface {}")
        return merge_patch(old, patch)  # type: ignore[no-any-return]
    if media_type == _STRATEGIC and not resource.custom:
        return strategic_merge(old, _decoded_patch(request, dict, "map[string]interface {}"))
    accepted: tuple[str, ...] = (
        (_JSON_PATCH, _MERGE, _APPLY) if resource.custom else (_JSON_PATCH, _MERGE, _STRATEGIC, _APPLY)
    )
    raise _unknown_format(accepted)
