"""Signed requests read from lines of a log: what was refused, whose, and how far clocks are apart. Pure.

Each line begins with the time at which the engine got it, in its own form; the rest is hostile text.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median

from nightshift.remediation.inbound_abuse.request_log import values_after
from nightshift.remediation.inventory import serves
from nightshift.remediation.signed_requests.facts import Device, SignedTraffic
from nightshift.remediation.signed_requests.policy import SignedLog

_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?Z ")
_NUMBER = re.compile(r"\d{9,13}(\.\d{1,9})?")
_MILLISECONDS = 1e11
_MOST_DEVICES = 20_000


@dataclass
class _Tally:
    requests: int = 0
    invalid: int = 0
    skews: list[float] = field(default_factory=list)


@serves("trading_signals.PaymentWebhookFailures: d1 d2 d5", "trading_signals.EAPollErrors: d2 d4")
def signed_traffic(lines: Iterable[str], log: SignedLog) -> SignedTraffic:
    """Requests, invalid signatures, replays and clocks, by device."""
    requests = invalid = replays = timeouts = 0
    tallies: dict[str, _Tally] = defaultdict(_Tally)
    skews: list[float] = []
    for line in lines:
        is_invalid, is_replay = log.invalid in line, log.replay in line
        is_timeout = log.timeout is not None and log.timeout in line
        if not (is_invalid or is_replay or is_timeout or log.request in line):
            continue
        requests += 1
        invalid += is_invalid
        replays += is_replay
        timeouts += is_timeout
        skew = _skew(line, log)
        if skew is not None:
            skews.append(skew)
        device = _only(line, log.device)
        if device and (device in tallies or len(tallies) < _MOST_DEVICES):
            tally = tallies[device]
            tally.requests += 1
            tally.invalid += is_invalid
            if skew is not None:
                tally.skews.append(skew)
    devices = [
        Device(
            name=name,
            requests=tally.requests,
            invalid=tally.invalid,
            skew=median(tally.skews) if tally.skews else None,
        )
        for name, tally in tallies.items()
    ]
    devices.sort(key=lambda one: (-one.invalid, -one.requests, one.name))
    return SignedTraffic(
        requests=requests,
        invalid=invalid,
        replays=replays,
        timeouts=timeouts,
        devices=tuple(devices),
        skews=tuple(skews),
    )


def _only(line: str, marker: str | None) -> str:
    """The one value of a field; empty: there is none, or several that differ."""
    found = set(values_after(line, marker)) if marker is not None else set()
    return found.pop() if len(found) == 1 else ""


def _skew(line: str, log: SignedLog) -> float | None:
    """Seconds by which the server's clock was ahead of the client's; with the way of the request in it."""
    stamp, sent = _STAMP.match(line), _only(line, log.sent)
    if stamp is None or not _NUMBER.fullmatch(sent):
        return None
    got = datetime.fromisoformat(f"{stamp[1]}+00:00").timestamp() + float(stamp[2] or 0)
    said = float(sent)
    return got - (said / 1000 if said > _MILLISECONDS else said)
