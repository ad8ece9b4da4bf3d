"""What lives in a Redis server, and what may therefore be thrown out of it.

Sessions, nonces, idempotency keys and queues are not a cache: an evicted nonce lets a payment be replayed, an evicted
queue loses tasks. ``volatile-*`` spares only keys without a time to live, and nonces usually have one; so it is safe
only where every key that must stay has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from nightshift.remediation.caches.objects import BROKER_PREFIX, Prefix, RedisLook
from nightshift.remediation.models import Value
from nightshift.remediation.text import listed, printable

POLICIES = (
    "noeviction",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
)


class Kind(StrEnum):
    """What keys are."""

    CACHE = "cache"
    """Can be computed again: may go at any time."""
    SESSION = "session"
    NONCE = "nonce"
    IDEMPOTENCY = "idempotency"
    QUEUE = "queue"
    OTHER = "other"
    """Not known: must stay."""


class Content(Value):
    """What lives in a server, by the beginnings of its keys; what nobody named must stay."""

    prefixes: dict[Annotated[str, StringConstraints(min_length=1, max_length=100)], Kind] = Field(default={})
    """``"cache:": cache``, ``"session:": session``, ``"nonce:": nonce``, …; the longest that fits counts."""

    def kind_of(self, prefix: Prefix) -> Kind:
        """What keys that begin so are; those of a broker always are a queue."""
        if prefix.name.startswith((BROKER_PREFIX, "unacked", "celery")):
            return Kind.QUEUE
        named = [name for name in self.prefixes if prefix.name.startswith(name)]
        return self.prefixes[max(named, key=len)] if named else Kind.OTHER

    @property
    def declares_more_than_cache(self) -> bool:
        """Whether keys are named that must stay, there at this moment or not; or nothing is named at all."""
        return not self.prefixes or any(kind is not Kind.CACHE for kind in self.prefixes.values())


def must_stay(look: RedisLook, content: Content) -> tuple[Prefix, ...]:
    """The sampled prefixes that are no cache."""
    return tuple(prefix for prefix in look.prefixes if content.kind_of(prefix) is not Kind.CACHE)


def is_only_a_cache(look: RedisLook, content: Content) -> bool:
    """Whether everything in it may go: by what is declared and by what was seen."""
    return not content.declares_more_than_cache and not must_stay(look, content)


def why_unsafe(policy: str, look: RedisLook, content: Content) -> str | None:
    """Why this eviction policy may throw out what must stay; None: it does not."""
    if policy == "noeviction" or is_only_a_cache(look, content):
        return None
    staying = must_stay(look, content)
    what = in_words(staying, content) if staying else "keys that are declared to be no cache"
    if policy.startswith("allkeys-"):
        return f"{policy} throws out any key, also of {what}"
    expiring = [prefix for prefix in staying if prefix.expiring]
    if expiring or not staying:
        seen = in_words(expiring, content) if expiring else what
        return f"{policy} throws out keys with a time to live, and so have {seen}"
    return None


def in_words(prefixes: Iterable[Prefix], content: Content) -> str:
    """``nonce: (nonce), session: (session) and 2 more``."""
    named = [f"{printable(prefix.name, 60)} ({content.kind_of(prefix).value})" for prefix in prefixes]
    return listed(named, 3)
