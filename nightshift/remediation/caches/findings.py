"""What a look at a Redis server says, for people. Names of keys are hostile, and values are never read."""

from __future__ import annotations

from collections.abc import Iterator

from nightshift.remediation.caches.content import Content, why_unsafe
from nightshift.remediation.caches.objects import RedisLook
from nightshift.remediation.durations import format_duration
from nightshift.remediation.models import Finding, format_bytes
from nightshift.remediation.text import counted, printable

_MOST = 5


def findings_of(look: RedisLook, content: Content) -> tuple[Finding, ...]:
    """Most telling first."""
    return tuple(_findings(look, content))


def in_words(look: RedisLook) -> str:
    """One look as a line for people."""
    limit = format_bytes(look.maxmemory) if look.maxmemory else "no limit"
    memory = f"{format_bytes(look.used)} used of {limit}, {printable(look.policy, 40)}"
    ratio = look.hit_ratio
    if ratio is None:
        return memory
    return f"{ratio:.0%} of {look.lookups:,} lookups found their key, {look.evicted:,} keys thrown out; {memory}"


def _findings(look: RedisLook, content: Content) -> Iterator[Finding]:
    yield Finding(title=in_words(look)[:1].upper() + in_words(look)[1:], troubling=look.memory_used_up)
    if look.loading:
        yield Finding(title=f"It reads its data from disk: {look.loaded_percent:.0f} %", troubling=True)
    if look.persistence_trouble:
        title = f"It takes no writes: {look.persistence_trouble}"
        yield Finding(title=title, detail="see the disk of its host", troubling=True)
    if (unsafe := why_unsafe(look.policy, look, content)) is not None:
        yield Finding(title="Its eviction policy is not safe for what lives in it", detail=unsafe, troubling=True)
    if look.hit_ratio is not None and look.lifetime_ratio is not None:
        yield Finding(
            title=f"Since its start {look.lifetime_ratio:.0%} of the lookups found their key",
            detail=f"started {format_duration(look.uptime)} ago; this number hardly moves",
        )
    kept = "keeps its data on disk" if look.persistent else "keeps nothing on disk: a restart empties it"
    yield Finding(title=f"Redis {printable(look.version, 20)}, {look.role}, {kept}")
    for prefix in look.prefixes[:_MOST]:
        yield Finding(
            title=f"{printable(prefix.name, 80)}: {counted(prefix.keys, 'key')}, {content.kind_of(prefix).value}",
            detail=f"{format_bytes(prefix.size)} measured of {counted(look.sampled, 'key')} looked at; "
            f"{prefix.expiring:,} measured ones have a time to live",
        )
    for key in look.big_keys:
        yield Finding(title=f"A large value: {printable(key.name, 80)}, {format_bytes(key.size)}")
    for slow in sorted(look.slow, key=lambda one: -one.milliseconds)[:3]:
        yield Finding(title=f"Slow: {printable(slow.command, 40)}, {slow.milliseconds:,.0f} ms")
