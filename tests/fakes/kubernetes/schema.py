"""What fields an object may have and of what type, from the models of the official client."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime
from functools import cache
from typing import Any

from kubernetes import client
from tests.fakes.kubernetes.objects import Obj
from tests.fakes.kubernetes.quantities import amount
from tests.fakes.kubernetes.resources import Resource

_MODELS = {"HorizontalPodAutoscaler": "V2HorizontalPodAutoscaler", "Event": "CoreV1Event"}
_QUANTITIES = ("limits", "requests", "hard", "capacity", "allocatable", "used")
_MICRO = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{6})?(.*)")
_INTEGER = re.compile(r"[+-]?\d+")

_CUSTOM_FIELDS: dict[str, frozenset[str]] = {
    "Certificate": frozenset(
        (
            *(
                "additionalOutputFormats",
                "commonName",
                "dnsNames",
                "duration",
                "emailAddresses",
                "encodeUsagesInRequest",
            ),
            *("ipAddresses", "isCA", "issuerRef", "keystores", "literalSubject", "nameConstraints", "otherNames"),
            *("privateKey", "renewBefore", "renewBeforePercentage", "revisionHistoryLimit", "secretName"),
            *("secretTemplate", "signatureAlgorithm", "subject", "uris", "usages"),
        )
    ),
}


class DecodingError(Exception):
    """The text says what is wrong, as Go does."""


@cache
def _model(name: str) -> tuple[dict[str, str], dict[str, str]] | None:
    """(type by attribute, attribute by JSON field) of a model."""
    found = getattr(client, name, None)
    if found is None:
        return None
    return found.openapi_types, {json: attribute for attribute, json in found.attribute_map.items()}


def prune(resource: Resource, obj: Obj) -> list[str]:
    """Drop unknown fields from ``obj`` in place; their paths."""
    if resource.custom:
        known = _CUSTOM_FIELDS.get(resource.kind)
        spec = obj.get("spec")
        odd = [k for k in spec if known and k not in known] if isinstance(spec, dict) else []
        for field in odd:
            del obj["spec"][field]
        return [f"spec.{field}" for field in odd]
    unknown: list[str] = []
    _prune(_MODELS.get(resource.kind, f"V1{resource.kind}"), obj, "", unknown)
    return unknown


def _prune(model: str, value: Any, path: str, unknown: list[str]) -> None:
    if found := re.fullmatch(r"list\[(.+)\]", model):
        for i, item in enumerate(value if isinstance(value, list) else []):
            _prune(found[1], item, f"{path}[{i}]", unknown)
    elif found := re.fullmatch(r"dict\(str, (.+)\)", model):
        for key, item in (value if isinstance(value, dict) else {}).items():
            _prune(found[1], item, f"{path}.{key}", unknown)
    elif (fields := _model(model)) is not None and isinstance(value, dict):
        types, attributes = fields
        for field in list(value):
            below = f"{path}.{field}" if path else field
            if field not in attributes:
                unknown.append(below)
                del value[field]
            else:
                _prune(types[attributes[field]], value[field], below, unknown)


def decode(resource: Resource, obj: Obj) -> None:
    """Check types and write times and quantities as the server keeps them, in place.

    Raises:
        DecodingError: a value is not what its field wants.
    """
    _quantities(obj)
    replicas = (obj.get("spec") or {}).get("replicas") if isinstance(obj.get("spec"), dict) else None
    if isinstance(replicas, str):
        raise DecodingError("unrecognized type: int32")
    if resource.kind == "ConfigMap":
        for value in (obj.get("data") or {}).values():
            if not isinstance(value, str):
                found = "bool" if isinstance(value, bool) else "number" if isinstance(value, (int, float)) else "object"
                raise DecodingError(
                    f"json: cannot unmarshal {found} into Go struct field ConfigMap.data of type string"
                )
    elif resource.kind == "Secret":
        _secret(obj)
    elif resource.kind == "Lease" and isinstance(obj.get("spec"), dict):
        for field in ("acquireTime", "renewTime"):
            if obj["spec"].get(field) is not None:
                obj["spec"][field] = _micro_time(obj["spec"][field])


def _quantities(value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _quantities(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key in _QUANTITIES and isinstance(item, dict):
                for quantity in item.values():
                    try:
                        amount(quantity)
                    except ValueError as error:
                        raise DecodingError(str(error)) from None
            else:
                _quantities(item)


def _secret(obj: Obj) -> None:
    for value in (obj.get("data") or {}).values():
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error:
            good = len((re.match(r"[A-Za-z0-9+/]*", value) or [""])[0])
            raise DecodingError(f"illegal base64 data at input byte {good}") from None
    plain = obj.pop("stringData", None)
    if plain:
        coded = {k: base64.b64encode(v.encode()).decode() for k, v in plain.items()}
        obj["data"] = {**(obj.get("data") or {}), **coded}


def _micro_time(text: str) -> str:
    found = _MICRO.fullmatch(text)
    if found is None or found[2] is None:
        rest = found[3] if found else text
        layout = "2006-01-02T15:04:05.000000Z07:00"
        raise DecodingError(f'parsing time "{text}" as "{layout}": cannot parse "{rest}" as ".000000"')
    at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    assert at.utcoffset() is not None
    return (at - at.utcoffset()).strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # type: ignore[operator]


def go_map(value: Any) -> str:
    """As Go prints a ``map[string]interface{}``."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{k}:{go_map(v)}" for k, v in sorted(value.items())) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(go_map, value)) + "]"
    return "<nil>" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
