"""Sends an alert as Alertmanager does, and waits for what intake concludes.

References: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config (version 4) and, for the
fingerprint, ``labelSetToFingerprint`` of github.com/prometheus/common, ``model/signature.go``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
from sqlalchemy import Row

from nightshift.remediation.errors import AuthenticationError, ConfigurationError, PermanentError, TemporaryError
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.text import printable
from nightshift.settings import Settings

SOURCE = "command-line"
"""What stands in the ledger as the sender of alerts that came straight to the gateway."""
_NOT_ENDED = "0001-01-01T00:00:00Z"
_LOOK_AGAIN_SECONDS = 0.1
_FNV_OFFSET, _FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3


class GatewayUnreachableError(TemporaryError):
    """What should take the alert does not answer."""


class AlertRefusedError(PermanentError):
    """The alert was not taken."""


@dataclass(frozen=True)
class FiredAlert:
    """An alert as a person fires it."""

    labels: dict[str, str]
    annotations: dict[str, str] = field(default_factory=dict)
    resolved: bool = False

    @property
    def fingerprint(self) -> str:
        """As Alertmanager names it: FNV-1a over the sorted labels, so that both paths lead to the same alert."""
        parts = sorted(self.labels.items())
        hashed = b"".join(name.encode() + b"\xff" + value.encode() + b"\xff" for name, value in parts)
        digest = _FNV_OFFSET
        for byte in hashed:
            digest = (digest ^ byte) * _FNV_PRIME % 2**64
        return f"{digest:016x}"

    def webhook(self, starts_at: datetime, ends_at: datetime | None) -> dict[str, Any]:
        """The body of version 4 with this alert alone."""
        status = "resolved" if self.resolved else "firing"
        name = self.labels.get("alertname", "")
        one = {
            "status": status,
            "labels": self.labels,
            "annotations": self.annotations,
            "startsAt": _written(starts_at),
            "endsAt": _written(ends_at) if ends_at else _NOT_ENDED,
            "generatorURL": "",
            "fingerprint": self.fingerprint,
        }
        return {
            "version": "4",
            "groupKey": f'{{}}:{{alertname="{name}"}}',
            "truncatedAlerts": 0,
            "status": status,
            "receiver": "nightshift",
            "groupLabels": {"alertname": name},
            "commonLabels": self.labels,
            "commonAnnotations": self.annotations,
            "externalURL": "",
            "alerts": [one],
        }


@dataclass(frozen=True)
class Sent:
    """What became of an alert."""

    fingerprint: str
    note: str | None = None
    """What intake concluded; None: it has not looked yet."""
    incident: int | None = None

    def for_programs(self) -> dict[str, Any]:
        """As JSON."""
        return {"fingerprint": self.fingerprint, "note": self.note, "incident": self.incident}


def send(settings: Settings, ledger: Ledger, alert: FiredAlert, *, alertmanager: str = "", wait_seconds: float) -> Sent:
    """Send it, and wait at most so long for intake.

    Args:
        settings: where the gateway is, and its token.
        ledger: where intake writes what it concluded.
        alert: what to send.
        alertmanager: URL of an Alertmanager to send it to instead, which sends it on.
        wait_seconds: how long to wait.

    Raises:
        GatewayUnreachableError: nobody answers there.
        AlertRefusedError: it was not taken; with the reason.
        AuthenticationError: the token is not the gateway's.
        ConfigurationError: no token is known, or the alert to resolve was never fired.
    """
    source = "alertmanager" if alertmanager else SOURCE
    before = ledger.inbox.latest(source, alert.fingerprint)
    now = datetime.now(UTC)
    starts_at = _start_of_fired(before) if alert.resolved else now
    if alertmanager:
        _to_alertmanager(alertmanager, alert, starts_at, now)
    else:
        _to_gateway(settings, alert.webhook(starts_at, now if alert.resolved else None))
    give_up_at = time.monotonic() + wait_seconds
    while True:
        row = ledger.inbox.latest(source, alert.fingerprint)
        if row is not None and row.taken_in and _version(row) != _version(before):
            return Sent(alert.fingerprint, row.note, row.incident_id)
        if time.monotonic() >= give_up_at:
            return Sent(alert.fingerprint)
        time.sleep(_LOOK_AGAIN_SECONDS)


def _start_of_fired(before: Row[Any] | None) -> datetime:
    if before is None:
        raise ConfigurationError(
            "No alert with exactly these labels was fired before, so there is none to resolve.",
            remedy="Give the same labels and severity as when it was fired.",
        )
    starts_at: datetime = before.starts_at
    return starts_at


def _version(row: Row[Any] | None) -> tuple[Any, ...] | None:
    return (row.starts_at, row.deliveries) if row is not None else None


def _to_gateway(settings: Settings, body: dict[str, Any]) -> None:
    if settings.webhook_token is None:
        raise ConfigurationError(
            "There is no webhook token.", remedy="Run `nightshift up`, or set NIGHTSHIFT_WEBHOOK_TOKEN."
        )
    token = settings.webhook_token.get_secret_value()
    answer = _post(
        f"{settings.gateway_url}/alerts",
        body,
        remedy="Run `nightshift up`; `nightshift status` shows what runs.",
        params={"source": SOURCE},
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
    )
    if answer.status_code == 401:
        raise AuthenticationError(
            "The gateway does not take the webhook token of these settings.",
            remedy="`nightshift down` and `nightshift up` give both the same.",
        )
    if not answer.is_success:
        error, remedy = _complaint(answer)
        raise AlertRefusedError(f"The gateway did not take the alert ({answer.status_code}): {error}", remedy=remedy)


def _to_alertmanager(url: str, alert: FiredAlert, starts_at: datetime, now: datetime) -> None:
    one = {"labels": alert.labels, "annotations": alert.annotations, "startsAt": _written(starts_at)}
    if alert.resolved:
        one["endsAt"] = _written(now)
    answer = _post(
        f"{url.removesuffix('/')}/api/v2/alerts",
        [one],
        remedy="Give its URL as http://host:9093, with its path prefix.",
    )
    if not answer.is_success:
        raise AlertRefusedError(
            f"The Alertmanager did not take the alert ({answer.status_code}): {printable(answer.text.strip(), 300)}",
            remedy="See its documentation of POST /api/v2/alerts.",
        )


def _post(url: str, body: object, *, remedy: str, **options: Any) -> httpx.Response:
    shown = printable(url)
    try:
        return httpx.post(url, json=body, timeout=15, **options)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise ConfigurationError(f"'{shown}' is no URL.", remedy=remedy) from None
    except httpx.HTTPError as error:
        raise GatewayUnreachableError(f"{shown} does not answer: {type(error).__name__}.", remedy=remedy) from None


def _complaint(answer: httpx.Response) -> tuple[str, str | None]:
    """What the gateway says is wrong, and its remedy; of one alert alone its own reason tells more."""
    try:
        content = answer.json()
        refused = content.get("refused") or [content]
        return printable(str(refused[0]["error"]), 400), printable(str(content["remedy"]), 400)
    except (ValueError, AttributeError, KeyError, TypeError):
        return "it gave no reason.", None


def _written(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
