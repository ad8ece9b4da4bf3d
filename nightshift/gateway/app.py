"""The gateway's HTTP side: alerts come in, and Prometheus and orchestrators ask how it is."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import logging
import re
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from nightshift.catalogue import Catalogue
from nightshift.gateway import webhook
from nightshift.gateway.decisions import Decisions
from nightshift.gateway.intake import page_unreadable
from nightshift.gateway.metrics import Metrics
from nightshift.gateway.refusals import RefusedError
from nightshift.gateway.webhook import BodyRefusedError
from nightshift.remediation.errors import ConfigurationError, LedgerUnavailableError
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.sessions import answers_within
from nightshift.remediation.ledger.sources import RefusedEntry
from nightshift.remediation.text import counted
from nightshift.settings import Settings

log = logging.getLogger(__name__)

LEDGER_SECONDS = 5.0
"""Longest wait for the ledger; then 503, and Alertmanager comes again."""
READY_SECONDS = 3.0
"""Longest wait of who asks whether alerts can be taken in."""
BODY_SECONDS = 20.0
"""Longest wait for a body."""
_MOST_WAITING = 16
"""Bodies that may wait for the ledger at the same time; more are told to come again at once."""
_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_SHOWN_REFUSALS = 50
_NOTE_PAUSE_SECONDS = 60.0
"""A body that is refused is written down at most this often for each reason: anybody may send one."""


def create_app(settings: Settings, ledger: Ledger, catalogue: Catalogue, metrics: Metrics | None = None) -> FastAPI:
    """The application.

    Raises:
        ConfigurationError: no webhook token is set, so everybody could send alerts.
    """
    if settings.webhook_token is None or not settings.webhook_token.get_secret_value():
        raise ConfigurationError(
            "There is no webhook token.", remedy="Set NIGHTSHIFT_WEBHOOK_TOKEN, or run `nightshift up`."
        )
    metrics = metrics or Metrics(ledger)
    app = FastAPI(title="Nightshift gateway", docs_url=None, redoc_url=None, openapi_url=None)
    alerts = _Alerts(settings, ledger, metrics)

    app.add_api_route("/alerts", alerts.receive, methods=["POST"], response_model=None)
    decisions = Decisions(ledger, catalogue)
    app.add_api_route("/incidents/{incident}/decision", decisions.decide, methods=["POST"], response_model=None)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @app.get("/readyz", response_model=None)
    def readyz() -> JSONResponse:
        """Alerts can be taken in."""
        try:
            with answers_within(READY_SECONDS):
                ledger.ping()
        except (LedgerUnavailableError, SQLAlchemyError) as error:
            remedy = getattr(error, "remedy", None) or "Start the ledger's PostgreSQL."
            return JSONResponse({"error": "The ledger does not answer or is not migrated.", "remedy": remedy}, 503)
        return JSONResponse({"status": "ready", "systems": len(catalogue.systems)})

    @app.get("/metrics", response_model=None)
    def prometheus() -> Response:
        """For Prometheus."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    _guard(app)
    return app


