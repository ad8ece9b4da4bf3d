"""A look at connections as findings for people. Pure."""

from __future__ import annotations

from nightshift.remediation.databases.backends import in_groups
from nightshift.remediation.databases.pool_cause import (
    blockers,
    leak_in_words,
    leaks,
    long_statements,
    open_transactions,
)
from nightshift.remediation.databases.pool_policy import ConnectionPoolPolicy
from nightshift.remediation.databases.pool_use import PoolLook, uses
from nightshift.remediation.durations import format_duration
from nightshift.remediation.models import Finding
from nightshift.remediation.text import counted, listed, printable

_MOST = 5


def findings_of(look: PoolLook, policy: ConnectionPoolPolicy) -> tuple[Finding, ...]:
    """How full, by whom, and what holds connections; no statement with its values."""
    server, found = look.server, list[Finding]()
    found += [
        Finding(title=f"{use}, {use.percent:.0f} %", troubling=use.percent >= policy.alert_used_percent)
        for use in uses(look, policy)
    ]
    if server.hidden:
        title = f"{counted(server.hidden, 'session')} cannot be seen: the account lacks pg_monitor"
        found.append(Finding(title=title, troubling=True))
    for blocker in blockers(server, policy):
        who = (
            f"session {blocker.backend.pid} of {blocker.backend.name}" if blocker.backend else "a prepared transaction"
        )
        title = f"{counted(blocker.waiting, 'session')} wait for {who}, up to {format_duration(blocker.longest)}"
        found.append(Finding(title=title, detail=blocker.backend.query if blocker.backend else "", troubling=True))
    if open_ones := open_transactions(server, policy):
        found.append(Finding(title=f"Idle in transaction: {counted(len(open_ones), 'session')}", troubling=True))
    for one in sorted(long_statements(server, policy), key=lambda one: -one.query_age)[:_MOST]:
        title = f"{one.name} ({one.pid}) runs a statement for {format_duration(one.query_age)}"
        found.append(Finding(title=title, detail=one.query, troubling=True))
    for leak in leaks(look, policy):
        found.append(Finding(title=leak_in_words(leak, look), troubling=True))
    if look.metrics_silent:
        title = "What the applications say of their pools is not known"
        found.append(Finding(title=title, detail=look.metrics_silent, troubling=True))
    if look.pooler_silent:
        found.append(Finding(title="The pooler does not answer", detail=look.pooler_silent, troubling=True))
    for pool in look.pooler:
        if pool.clients_waiting or pool.paused:
            name = printable(f"{pool.database}/{pool.user}", 120)
            waits = f"{counted(pool.clients_waiting, 'client')} wait, up to {format_duration(pool.longest_wait)}"
            found.append(Finding(title=f"Pooler {name}: {'paused, ' * pool.paused}{waits}", troubling=True))
    groups = sorted(in_groups(server.clients).values(), key=len, reverse=True)
    shown = [f"{group[0].name} {len(group)}" for group in groups]
    return (*found, Finding(title="Connections by application", detail=listed(shown, 10)))
