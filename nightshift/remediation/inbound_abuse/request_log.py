"""Who sent what, read from lines of a log. Pure; every line is hostile text.

Addresses are parsed as addresses. A proxy is believed about whom it forwards only where the policy names it. A line
that names two different addresses where one should stand is not believed at all: part of it may be what a client sent.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import takewhile

from nightshift.remediation.inbound_abuse.objects import Address, Source, Traffic
from nightshift.remediation.inbound_abuse.policy import Network, RequestLog
from nightshift.remediation.inventory import serves

_ENDS = re.compile(r"[\s\"'<>{}()|;]")
_MOST_FIELD = 200


def values_after(line: str, marker: str) -> list[str]:
    """What stands after each occurrence of a marker, up to the end of the field."""
    rests = line.split(marker)[1:]
    return [_ENDS.split(rest[:_MOST_FIELD], maxsplit=1)[0].rstrip(",.") for rest in rests]


def parse_address(text: str) -> Address | None:
    """An address, with or without port and brackets, an IPv4 one in IPv6 as what it is; None: it is none."""
    bare = text.strip()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        found = ip_address(bare)
    except ValueError:
        return None
    if isinstance(found, IPv6Address):
        if found.scope_id is not None:
            return None
        return found.ipv4_mapped or found
    return found


def is_in(address: Address, networks: Iterable[Network]) -> bool:
    """Whether one of the networks has this address."""
    return any(address.version == network.version and address in network for network in networks)


def _one_address(line: str, marker: str) -> Address | None:
    """The one address of a line; None: there is none, or several that differ."""
    found = {parse_address(value) for value in values_after(line, marker)}
    return found.pop() if len(found) == 1 else None


def source_of(line: str, log: RequestLog, proxies: Sequence[Network]) -> tuple[Address, bool] | None:
    """Who sent the request of a line, and whether a proxy of ours said so; None: the line does not tell."""
    address = _one_address(line, log.address)
    if address is None or not is_in(address, proxies):
        return None if address is None else (address, False)
    named = values_after(line.replace(", ", ","), log.forwarded) if log.forwarded is not None else []
    if len(named) != 1:
        return None
    listed = list(takewhile(lambda text: "=" not in text, named[0].split(",")))
    for text in reversed(listed):  # the last ones were added by proxies of ours, the first by anybody
        forwarded = parse_address(text)
        if forwarded is None:
            return None
        if not is_in(forwarded, proxies):
            return forwarded, True
    return None


@dataclass
class _Tally:
    events: int = 0
    served: int = 0
    accounts: set[str] = field(default_factory=set)
    forwarded: bool = False


@serves(
    "trading_signals.HighRateLimitRejections: d2 d3",
    "bybit_strategy_tester.HighFailedLoginAttempts: d1 d2",
)
def traffic_in(lines: Iterable[str], log: RequestLog, proxies: Sequence[Network] = ()) -> Traffic:
    """The requests of a log by address: operation ``logs.source_addresses``, of the last minutes only."""
    tallies: dict[Address, _Tally] = defaultdict(_Tally)
    events = unattributed = 0
    hit: Counter[str] = Counter()
    for line in lines:
        is_event = log.event in line
        is_served = not is_event and (log.served is None or log.served in line)
        if not (is_event or is_served):
            continue
        account = _account(line, log)
        events += is_event
        if is_event and account:
            hit[account] += 1
        sent = source_of(line, log, proxies)
        if sent is None:
            unattributed += is_event
            continue
        tally = tallies[sent[0]]
        tally.events += is_event
        tally.served += is_served
        tally.forwarded |= sent[1]
        if is_served and account:
            tally.accounts.add(account)
    sources = [_source(address, tally) for address, tally in tallies.items()]
    sources.sort(key=lambda one: (-one.events, -one.served, one.address.version, int(one.address)))
    return Traffic(sources=tuple(sources), events=events, unattributed=unattributed, hit=dict(hit))


def _account(line: str, log: RequestLog) -> str:
    found = values_after(line, log.account) if log.account is not None else []
    return found[0] if found else ""


def _source(address: Address, tally: _Tally) -> Source:
    return Source(
        address=address,
        events=tally.events,
        served=tally.served,
        accounts=frozenset(tally.accounts),
        forwarded=tally.forwarded,
    )


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address can be somebody's on the internet."""
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)
