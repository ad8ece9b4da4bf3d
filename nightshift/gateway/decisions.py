"""``POST /incidents/{id}/decision``: a person with a personal token decides about a plan they have seen.

The token comes first: without a valid one, nobody learns whether an incident exists.
"""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Literal

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import ClientDisconnect

from nightshift.catalogue import Catalogue
from nightshift.catalogue.deciding import decide, parts_of
from nightshift.gateway.refusals import RefusedError
from nightshift.remediation.decisions import Decision, NotTaken, Why
from nightshift.remediation.identity import CodeKey, Identification, NotIdentifiedError
from nightshift.remediation.ledger import Ledger

MOST_BYTES = 16 * 1024
"""Of a body: a digest, a word and a comment fit in many times."""
SECONDS = 10.0
"""Longest wait for a body, and for the ledger."""
_MOST_WAITING = 16
"""Requests that may be looked at or wait for it; more are told to come again. Each takes 19 MiB while it is."""
_STATUS = {
    Why.NOT_IDENTIFIED: 401,
    Why.CODE_USED: 401,
    Why.NOT_PROVEN: 403,
    Why.WRONG_ROLE: 403,
    Why.REQUESTER: 403,
    Why.NO_RULE: 403,
    Why.NEVER_ASKED: 404,
    Why.REPLACED: 409,
    Why.DECIDED: 409,
    Why.SAID_ALREADY: 409,
    Why.TOO_LATE: 410,
    Why.NO_ALTERNATIVE: 422,
    Why.TOO_MANY_FAILURES: 429,
}
_BEARER = 'Bearer realm="nightshift"'


class Answer(BaseModel):
    """The body."""

    model_config = ConfigDict(extra="forbid", strict=True)

    digest: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """Of the plan, in full: exactly this one."""
    decision: Literal["approve", "deny"]
    comment: Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00]*$")] = ""
    alternative: Annotated[int, Field(ge=1, le=9)] | None = None
    """Of the plan, by its number: approve this one instead."""


class Decisions:
    """Authenticated, bounded, and answered only after the commit."""

    def __init__(self, ledger: Ledger, catalogue: Catalogue) -> None:
        self._ledger = ledger
        self._catalogue = catalogue
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="decisions")
        self._waiting = 0

    async def decide(self, incident: str, request: Request) -> JSONResponse:
        """Take one answer.

        Raises:
            RefusedError: with the status that fits.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        body = await _body(request)
        if self._waiting >= _MOST_WAITING:
            raise _unavailable()
        self._waiting += 1
        call = asyncio.get_running_loop().run_in_executor(
            self._threads, self._decide, incident, token.strip() if scheme.lower() == "bearer" else "", body
        )
        call.add_done_callback(self._done)
        try:
            content = await asyncio.wait_for(asyncio.shield(call), SECONDS)
        except (TimeoutError, SQLAlchemyError):
            raise _unavailable() from None
        return JSONResponse(content)

    def _done(self, call: asyncio.Future[Any]) -> None:
        self._waiting -= 1
        if not call.cancelled():
            call.exception()  # seen: nobody may be waiting for it any more

    def _decide(self, incident: str, token: str, body: bytes) -> dict[str, Any]:
        number = int(incident) if incident.isascii() and incident.isdigit() and len(incident) < 19 else 0
        row = self._ledger.incidents.get(number)
        try:
            identification = Identification(self._ledger, CodeKey(None), number if row is not None else None)
            who = identification.by_token(token, "HTTP")
        except NotIdentifiedError as error:
            raise _refusal(error.why, str(error), error.retry_after) from None
        answer = _read(body)
        if row is None:
            raise RefusedError(404, "no_incident", "There is no such incident.", "See `nightshift incidents list`.")
        system, runbook = parts_of(self._catalogue, row.system, row.runbook)
        decision = Decision.of(who, answer.decision == "approve", answer.comment, alternative=answer.alternative)
        refused = decide(self._ledger, system, runbook, number, answer.digest, decision)
        if isinstance(refused, NotTaken):
            raise _refusal(refused.why, refused.text)
        asked = [one for one in self._ledger.approvals.of(number) if one.digest == answer.digest][-1]
        approval = self._ledger.approvals.chosen_instead(asked) or asked
        progress = self._ledger.approvals.progress(approval)
        return {"status": approval.status, "approvals": len(progress.approved_by), "needed": progress.needed}


def _read(body: bytes) -> Answer:
    try:
        answer = Answer.model_validate_json(body)
        answer.comment.encode()
    except (ValidationError, UnicodeEncodeError):
        raise RefusedError(
            422,
            "bad_decision",
            "The body is no decision.",
            'Send JSON: {"digest": the 64 digits of the plan, "decision": "approve" or "deny", "comment": text}.',
        ) from None
    return answer


async def _body(request: Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST_BYTES:
                    remedy = f"Send at most {MOST_BYTES:,} bytes."
                    raise RefusedError(413, "too_large", "The body is too large.", remedy, Connection="close")
    except TimeoutError:
        raise RefusedError(408, "slow_body", "The body did not come in time.", "Send it again.") from None
    except ClientDisconnect:
        raise RefusedError(400, "cut_off", "The connection ended before the body did.", "Send it again.") from None
    return bytes(body)


def _refusal(why: Why, text: str, retry_after: float | None = None) -> RefusedError:
    status = _STATUS[why]
    headers = {"WWW_Authenticate": _BEARER} if status == 401 else {}
    if retry_after is not None:
        headers["Retry_After"] = str(math.ceil(retry_after))
    return RefusedError(
        status, why.value, text, "See `nightshift incidents show`, or ask who runs Nightshift.", **headers
    )


def _unavailable() -> RefusedError:
    error = "The decision may not have been taken: the ledger does not answer."
    return RefusedError(503, "ledger_unavailable", error, "Send it again; the same twice counts once.", Retry_After="5")
