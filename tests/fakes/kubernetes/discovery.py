"""Paths outside of the resources: version, health, and which groups and resources there are."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from tests.fakes.kubernetes import errors
from tests.fakes.kubernetes.messages import Answer, Request

_HEALTH = ("/healthz", "/readyz", "/livez")


@cache
def _documents() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(Path(__file__).with_name("discovery.json").read_text())
    return loaded


def answer(request: Request) -> Answer:
    """Raises: ApiError 404, 405."""
    path = request.path.rstrip("/") or "/"
    if path in _HEALTH:
        return Answer(200, "ok")
    found = _documents().get(path)
    if found is not None:
        if request.method != "GET":
            raise errors.method_not_allowed()
        return Answer(200, found)
    if path.startswith("/apis/") and path.count("/") == 3 and f"/apis/{path.split('/')[2]}" in _documents():
        raise errors.no_such_resource()
    raise errors.no_such_path()
