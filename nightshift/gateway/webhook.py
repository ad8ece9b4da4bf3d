"""Alertmanager's webhook, version 4: what is read from a body, and what is refused with which reason.

Labels decide what is done, so they are taken exactly or the alert is refused. Annotations are only for people, so they
are shortened and cleaned: a text that is too long must not silence an alert. Each alert is judged by itself. Nothing
of a refused alert is repeated in a reason. See ``docs/decisions/0010-alerts-that-cannot-be-read.md``.

Reference: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr, ValidationError
from pydantic_core import PydanticCustomError

from nightshift.remediation.errors import PermanentError
from nightshift.remediation.ledger.sources import NAME_LENGTH, RefusedEntry
from nightshift.remediation.models import Alert
from nightshift.remediation.text import printable

MAX_ALERTS = 10_000
MAX_LABELS = 64
MAX_NAME_LENGTH = 256
MAX_LABEL_LENGTH = 4096
MAX_ANNOTATION_LENGTH = 4096
MAX_URL_LENGTH = 4096
_FINGERPRINT = re.compile(r"[0-9A-Za-z]{1,64}")
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")
"""Characters that JSON can spell but PostgreSQL cannot keep: NUL and lone surrogates."""
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(9000, 1, 1, tzinfo=UTC)


class BodyRefusedError(PermanentError):
    """A body that is no webhook of version 4, so that none of it can be used."""

    def __init__(self, status: int, reason: str, message: str, remedy: str) -> None:
        super().__init__(message, remedy=remedy)
        self.status = status
        self.reason = reason
        """A word for metrics."""


@dataclass(frozen=True)
class AlertRefused:
    """One alert that could not be read."""

    index: int
    """Its place in the body, from 0."""
    reason: str
    """A word for metrics: one of :data:`REASONS`."""
    error: str
    """What is wrong, without any of the alert's own text."""
    digest: str = ""
    """The same for the same text again."""
    name: str = ""
    """Its alertname as far as there is one, printable and bounded: for looking it up, not for messages."""
    fingerprint: str | None = None
    """As far as there is a valid one."""

    def entry(self, source: str) -> RefusedEntry:
        """The same for the ledger."""
        return RefusedEntry(source, "alert", self.digest, self.reason, self.error, self.name, self.fingerprint)


@dataclass(frozen=True)
class Delivery:
    """What a body holds."""

    alerts: list[Alert]
    refused: list[AlertRefused]
    withheld: int
    """Alerts that Alertmanager left out, by its ``max_alerts``."""


class _Ambiguous(dict[str, Any]):
    """A JSON object in which a key stands twice: which of the values counts, nobody can say."""


REASONS = {
    "duplicate_key": "a key stands in it twice",
    "not_writable": "a label holds a NUL character or half a surrogate pair",
    "too_many_labels": f"it has more than {MAX_LABELS} labels",
    "label_too_long": f"a label is longer than {MAX_LABEL_LENGTH} characters, or its name than {MAX_NAME_LENGTH}",
    "bad_labels": "its labels are not texts by name",
    "bad_annotations": "its annotations are not texts by name",
    "bad_time": "startsAt is no time with a time zone after 1970",
    "bad_fingerprint": "its fingerprint is not 1 to 64 letters and digits",
    "malformed": "a field is missing or has the wrong type",
}


def _refuse(reason: str) -> PydanticCustomError:
    return PydanticCustomError(reason, "refused")


def _texts(value: Any, reason: str) -> dict[str, str]:
    if isinstance(value, _Ambiguous):
        raise _refuse("duplicate_key")
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise _refuse(reason)
    return value


def _labels(value: Any) -> dict[str, str]:
    labels = _texts(value, "bad_labels")
    if len(labels) > MAX_LABELS:
        raise _refuse("too_many_labels")
    for name, text in labels.items():
        if not name or len(name) > MAX_NAME_LENGTH or len(text) > MAX_LABEL_LENGTH:
            raise _refuse("label_too_long" if name else "bad_labels")
        if _UNWRITABLE.search(name) or _UNWRITABLE.search(text):
            raise _refuse("not_writable")
    return labels


