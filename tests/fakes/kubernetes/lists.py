"""Lists: selectors, pages, versions, and the metadata-only and table forms."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable

from tests.fakes.kubernetes import errors
from tests.fakes.kubernetes.objects import Obj, labels_of
from tests.fakes.kubernetes.resources import CLAIMS, EVENTS, Resource
from tests.fakes.kubernetes.selectors import field_selector, label_selector
from tests.fakes.kubernetes.store import Store

_MATCHES = ("Exact", "NotOlderThan", "")


def integer(value: str) -> int:
    """Raises: ApiError 400 as Go's strconv words it."""
    if not re.fullmatch(r"[+-]?\d+", value):
        raise errors.bad_request(f'strconv.ParseInt: parsing "{value}": invalid syntax')
    if abs(int(value)) >= 2**63:
        raise errors.bad_request(f'strconv.ParseInt: parsing "{value}": value out of range')
    return int(value)


def matcher(resource: Resource, query: dict[str, str]) -> Callable[[Obj], bool]:
    """Both selectors of a request as one question.

    Raises:
        ApiError: 400.
    """
    by_label = label_selector(query.get("labelSelector", ""))
    plain = resource is CLAIMS
    fields = resource.selectable
    text = query.get("fieldSelector", "")
    if resource is EVENTS and "regarding." in text and query.get("group") == "events.k8s.io":
        text = text.replace("regarding.", "involvedObject.")
    by_field = field_selector(text, fields, plain)
    return lambda obj: by_label(labels_of(obj)) and by_field(obj)


def _go_character(byte: int) -> str:
    return f"'\\u{byte:04x}'" if byte < 32 or 127 <= byte < 160 else f"'{chr(byte)}'"


def _read_token(token: str) -> tuple[int, str]:
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        content = json.loads(raw)
    except (ValueError, UnicodeDecodeError):
        first = _go_character(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))[0])
        message = f"continue key is not valid: invalid character {first} looking for beginning of value"
        raise errors.bad_request(f"invalid continue token: {message}") from None
    return content["rv"], content["start"]


def _token(version: int, last: Obj) -> str:
    start = f"{last['metadata'].get('namespace', '')}/{last['metadata']['name']}\0"
    content = json.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": start}, separators=(",", ":"))
    return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def _check_version_options(query: dict[str, str], current: int) -> None:
    version, match = query.get("resourceVersion", ""), query.get("resourceVersionMatch", "")
    field = "resourceVersionMatch"
    cause: errors.Cause | None = None
    if match and not version:
        cause = errors.forbidden_value(field, f"{field} is forbidden unless resourceVersion is provided")
    elif match not in _MATCHES:
        cause = errors.unsupported(field, f'"{match}"', _MATCHES)
    elif match == "Exact" and version == "0":
        cause = errors.forbidden_value(field, f'{field} "exact" is forbidden for resourceVersion "0"')
    if cause is not None:
        raise errors.invalid("ListOptions", "meta.k8s.io", "", [cause])
    if version and not version.isdecimal():
        why = f'resourceVersion: Invalid value: "{version}": strconv.ParseUint: parsing "{version}": invalid syntax'
        raise errors.bad_request(f"invalid resource version: {why}")
    if version and int(version) > current:
        raise too_large(int(version), current)


def too_large(version: int, current: int) -> errors.ApiError:
    """What a version of the future is answered with."""
    message = f"Too large resource version: {version}, current: {current}"
    details: Obj = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    return errors.failure(504, "Timeout", f"Timeout: {message}", details, {"Retry-After": "1"})


_STALE = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


def _start(store: Store, query: dict[str, str]) -> tuple[int, str]:
    """(version the list is taken at, key after which it starts)."""
    version, match = query.get("resourceVersion", ""), query.get("resourceVersionMatch", "")
    if token := query.get("continue"):
        if version not in ("", "0"):
            raise errors.bad_request("specifying resource version is not allowed when using continue")
        at, after = _read_token(token)
        if at == -1:
            return store.version, after
        if at < store.compacted:
            fresh = json.dumps({"v": "meta.k8s.io/v1", "rv": -1, "start": after}, separators=(",", ":"))
            raise errors.expired(_STALE, base64.urlsafe_b64encode(fresh.encode()).decode().rstrip("="))
        return at, after
    _check_version_options(query, store.version)
    if match == "Exact":
        if int(version) < store.compacted:
            raise errors.expired("The resourceVersion for the provided list is too old.")
        return int(version), ""
    return store.version, ""


def list_objects(store: Store, resource: Resource, namespace: str, query: dict[str, str]) -> tuple[Obj, list[Obj]]:
    """(metadata of the list, objects of this page).

    Raises:
        ApiError: 400, 410 (the version asked for is compacted), 422, 504 (a version of the future).
    """
    limit = integer(query["limit"]) if query.get("limit") else 0
    if query.get("timeoutSeconds"):
        integer(query["timeoutSeconds"])
    matches = matcher(resource, query)
    version, after = _start(store, query)
    current = version == store.version
    objects = store.all(resource.id, namespace) if current else store.snapshot(resource.id, namespace, version)
    if after:
        objects = [o for o in objects if f"{o['metadata'].get('namespace', '')}/{o['metadata']['name']}\0" > after]
    found = [o for o in objects if matches(o)]
    metadata: Obj = {"resourceVersion": str(version)}
    if query.get("resourceVersion") == "0":
        limit = 0
    if limit > 0 and len(found) > limit:
        metadata["continue"] = _token(version, found[limit - 1])
        if not query.get("labelSelector") and not query.get("fieldSelector"):
            metadata["remainingItemCount"] = len(found) - limit
        found = found[:limit]
    return metadata, found
