"""One request as a user would make it, marked as ours (``http.synthetic_request``).

Follows cryptofunk.VectorSearchNoOperations.d3, without its hazard: it is sent only when all else works, since it may
cost a little and counts as an event.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

import httpx

from nightshift.remediation.activity.facts import SyntheticSeen
from nightshift.remediation.activity.policy import SyntheticRequest
from nightshift.remediation.clients.service_probe import http_connection
from nightshift.remediation.connections import Connection, resolve_secret
from nightshift.remediation.inventory import serves

MARK = "nightshift"


@serves("cryptofunk.VectorSearchNoOperations: d3 d4")
def send_synthetic(rule: SyntheticRequest, connections: Mapping[str, Connection]) -> SyntheticSeen:
    """How it is answered; 404 or 405 tell that its route is not registered. Of the answer only the status is read.

    Raises:
        ConfigurationError: its connection is gone, or its token is.
    """
    connection = http_connection(rule.api, connections)
    headers = {rule.mark: MARK}
    content = None
    if rule.body is not None:
        headers["Content-Type"], content = "application/json", json.dumps(rule.body).encode()
    if connection.token is not None:
        headers["Authorization"] = f"Bearer {resolve_secret(connection.token).get_secret_value()}"
    url, began = str(connection.url).rstrip("/") + rule.path, time.monotonic()
    try:
        with (
            httpx.Client(timeout=connection.timeout, follow_redirects=False) as client,
            client.stream(rule.method, url, content=content, headers=headers) as answer,
        ):
            status, took = answer.status_code, time.monotonic() - began
    except httpx.HTTPError as error:
        return SyntheticSeen(why=f"got no answer ({type(error).__name__})", seconds=time.monotonic() - began)
    return SyntheticSeen(status=status, why="" if 200 <= status < 300 else f"was answered {status}", seconds=took)
