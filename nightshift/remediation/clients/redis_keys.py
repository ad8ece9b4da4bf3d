"""How many keys have one prefix, and how long they stay: by a bounded SCAN, never KEYS; values are not read."""

from __future__ import annotations

import time
from typing import Any

import redis

from nightshift.remediation.inventory import serves
from nightshift.remediation.signed_requests.facts import KeyTimes

_MOST_KEYS = 50_000
_MOST_ASKED = 500
_SECONDS = 5.0
_BATCH = 1000


@serves(
    "trading_signals.PaymentWebhookFailures: d4",
    "trading_signals.EAPollErrors: d5",
    "trading_signals.general: redis_keys redis_ttl",
)
def key_times(client: redis.Redis, prefix: str) -> KeyTimes:
    """Count and sample the keys with a prefix (``redis.count_keys``, ``redis.key_ttl``).

    Args:
        client: open.
        prefix: of the policy; it holds nothing that SCAN would take for a pattern.
    """
    found: dict[str, None] = {}
    cursor, complete, seen, until = 0, False, 0, time.monotonic() + _SECONDS
    while seen < _MOST_KEYS and time.monotonic() < until:
        answer: Any = client.scan(cursor, match=f"{prefix}*", count=_BATCH)
        cursor, seen = int(answer[0]), seen + _BATCH
        found.update(dict.fromkeys(answer[1]))
        if cursor == 0:
            complete = True
            break
    keys = list(found)
    asked = keys[:: max(1, len(keys) // _MOST_ASKED)]
    pipeline = client.pipeline(transaction=False)
    for key in asked:
        pipeline.ttl(key)
    left = [int(one) for one in pipeline.execute()]
    there = [one for one in left if one != -2]  # those that expired between the two questions say nothing
    return KeyTimes(
        keys=len(keys),
        complete=complete,
        sampled=len(there),
        endless=sum(one == -1 for one in there),
        longest=float(max(there, default=0)),
    )
