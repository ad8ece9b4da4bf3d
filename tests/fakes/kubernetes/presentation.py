"""Objects and lists as a client asked to see them: version, metadata only, table, YAML."""

from __future__ import annotations

import json
import re

import yaml

from tests.fakes.kubernetes import errors
from tests.fakes.kubernetes.messages import Answer, Request
from tests.fakes.kubernetes.objects import Obj
from tests.fakes.kubernetes.resources import EVENTS, Resource
from tests.fakes.kubernetes.routes import Route

_SERVED = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")
_ENDPOINTS_WARNING = '299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"'
_FORMS = ("Table", "PartialObjectMetadataList", "PartialObjectMetadata")
_PLAIN = re.compile(r"[A-Za-z][\w./-]*|[0-9][\w./-]*[A-Za-z_-][\w./-]*")
_COLUMNS = [
    {"name": name, "type": "string", "format": form, "description": "", "priority": 0}
    for name, form in (("Name", "name"), ("Age", ""))
]


class _Yaml(yaml.SafeDumper):
    """Quotes as the real server does."""


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    plain = bool(_PLAIN.fullmatch(text)) and text.lower() not in ("true", "false", "yes", "no", "on", "off", "null")
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Yaml.add_representer(str, _quoted)


def _asked_as(request: Request) -> str:
    accept = request.header("accept")
    return next((kind for kind in _FORMS if f"as={kind};" in accept), "")


def check_accept(request: Request) -> None:
    """Raises: ApiError 406."""
    accepted = [part.partition(";")[0].strip() for part in request.header("accept").split(",")]
    if not any(a in ("", "*/*", "application/*", *_SERVED) for a in accepted):
        message = f"406: Not Acceptable\n\nAvailable representations: {', '.join(_SERVED)}"
        raise errors.failure(406, "NotAcceptable", message, {})


def metadata_only(obj: Obj) -> Obj:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def _table(metadata: Obj, objects: list[Obj]) -> Obj:
    rows = [{"cells": [o["metadata"]["name"], "0s"], "object": metadata_only(o)} for o in objects]
    body: Obj = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
    return {**body, "columnDefinitions": _COLUMNS, "rows": rows}


def _new_event(event: Obj) -> Obj:
    """A core/v1 Event as events.k8s.io/v1 tells it."""
    told: Obj = {"kind": "Event", "apiVersion": "events.k8s.io/v1", "metadata": event["metadata"]}
    names = {
        "eventTime": "eventTime",
        "reportingController": "reportingComponent",
        "reportingInstance": "reportingInstance",
        "action": "action",
        "reason": "reason",
        "regarding": "involvedObject",
        "note": "message",
        "type": "type",
        "deprecatedSource": "source",
        "deprecatedFirstTimestamp": "firstTimestamp",
        "deprecatedLastTimestamp": "lastTimestamp",
        "deprecatedCount": "count",
        "series": "series",
    }
    return told | {new: event[old] for new, old in names.items() if old in event}


def _old_autoscaler(scaler: Obj) -> Obj:
    """An autoscaling/v2 HorizontalPodAutoscaler as v1 tells it: what v1 has no field for goes into annotations."""
    metadata, spec, status = dict(scaler["metadata"]), dict(scaler["spec"]), dict(scaler["status"])
    metrics = spec.pop("metrics", None) or []
    for metric in metrics:
        target = metric.get("resource", {}).get("target", {})
        if metric.get("resource", {}).get("name") == "cpu" and "averageUtilization" in target:
            spec["targetCPUUtilizationPercentage"] = target["averageUtilization"]
    prefix = "autoscaling.alpha.kubernetes.io"
    annotations = dict(metadata.get("annotations") or {})
    for key, value in (
        ("conditions", status.pop("conditions", None)),
        ("current-metrics", status.pop("currentMetrics", None)),
        ("behavior", spec.pop("behavior", None)),
    ):
        if value:
            annotations[f"{prefix}/{key}"] = json.dumps(value, separators=(",", ":"))
    if annotations:
        metadata["annotations"] = annotations
    return {**scaler, "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status}


def converted(request: Request, resource: Resource, route: Route, obj: Obj) -> Obj:
    """One object, in the version and form asked for."""
    if _asked_as(request) == "PartialObjectMetadata":
        return metadata_only(obj)
    if _asked_as(request) == "Table":
        return _table({"resourceVersion": obj["metadata"]["resourceVersion"]}, [obj])
    if resource is EVENTS and route.group == "events.k8s.io":
        return _new_event(obj)
    if route.version != resource.versions[0]:
        return _old_autoscaler(obj)
    return obj


def _deprecation(resource: Resource) -> dict[str, str]:
    return {"Warning": _ENDPOINTS_WARNING} if resource.plural == "endpoints" else {}


def shown(
    request: Request, resource: Resource, route: Route, obj: Obj, code: int = 200, headers: dict[str, str] | None = None
) -> Answer:
    """The answer with one object."""
    body = converted(request, resource, route, obj)
    headers = {**_deprecation(resource), **(headers or {})}
    if request.header("accept").startswith("application/yaml"):
        return Answer(code, yaml.dump(body, Dumper=_Yaml), headers, "application/yaml")
    return Answer(code, body, headers)


def listed(request: Request, resource: Resource, route: Route, metadata: Obj, found: list[Obj]) -> Answer:
    """The answer with a list. Items of built-in kinds carry neither kind nor apiVersion."""
    if _asked_as(request) == "Table":
        return Answer(200, _table(metadata, found))
    if _asked_as(request) == "PartialObjectMetadataList":
        body: Obj = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
        return Answer(200, {**body, "metadata": metadata, "items": [metadata_only(o) for o in found] or None})
    items = [converted(request, resource, route, o) for o in found]
    if resource.custom:
        metadata.setdefault("continue", "")
    else:
        items = [{k: v for k, v in o.items() if k not in ("kind", "apiVersion")} for o in items]
    group = f"{route.group}/" if route.group else ""
    body = {"kind": f"{resource.kind}List", "apiVersion": f"{group}{route.version}"}
    return Answer(200, {**body, "metadata": metadata, "items": items}, _deprecation(resource))