def _annotations(value: Any) -> dict[str, str]:
    annotations = _texts({} if value is None else value, "bad_annotations")
    kept = list(annotations.items())[:MAX_LABELS]
    return {_cleaned(name, MAX_NAME_LENGTH): _cleaned(text, MAX_ANNOTATION_LENGTH) for name, text in kept}


def _cleaned(text: str, limit: int) -> str:
    return _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", text if len(text) <= limit else text[: limit - 1] + "…")


def _address(value: Any) -> str:
    """The generator URL: optional, for people, and often empty."""
    return _cleaned(value, MAX_URL_LENGTH) if isinstance(value, str) else ""


def _fingerprint(value: Any) -> str:
    if not isinstance(value, str) or not _FINGERPRINT.fullmatch(value):
        raise _refuse("bad_fingerprint")
    return value


def _time(value: Any) -> datetime | None:
    """RFC 3339 with up to nanoseconds; None where Alertmanager writes year 1 for "not yet"."""
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError
        return None if moment.year == 1 else moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise _refuse("bad_time") from None


def _start(value: Any) -> datetime:
    moment = _time(value)
    if moment is None or not _EARLIEST <= moment <= _LATEST:
        raise _refuse("bad_time")
    return moment


def _end(value: Any) -> datetime | None:
    """When it ended or will be taken to have ended; for people only, so what cannot be read is left out."""
    try:
        moment = _time(value)
    except PydanticCustomError:
        return None
    return moment if moment is not None and _EARLIEST <= moment <= _LATEST else None


class AlertIdentity(BaseModel):
    """What makes an alert the same one, also where the rest of it cannot be used."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    starts_at: Annotated[datetime, BeforeValidator(_start)] = Field(alias="startsAt")
    fingerprint: Annotated[str, BeforeValidator(_fingerprint)]


class WebhookAlert(AlertIdentity):
    """One alert of a body. Fields that are not known are left alone: later versions add some."""

    status: Literal["firing", "resolved"]
    labels: Annotated[dict[str, str], BeforeValidator(_labels)]
    annotations: Annotated[dict[str, str], BeforeValidator(_annotations)] = {}
    ends_at: Annotated[datetime | None, BeforeValidator(_end)] = Field(default=None, alias="endsAt")
    generator_url: Annotated[str, BeforeValidator(_address)] = Field(default="", alias="generatorURL")

    def alert(self, source: str) -> Alert:
        """The same in the words of the domain."""
        return Alert(
            source=source,
            fingerprint=self.fingerprint,
            status=self.status,
            labels=self.labels,
            annotations=self.annotations,
            starts_at=self.starts_at,
            ends_at=self.ends_at if self.status == "resolved" else None,
            generator_url=self.generator_url,
        )


class ListedAlert(WebhookAlert):
    """The same alert as Alertmanager's API lists it: there ``status`` is an object that tells what silences it."""

    status: Annotated[Literal["firing"], BeforeValidator(lambda _status: "firing")] = "firing"


