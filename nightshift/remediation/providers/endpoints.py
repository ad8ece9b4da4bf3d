"""How a provider is reached and asked: part of a runbook's policy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, HttpUrl, StringConstraints, model_validator

from nightshift.remediation.connections import ConnectionOf, SecretReference
from nightshift.remediation.durations import Seconds
from nightshift.remediation.models import Value

HostName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")]
RequestPath = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9/_.~?=&%-]{0,300}$")]
FilePath = Annotated[str, StringConstraints(pattern=r"^/[^\x00-\x1f]{1,254}$")]
SettingName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,126}$")]


class KeyOnHost(Value):
    """A key in a file of settings (``.env``) on the host that calls: it is read and used there, and never leaves it."""

    file: FilePath
    key: SettingName


class Credential(Value):
    """How a request shows who sends it; exactly one place of the secret."""

    on_host: KeyOnHost | None = None
    """What the program itself uses; the call is then made from its host."""
    secret: SecretReference | None = None
    """The same secret, kept for the worker; the call is then made from the worker."""
    header: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,62}$")] = "Authorization"
    prefix: Annotated[str, StringConstraints(pattern=r"^[A-Za-z ]{0,20}$")] = "Bearer "

    @model_validator(mode="after")
    def _one_place(self) -> Credential:
        if (self.on_host is None) == (self.secret is None):
            raise ValueError("name exactly one of on_host, secret")
        return self


class Endpoint(Value):
    """Where the provider answers, and a harmless request that shows whether our credential counts there."""

    address: HostName
    port: int = Field(default=443, gt=0, lt=65536)
    tls: bool = True
    path: RequestPath | None = None
    """Asked for without a credential: any answer shows that the way is free. null: no request is sent."""
    credential: Credential | None = None
    """null: whether ours is good is not looked at."""
    test_path: RequestPath | None = None
    """Asked for with the credential. It must change nothing and cost next to nothing, as a list of models."""
    host: Annotated[str | None, ConnectionOf("ssh")] = None
    """From where: the host that calls it. null: from the worker."""
    timeout: Seconds = Field(default=10, gt=0, le=60)
    """For each step of the way."""
    trusted_roots: Path | None = None
    """PEM file of the roots to trust, for the worker; null: those of its system. A host trusts its own."""

    @model_validator(mode="after")
    def _complete(self) -> Endpoint:
        if (self.credential is None) != (self.test_path is None):
            raise ValueError("a credential and a test_path belong together")
        if self.credential is not None and self.credential.on_host is not None and self.host is None:
            raise ValueError("a key on a host is used from there: name the host")
        return self


class StatusPage(Value):
    """A page that answers as Statuspage does."""

    url: HttpUrl
    """Without a path: ``/api/v2/status.json`` is asked for."""
    kind: Literal["statuspage"] = "statuspage"
    timeout: Seconds = Field(default=5, gt=0, le=60)
