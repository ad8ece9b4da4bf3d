"""The Status bodies a Kubernetes API server answers with, word for word as recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tests.fakes.kubernetes.objects import Obj


class Cause(NamedTuple):
    """One entry of ``details.causes``."""

    reason: str
    message: str
    field: str | None = None


class ApiError(Exception):
    """An answer that is not a success.

    ``body`` is a Status object, or text where the real server answers plain text.
    """

    def __init__(self, code: int, body: Obj | str, headers: dict[str, str] | None = None) -> None:
        super().__init__(code, body)
        self.code = code
        self.body = body
        self.headers = headers or {}

    @property
    def message(self) -> str:
        return self.body if isinstance(self.body, str) else str(self.body["message"])

    @property
    def status(self) -> Obj:
        """The Status object, where there is one."""
        return {} if isinstance(self.body, str) else self.body


def failure(
    code: int,
    reason: str | None,
    message: str,
    details: Obj | None = None,
    headers: dict[str, str] | None = None,
) -> ApiError:
    body: Obj = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    if reason:
        body["reason"] = reason
    if details is not None:
        body["details"] = details
    body["code"] = code
    return ApiError(code, body, headers)


def _named(name: str, group: str, kind: str) -> Obj:
    details: Obj = {}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    details["kind"] = kind
    return details


def qualified(plural: str, group: str) -> str:
    return f"{plural}.{group}" if group else plural


def not_found(plural: str, group: str, name: str) -> ApiError:
    message = f'{qualified(plural, group)} "{name}" not found'
    return failure(404, "NotFound", message, _named(name, group, plural))


def no_such_resource() -> ApiError:
    return failure(404, "NotFound", "the server could not find the requested resource", {})


def no_such_path() -> ApiError:
    return ApiError(404, "404 page not found\n")


def already_exists(plural: str, group: str, name: str) -> ApiError:
    message = f'{qualified(plural, group)} "{name}" already exists'
    return failure(409, "AlreadyExists", message, _named(name, group, plural))


def conflict(plural: str, group: str, name: str, why: str) -> ApiError:
    message = f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}'
    return failure(409, "Conflict", message, _named(name, group, plural))


def modified(plural: str, group: str, name: str) -> ApiError:
    why = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(plural, group, name, why)


def bad_request(message: str) -> ApiError:
    return failure(400, "BadRequest", message)


def forbidden(plural: str, group: str, name: str, why: str) -> ApiError:
    subject = qualified(plural, group) + (f' "{name}"' if name else "")
    return failure(403, "Forbidden", f"{subject} is forbidden: {why}", _named(name, group, plural))


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> ApiError:
    shown = [f"{c.field}: {c.message}" for c in dict.fromkeys(causes)]
    text = shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"
    details = _named(name, group, kind)
    details["causes"] = [{"reason": c.reason, "message": c.message, "field": c.field} for c in causes]
    return failure(422, "Invalid", f'{qualified(kind, group)} "{name}" is invalid: {text}', details)


def method_not_allowed() -> ApiError:
    return failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def expired(message: str, continue_token: str | None = None) -> ApiError:
    error = failure(410, "Expired", message)
    if continue_token is not None:
        error.status["metadata"] = {"continue": continue_token}
    return error


def invalid_value(field: str, value: str, why: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {value}: {why}", field)


def required(field: str, why: str = "") -> Cause:
    return Cause("FieldValueRequired", "Required value" + (f": {why}" if why else ""), field)


def unsupported(field: str, value: str, supported: Sequence[str]) -> Cause:
    allowed = ", ".join(f'"{s}"' for s in supported)
    return Cause("FieldValueNotSupported", f"Unsupported value: {value}: supported values: {allowed}", field)


def forbidden_value(field: str, why: str) -> Cause:
    return Cause("FieldValueForbidden", f"Forbidden: {why}", field)


def success(name: str, group: str, kind: str, uid: str) -> Any:
    details = _named(name, group, kind)
    details["uid"] = uid
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
