"""The Alertmanagers that alerts come from, as the setting ``NIGHTSHIFT_ALERTMANAGERS`` names them.

A JSON object: the source's name (``?source=`` of its webhook, ``alertmanager`` where it has none) → its URL, or an
object with ``url`` and what else it takes, or a list of either for the members of one cluster.
"""

from __future__ import annotations

import json
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, StringConstraints, model_validator

SOURCE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
RECEIVER = "nightshift"
"""Name of our receiver in an Alertmanager's configuration, unless the setting says otherwise."""


class AlertmanagerAddress(BaseModel):
    """How one Alertmanager's API is reached. Its secrets show in no message and no representation."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str
    """Without credentials; with its route prefix, if it has one."""
    user: str = Field(default="", repr=False)
    password: SecretStr | None = None
    """For basic auth; may stand in the URL: ``https://user:password@host``."""
    token: SecretStr | None = None
    """Bearer token."""
    receiver: str | None = None
    """Name of our receiver there; null: ``nightshift``, or the only one there is."""

    @model_validator(mode="before")
    @classmethod
    def _from_url(cls, value: Any) -> Any:
        fields = dict(value) if isinstance(value, dict) else {"url": value}
        if not isinstance(fields.get("url"), str):
            return fields
        try:
            parts = urlsplit(fields["url"])
            _ = parts.port
        except ValueError:
            raise ValueError("the URL of an Alertmanager cannot be read") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("write the URL of an Alertmanager such as http://alertmanager:9093")
        if parts.username is not None:
            fields.setdefault("user", unquote(parts.username))
            fields.setdefault("password", unquote(parts.password or ""))
        host = parts.netloc.rpartition("@")[2]
        fields["url"] = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        return fields


def _several(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


AlertSources = dict[
    Annotated[str, StringConstraints(pattern=SOURCE_NAME)],
    Annotated[tuple[AlertmanagerAddress, ...], BeforeValidator(_several), Field(min_length=1, max_length=16)],
]
"""The members of each source's cluster, usually one, by the source's name."""


def as_setting(sources: AlertSources) -> str:
    """The value of the setting that says the same, with its secrets: only for places that may hold them."""
    return json.dumps({name: [_told(member) for member in members] for name, members in sources.items()})


def _told(member: AlertmanagerAddress) -> dict[str, str]:
    told = {"url": member.url, "user": member.user, "receiver": member.receiver}
    told |= {"password": _revealed(member.password), "token": _revealed(member.token)}
    return {name: value for name, value in told.items() if value}


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None
