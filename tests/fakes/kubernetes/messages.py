"""One request and its answer, free of HTTP details."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.kubernetes.access import User
from tests.fakes.kubernetes.objects import Obj

JSON = "application/json"


@dataclass(frozen=True)
class Request:
    """As it came in; ``body`` is raw."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    user: User

    def header(self, name: str) -> str:
        return self.headers.get(name.lower(), "")

    @property
    def is_watch(self) -> bool:
        return self.query.get("watch", "").lower() in ("true", "1")


@dataclass
class Answer:
    """``body`` is an object, text, or the events of a watch, one by one (None: nothing new, look whether to stop)."""

    code: int
    body: Obj | str | Iterator[Obj | None]
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = ""

    def encoded(self) -> bytes:
        if isinstance(self.body, str):
            return self.body.encode()
        return json.dumps(self.body, separators=(",", ":")).encode() + b"\n"

    def media_type(self) -> str:
        if self.content_type:
            return self.content_type
        return "text/plain; charset=utf-8" if isinstance(self.body, str) else JSON


def truth(value: Any) -> bool:
    return str(value).lower() in ("true", "1")