class Webhook(BaseModel):
    """A body as a whole; its alerts are judged one by one."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    version: Literal["4"]
    receiver: StrictStr = ""
    group_key: StrictStr = Field(default="", alias="groupKey")
    truncated_alerts: StrictInt = Field(default=0, ge=0, alias="truncatedAlerts")
    alerts: list[Any]


def read(body: bytes, source: str) -> Delivery:
    """The alerts of a body, and which were refused and why.

    Raises:
        BodyRefusedError: it is no webhook of version 4.
    """
    webhook = _webhook(decoded(body))
    if len(webhook.alerts) > MAX_ALERTS:
        error = f"The body holds more than {MAX_ALERTS:,} alerts."
        raise BodyRefusedError(
            413, "too_many_alerts", error, "Set max_alerts in Alertmanager's webhook_configs, or group."
        )
    alerts, refused = read_each(webhook.alerts, source, WebhookAlert)
    return Delivery(alerts, refused, webhook.truncated_alerts)


def read_each(values: Iterable[Any], source: str, form: type[WebhookAlert]) -> tuple[list[Alert], list[AlertRefused]]:
    """The alerts that can be read, each judged by itself, and those that are refused and why."""
    alerts: list[Alert] = []
    refused: list[AlertRefused] = []
    for index, value in enumerate(values):
        try:
            if isinstance(value, _Ambiguous):
                raise _refuse("duplicate_key")
            alerts.append(form.model_validate(value).alert(source))
        except PydanticCustomError as error:
            refused.append(_refused(value, index, error.type))
        except ValidationError as error:
            reason = next((e["type"] for e in error.errors(include_input=False) if e["type"] in REASONS), "malformed")
            refused.append(_refused(value, index, reason, _fields(error)))
    return alerts, refused


def _refused(value: Any, index: int, reason: str, fields: str = "") -> AlertRefused:
    """What is kept of an alert that is refused."""
    try:
        text = json.dumps(value, sort_keys=True)
    except RecursionError:
        text = f"too deep, alert {index}"
    digest = hashlib.sha256(text.encode()).hexdigest()
    labels = value.get("labels") if isinstance(value, dict) else None
    name = labels.get("alertname") if isinstance(labels, dict) else None
    fingerprint = value.get("fingerprint") if isinstance(value, dict) else None
    is_valid = isinstance(fingerprint, str) and _FINGERPRINT.fullmatch(fingerprint) is not None
    return AlertRefused(
        index,
        reason,
        REASONS[reason] + fields,
        digest,
        printable(name, NAME_LENGTH) if isinstance(name, str) else "",
        fingerprint if is_valid else None,
    )


def _fields(error: ValidationError) -> str:
    """Our names of the fields that are wrong, never a key of the body."""
    known = {field.alias or name for name, field in WebhookAlert.model_fields.items()}
    names = sorted({str(e["loc"][0]) for e in error.errors(include_input=False) if e["loc"]} & known)
    return f" ({', '.join(names)})" if names else ""


def decoded(body: bytes) -> Any:
    """The value of a JSON body, in which a key that stands twice makes its object ambiguous.

    Raises:
        BodyRefusedError: it is no JSON.
    """
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise BodyRefusedError(400, "not_utf8", "The body is not UTF-8.", _SEND_JSON) from None
    except RecursionError:
        raise BodyRefusedError(400, "too_deep", "The body is nested too deeply.", _SEND_JSON) from None
    except ValueError:
        error = "The body is no JSON: it may be truncated."
        raise BodyRefusedError(400, "not_json", error, _SEND_JSON) from None


_SEND_JSON = "Send the body of an Alertmanager webhook, version 4, unchanged."


def _object(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    pairs = list(pairs)
    unique = dict(pairs)
    return unique if len(unique) == len(pairs) else _Ambiguous(unique)


def _no_constant(_name: str) -> None:
    raise ValueError("NaN and Infinity are no JSON")


def _webhook(value: Any) -> Webhook:
    if not isinstance(value, dict):
        raise BodyRefusedError(422, "not_a_webhook", "The body is no JSON object.", _SEND_JSON)
    if isinstance(value, _Ambiguous):
        raise BodyRefusedError(422, "duplicate_key", "A key stands twice in the body.", _SEND_JSON)
    try:
        return Webhook.model_validate(value)
    except ValidationError as error:
        fields = {str(e["loc"][0]) for e in error.errors(include_input=False)}
        if "version" in fields:
            message = "The body is no webhook of version 4."
            raise BodyRefusedError(422, "wrong_version", message, "Use Alertmanager 0.16 or newer.") from None
        message = f"These fields of the body are missing or have the wrong type: {', '.join(sorted(fields))}."
        raise BodyRefusedError(422, "not_a_webhook", message, _SEND_JSON) from None