def _guard(app: FastAPI) -> None:
    """Headers on every answer, and errors in one form that repeats nothing of the request."""

    @app.middleware("http")
    async def headers(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call(request)
        response.headers.update(_HEADERS)
        return response

    @app.exception_handler(RefusedError)
    async def refused(_request: Request, error: RefusedError) -> JSONResponse:
        return error.answer()

    @app.exception_handler(HTTPException)
    async def http(_request: Request, error: HTTPException) -> JSONResponse:
        names = {404: "There is nothing here.", 405: "This method is not allowed here."}
        text = names.get(error.status_code, "The request cannot be answered.")
        return JSONResponse({"error": text, "remedy": "Alerts go to POST /alerts."}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def unexpected(_request: Request, _error: Exception) -> JSONResponse:
        # Logged by the server. 5xx, so that Alertmanager comes again.
        return JSONResponse({"error": "Nightshift itself failed.", "remedy": "See the gateway's log."}, 500, _HEADERS)


class _Alerts:
    """``POST /alerts``: authenticated, bounded, and answered with success only after the commit."""

    def __init__(self, settings: Settings, ledger: Ledger, metrics: Metrics) -> None:
        self._token = (settings.webhook_token.get_secret_value() if settings.webhook_token else "").encode()
        self._max_bytes = settings.max_body_bytes
        self._ledger = ledger
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="alerts")
        self._waiting = 0
        self._noted: dict[str, float] = {}
        """By reason, until when a refusal is not written down again."""

    async def receive(self, request: Request) -> JSONResponse:
        """Take one webhook in."""
        started = time.monotonic()
        try:
            answer = await self._receive(request)
        except RefusedError as refusal:
            self._metrics.bodies_refused.labels(refusal.reason).inc()
            log.warning("a webhook was refused", extra={"reason": refusal.reason, "status": refusal.status})
            answer = refusal.answer()
            self._note(refusal, request)
        self._metrics.request_seconds.labels(str(answer.status_code)).observe(time.monotonic() - started)
        return answer

    def _note(self, refusal: RefusedError, request: Request) -> None:
        """Let the ledger know of a body that was refused as a whole, at most once a minute for each reason.

        Also when the sender is nobody we know: an Alertmanager with a wrong token is a reason why nothing happens.
        """
        if refusal.status >= 500 or time.monotonic() < self._noted.get(refusal.reason, 0.0):
            return
        self._noted[refusal.reason] = time.monotonic() + _NOTE_PAUSE_SECONDS
        source = request.query_params.get("source", "alertmanager")
        known = source if refusal.status != 401 and _SOURCE.fullmatch(source) else ""
        entry = RefusedEntry(known, "body", refusal.reason, refusal.reason, refusal.error)
        future = asyncio.get_running_loop().run_in_executor(self._threads, self._ledger.sources.refused, [entry])
        future.add_done_callback(_complain)

    async def _receive(self, request: Request) -> JSONResponse:
        self._authenticate(request)
        source = self._source(request)
        body = await self._body(request, source)
        answer: JSONResponse = await self._in_thread(self._take, body, source)
        return answer

    def _authenticate(self, request: Request) -> None:
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        given = credentials.strip().encode()
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(given, validate=True).partition(b":")[2]
            except binascii.Error:
                given = b""
        elif scheme.lower() != "bearer":
            given = b""
        if not hmac.compare_digest(given, self._token):
            raise RefusedError(
                401,
                "unauthenticated",
                "The request carries no valid token.",
                "Send the webhook token as bearer token, or as password of basic auth.",
                WWW_Authenticate='Bearer realm="nightshift", Basic realm="nightshift"',
            )

    def _source(self, request: Request) -> str:
        source = request.query_params.get("source", "alertmanager")
        if not _SOURCE.fullmatch(source):
            raise RefusedError(
                400, "bad_source", "The source is no name.", "Use letters, digits, dots, dashes; 63 characters at most."
            )
        return source

    async def _body(self, request: Request, source: str) -> bytes:
        """The body, read no further than is allowed, whatever its length claims to be."""
        declared = request.headers.get("content-length", "0")
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                if declared.isascii() and declared.isdigit() and len(declared) < 19 and int(declared) > self._max_bytes:
                    raise await self._too_large(source)
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > self._max_bytes:
                        raise await self._too_large(source)
        except TimeoutError:
            raise RefusedError(408, "slow_body", "The body did not come in time.", "Send it again.") from None
        except ClientDisconnect:
            raise RefusedError(400, "cut_off", "The connection ended before the body did.", "Send it again.") from None
        return bytes(body)

    async def _too_large(self, source: str) -> RefusedError:
        # Alertmanager does not send a body again that was too large, so a person must know.
        await self._in_thread(
            self._page, source, "Alertmanager sent a body that is too large; its alerts are not known."
        )
        remedy = f"Send at most {self._max_bytes:,} bytes: set max_alerts in Alertmanager's webhook_configs, or group."
        return RefusedError(413, "too_large", "The body is too large.", remedy, Connection="close")

    async def _in_thread(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Run what needs the ledger, and wait for it only so long.

        Raises:
            RefusedError: with 503, when the ledger does not answer in time. What it still does later does no harm:
                the same alerts again are the same rows.
        """
        if self._waiting >= _MOST_WAITING:
            raise _unavailable("overloaded")
        self._waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)
        future.add_done_callback(self._done)
        try:
            return await asyncio.wait_for(asyncio.shield(future), LEDGER_SECONDS)
        except (TimeoutError, DBAPIError, SQLAlchemyError) as error:
            log.warning("alerts could not be written", extra={"cause": type(error).__name__})
            raise _unavailable("ledger_unavailable") from None

    def _done(self, future: asyncio.Future[Any]) -> None:
        self._waiting -= 1
        if not future.cancelled():
            future.exception()  # seen: nobody may be waiting for it any more

    def _take(self, body: bytes, source: str) -> JSONResponse:
        try:
            delivery = webhook.read(body, source)
        except BodyRefusedError as refusal:
            self._page(source, f"Alertmanager sent a body that is no webhook: {refusal.message}")
            remedy = refusal.remedy or ""
            raise RefusedError(refusal.status, refusal.reason, refusal.message, remedy) from None
        self._ledger.inbox.accept(delivery.alerts)
        self._metrics.alerts_accepted.inc(len(delivery.alerts))
        if delivery.withheld:
            self._metrics.alerts_withheld.inc(delivery.withheld)
            left_out = "Alertmanager left alerts out of a body, by its max_alerts."
            self._ledger.sources.refused([RefusedEntry(source, "withheld", "withheld", "withheld", left_out)])
            self._page(source, f"Alertmanager left out {counted(delivery.withheld, 'alert')} (max_alerts).")
        if not delivery.refused:
            return JSONResponse({"accepted": len(delivery.alerts)}, 202)
        return self._partly(delivery, source)

    def _partly(self, delivery: webhook.Delivery, source: str) -> JSONResponse:
        """Some alerts could not be read: the others are safe by now, and people and Alertmanager get to know."""
        self._ledger.sources.refused([refusal.entry(source) for refusal in delivery.refused])
        for refusal in delivery.refused:
            self._metrics.alerts_refused.labels(refusal.reason).inc()
        shown = [
            {"index": refusal.index, "reason": refusal.reason, "error": refusal.error}
            for refusal in delivery.refused[:_SHOWN_REFUSALS]
        ]
        number = counted(len(delivery.refused), "alert")
        log.warning("alerts were refused", extra={"source": source, "refused": shown})
        details = "; ".join(f"alert {refusal['index']}: {refusal['error']}" for refusal in shown[:5])
        self._page(source, f"{number} of {len(delivery.refused) + len(delivery.alerts)} could not be read: {details}.")
        content = {
            "error": f"{number} of this body cannot be read; the others were taken in.",
            "remedy": "See 'refused' for each of them. Nightshift has paged a person about them.",
            "accepted": len(delivery.alerts),
            "refused": shown,
        }
        return JSONResponse(content, 422)

    def _page(self, source: str, summary: str) -> None:
        page_unreadable(self._ledger, source, summary)


def _complain(future: asyncio.Future[Any]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        log.warning("a refusal could not be written down", extra={"cause": type(error).__name__})


def _unavailable(reason: str) -> RefusedError:
    return RefusedError(
        503, reason, "The ledger does not answer.", "Send it again; the same alerts twice do no harm.", Retry_After="5"
    )
