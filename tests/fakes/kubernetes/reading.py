"""Bodies of requests: objects and patches, with the server's complaints about them."""

from __future__ import annotations

import copy
import json
from typing import Any

import yaml

from tests.fakes.kubernetes import errors
from tests.fakes.kubernetes.messages import Request
from tests.fakes.kubernetes.objects import Obj
from tests.fakes.kubernetes.patches import json_patch, merge_patch, strategic_merge
from tests.fakes.kubernetes.resources import Resource
from tests.fakes.kubernetes.routes import Route
from tests.fakes.kubernetes.schema import DecodingError, decode, go_map, prune

_JSON_PATCH, _MERGE, _STRATEGIC, APPLY = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
_READABLE = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")


def media_type(request: Request) -> str:
    return request.header("content-type").partition(";")[0].strip()


def _unknown_format(accepted: tuple[str, ...]) -> errors.ApiError:
    listed = ", ".join(accepted)
    message = f"the body of the request was in an unknown format - accepted media types include: {listed}"
    return errors.failure(415, "UnsupportedMediaType", message)


def _parsed(request: Request, kind: str) -> Any:
    sent = media_type(request) or "application/json"
    if sent not in _READABLE:
        raise _unknown_format(_READABLE)
    if sent == "application/yaml":
        return yaml.safe_load(request.body)
    try:
        return json.loads(request.body)
    except ValueError:
        text = request.body.decode(errors="replace")
        why = f"invalid character '{text.lstrip('{[ ')[:1]}' looking for beginning of object key string ({text[:64]})"
        if not text.strip():
            why = "unexpected end of JSON input (<empty>)"
        raise errors.bad_request(
            f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; "
            f"json parse error: {why}"
        ) from None


def warning(unknown: list[str]) -> dict[str, str]:
    """The header that tells of unknown fields."""
    return {"Warning": ", ".join(f'299 - "unknown field \\"{path}\\""' for path in unknown)} if unknown else {}


def read_object(request: Request, resource: Resource, route: Route) -> tuple[Obj, list[str]]:
    """(the object in the body, the unknown fields that were dropped).

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
    metadata = body.get("metadata")
    if metadata is None:
        metadata = body["metadata"] = {}
    if resource.namespaced and metadata.get("namespace") not in (None, "", route.namespace):
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if route.name and metadata.get("name", route.name) != route.name:
        named = f"({metadata['name']}) does not match the name on the URL ({route.name})"
        raise errors.bad_request(f"the name of the object {named}")
    if not route.name and metadata.get("resourceVersion"):
        raise errors.failure(500, None, "resourceVersion should not be set on objects to be created")
    unknown = prune(resource, body)
    if unknown and request.query.get("fieldValidation") == "Strict":
        listed = ", ".join(f'unknown field "{path}"' for path in unknown)
        raise errors.bad_request(
            f'{kind} in version "{route.version}" cannot be handled as a {kind}: strict decoding error: {listed}'
        )
    try:
        decode(resource, body)
    except DecodingError as error:
        why = f'{kind} in version "{route.version}" cannot be handled as a {kind}: {error}'
        raise errors.bad_request(why) from None
    return body, unknown


def _decoded_patch(request: Request, wanted: type, name: str) -> Any:
    content = json.loads(request.body)
    if not isinstance(content, wanted):
        found = "object" if isinstance(content, dict) else "array"
        raise errors.bad_request(f"error decoding patch: json: cannot unmarshal {found} into Go value of type {name}")
    return content


def _bad_patch(shown: str, why: str) -> errors.ApiError:
    cause = errors.invalid_value("patch", json.dumps(shown), why)
    error = errors.invalid("", "", "", [cause])
    error.status["details"].pop("kind")
    return error


def patched(request: Request, resource: Resource, old: Obj) -> tuple[Obj, list[str]]:
    """(the object as the patch would have it, the unknown fields that were dropped).

    Raises:
        ApiError: 400, 415, 422.
    """
    sent = media_type(request)
    shown = ""
    if sent == _JSON_PATCH:
        new = json_patch(old, _decoded_patch(request, list, "[]handlers.jsonPatchOp"))
    elif sent == _MERGE:
        new = merge_patch(old, _decoded_patch(request, dict, "map[string]interface {}"))
    elif sent == _STRATEGIC and not resource.custom:
        patch = _decoded_patch(request, dict, "map[string]interface {}")
        new, shown = strategic_merge(old, patch), go_map(patch)
    elif resource.custom and sent == _STRATEGIC:
        raise _unknown_format((_JSON_PATCH, _MERGE, APPLY))
    else:
        raise errors.failure(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
    new = copy.deepcopy(new)
    shown = shown or json.dumps(new)
    unknown = [] if new.get("kind") == "Scale" else prune(resource, new)
    if unknown and request.query.get("fieldValidation") == "Strict":
        listed = ", ".join(f'unknown field "{path}"' for path in unknown)
        raise _bad_patch(shown, f"strict decoding error: {listed}")
    try:
        decode(resource, new)
    except DecodingError as error:
        raise _bad_patch(shown, str(error)) from None
    return new, unknown
