"""Asking a provider: how far one gets, whether our credential counts there, and what it says of itself.

Operations ``external_api.health``, ``external_api.test_call``, ``external_api.status_page``, ``credentials.verify``
and ``network.probe``. Nothing here changes anything, and no credential is in an answer, an error or a log.
"""

from __future__ import annotations

from typing import Any, Literal

import httpx
from pydantic import BaseModel, ValidationError

from nightshift.remediation.actions import Connections
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe.asking import ask
from nightshift.remediation.clients.host_probe.script import reaching
from nightshift.remediation.clients.host_probe.script.wire import Refused
from nightshift.remediation.connections import LocalConnection, SshConnection, resolve_secret
from nightshift.remediation.errors import AuthenticationError, CommandFailedError, ConfigurationError
from nightshift.remediation.providers.endpoints import Credential, Endpoint, StatusPage
from nightshift.remediation.providers.facts import ProviderStatus, Reached
from nightshift.remediation.text import printable

WORKER = "the worker"
_STEPS = 4
"""Of the way: the name, the connection, TLS, the request."""
_MOST_BYTES = 64 * 1024
_MOST_REDIRECTS = 3


class NoCredentialError(AuthenticationError):
    """There is no credential where the program's own should be; nothing was sent."""


class _Status(BaseModel):
    indicator: Literal["none", "minor", "major", "critical", "maintenance"]
    description: str = ""


class _Page(BaseModel):
    status: _Status


def probe(endpoint: Endpoint, connections: Connections) -> Reached:
    """How far one gets from the place that the endpoint names: name, connection, TLS, and a request where it has one.

    Raises:
        NightshiftError: the host from which it is tried cannot be used; that says nothing about the provider.
    """
    return _reached(endpoint, connections, endpoint.path, None)


def try_credential(endpoint: Endpoint, connections: Connections) -> Reached | None:
    """How the harmless request with our credential is answered; None: there is none to make.

    Raises:
        NoCredentialError: there is none where the program's own should be; nothing was sent.
        NightshiftError: as :func:`probe`.
    """
    if endpoint.credential is None:
        return None
    return _reached(endpoint, connections, endpoint.test_path, endpoint.credential)


def status_of(page: StatusPage) -> ProviderStatus:
    """What the provider says of itself; a page that cannot be read is no statement about it."""
    url = f"{str(page.url).rstrip('/')}/api/v2/status.json"
    try:
        with (
            httpx.Client(timeout=page.timeout, follow_redirects=True, max_redirects=_MOST_REDIRECTS) as client,
            client.stream("GET", url, headers={"Accept": "application/json"}) as answer,
        ):
            if answer.status_code != 200:
                return ProviderStatus(indicator=None, complaint=f"it answers with status {answer.status_code}")
            body = b""
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > _MOST_BYTES:
                    return ProviderStatus(indicator=None, complaint="its answer is too long for a status")
        said = _Page.model_validate_json(body).status
    except httpx.HTTPError as error:
        return ProviderStatus(indicator=None, complaint=f"it does not answer: {type(error).__name__}")
    except ValidationError:
        return ProviderStatus(indicator=None, complaint="it does not answer as a status page")
    return ProviderStatus(indicator=said.indicator, description=printable(said.description, 200))


def _reached(endpoint: Endpoint, connections: Connections, path: str | None, credential: Credential | None) -> Reached:
    request: dict[str, Any] = {
        "host": endpoint.address,
        "port": endpoint.port,
        "tls": endpoint.tls,
        "server_name": endpoint.address,
        "path": path,
        "timeout": endpoint.timeout,
        "credential": None,
    }
    if credential is not None and credential.secret is not None:
        secret = resolve_secret(credential.secret).get_secret_value()
        request["credential"] = {"secret": secret, "header": credential.header, "prefix": credential.prefix}
        return _from_worker(endpoint, request)
    if credential is not None and credential.on_host is not None:
        kept = {"file": credential.on_host.file, "key": credential.on_host.key}
        request["credential"] = {**kept, "header": credential.header, "prefix": credential.prefix}
    if endpoint.host is None:
        return _from_worker(endpoint, request)
    connection = connections.get(endpoint.host)
    if not isinstance(connection, SshConnection | LocalConnection):
        raise ConfigurationError(f"There is no host {endpoint.host!r} in the catalogue any more.")
    what = f"reach {printable(endpoint.address)}"
    with open_host(endpoint.host, connection) as host:
        try:
            answer = ask(host, what, "reach", seconds=_STEPS * endpoint.timeout, **request)
        except AuthenticationError as error:
            raise NoCredentialError(str(error)) from None
    return _parsed(endpoint.host, answer)


def _from_worker(endpoint: Endpoint, request: dict[str, Any]) -> Reached:
    roots = str(endpoint.trusted_roots) if endpoint.trusted_roots else None
    try:
        return _parsed(WORKER, reaching.reach({**request, "trusted_roots": roots}))
    except Refused as refused:
        raise CommandFailedError(f"Could not reach {printable(endpoint.address)}: {refused.reason}.") from None


def _parsed(place: str, answer: Any) -> Reached:
    try:
        reached = Reached.model_validate({"place": place, **answer})
    except (TypeError, ValidationError):
        raise CommandFailedError(f"{place} gave an answer that is not the probe's.") from None
    return reached.model_copy(update={"why": printable(reached.why)})
