"""What control planes before v1.34 answer otherwise than the recorded one: seen in their API types, not recorded.

``metadata.creationTimestamp`` was written as null where there is none, as in every pod template; pods had no
generation, and nobody counted the pods of a Deployment that are just ending.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.fakes.kubernetes.messages import Answer
from tests.fakes.kubernetes.objects import Obj

OLDER = "v1.33.0"


def as_before_v1_34(answer: Answer) -> Answer:
    """The same answer, as an older control plane gives it."""
    body: Any = answer.body
    if isinstance(body, dict):
        return replace(answer, body=_older(body, str(body.get("kind", ""))))
    return replace(answer, body=_events(body)) if isinstance(body, Iterator) else answer


def _events(events: Iterator[Obj | None]) -> Iterator[Obj | None]:
    for event in events:
        told = event["object"] if event is not None else {}
        yield event if event is None else {**event, "object": _older(told, str(told.get("kind", "")))}


def _older(body: Obj, kind: str) -> Obj:
    if "gitVersion" in body:
        return {**body, "gitVersion": OLDER, "minor": OLDER.split(".")[1]}
    if isinstance(body.get("items"), list):
        return {**body, "items": [_older(item, kind.removesuffix("List")) for item in body["items"]]}
    if kind == "Pod":
        return _pod(body)
    if kind == "ControllerRevision":
        return {**body, "data": _templated(body["data"])}
    return _templated(body)


def _templated(body: Obj) -> Obj:
    """With the null of its pod template; what is a template of something else stays as it is."""
    template = (body.get("spec") or {}).get("template")
    if not isinstance(template, dict) or "spec" not in template:
        return body
    metadata = {"creationTimestamp": None, **template.get("metadata", {})}
    older = {**body, "spec": {**body["spec"], "template": {**template, "metadata": metadata}}}
    if "status" in older:
        older["status"] = {key: value for key, value in older["status"].items() if key != "terminatingReplicas"}
    return older


def _pod(body: Obj) -> Obj:
    metadata = {key: value for key, value in body["metadata"].items() if key != "generation"}
    status = {key: value for key, value in (body.get("status") or {}).items() if key != "observedGeneration"}
    if "conditions" in status:
        status["conditions"] = [
            {key: value for key, value in one.items() if key != "observedGeneration"} for one in status["conditions"]
        ]
    return {**body, "metadata": metadata, "status": status}
