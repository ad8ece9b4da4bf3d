"""Connections that run out: what may be done about it, the least harmful first. A pure function of one look.

Covers cryptofunk.DatabaseConnectionPoolExhausted.r1-r2 and DatabaseConnectionPoolCritical.r1-r2,
trading_signals.DatabaseConnectionPoolExhausted.r1-r3, bybit_strategy_tester.ConnectionPoolExhausted.r1-r3 and
octollm.DatabaseConnectionPoolExhausted.r1-r5.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from nightshift.remediation.compose.deciding import repair
from nightshift.remediation.compose.objects import ServiceLook
from nightshift.remediation.databases.backends import ACTIVE, Backend, in_groups, why_untouchable
from nightshift.remediation.databases.pool_cause import (
    Blocker,
    Leak,
    Need,
    blockers,
    leak_in_words,
    leaks,
    long_statements,
    open_transactions,
)
from nightshift.remediation.databases.pool_policy import ConnectionPoolPolicy, ServiceRestart, WorkloadRestart
from nightshift.remediation.databases.pool_use import (
    PoolerPool,
    PoolLook,
    fullest,
    in_words,
    is_exhausted,
    is_full,
    is_stuck,
    waiting_at_pooler,
)
from nightshift.remediation.databases.pooler_size import keep_it, larger_pools
from nightshift.remediation.databases.session_plans import (
    Ending,
    cancel_queries,
    end_sessions,
    is_plain,
    reconnect,
)
from nightshift.remediation.databases.sizing import size_proposal
from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.kubernetes.objects import Workload
from nightshift.remediation.kubernetes.restarting import restart
from nightshift.remediation.models import Action, Plan, Proposal, Refusal, Target
from nightshift.remediation.text import counted, printable, sql_name

RESTART_SECONDS = 60.0
"""A container may take so long to work again."""
NOTHING_TO_DO = "Nothing to do: connections are free"


@dataclass(frozen=True, kw_only=True)
class PoolDiagnosis:
    """Everything the planner gets to know."""

    look: PoolLook
    needs: tuple[Need, ...] = ()
    workloads: tuple[Workload, ...] = ()
    """Those that the pools of the policy name, as far as they could be read."""
    services: tuple[ServiceLook, ...] = ()
    """Services of Docker Compose that the policy names, as far as they could be read."""
    cancelled: Collection[str] = ()
    """Statements (:attr:`Backend.statement`) that this incident has cancelled already."""
    reconnected: bool = False
    """Whether this incident has let the pooler connect anew."""


@dataclass
class _Draft:
    """Collects a plan; a session that one cause has taken is not taken by the next."""

    target: Target
    diagnosis: PoolDiagnosis
    policy: ConnectionPoolPolicy
    actions: list[Action] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    larger: Action | None = None
    """A larger pool of the pooler, for when nobody is to blame."""

    def free_to_take(self, backends: Iterable[Backend], why: str) -> list[Backend]:
        """Those that may be touched; of the others it is said why not."""
        kept = []
        for one in backends:
            if one.identity in self.taken:
                continue
            self.taken.add(one.identity)
            reason = why_untouchable(one, self.diagnosis.look.server.database, self.policy.never)
            if reason is None:
                kept.append(one)
            else:
                what = f"Session {one.pid} of {one.name}, which {why}"
                self.refusals.append(Refusal(what=what, reason=reason, lifted_by="a person who knows it"))
        return kept

    def capped(self, backends: Sequence[Backend], of: str) -> Sequence[Backend]:
        """As many as one plan takes of one application."""
        most = self.policy.most_sessions
        if len(backends) > most:
            what = f"{counted(len(backends) - most, 'further session')} of {of}"
            self.refusals.append(
                Refusal(what=what, reason=f"one plan ends {most} of one application", lifted_by="most_sessions")
            )
        return backends[:most]


def plan_pool_relief(
    target: Target, diagnosis: PoolDiagnosis, policy: ConnectionPoolPolicy, *, force: bool = False
) -> Plan:
    """What may be done so that connections are free again, and what only people can do.

    Args:
        target: the database.
        diagnosis: one look, and what is needed to judge it.
        policy: limits.
        force: a repair was begun already, and is brought to its end.
    """
    look = diagnosis.look
    if not is_exhausted(look, policy) and not force:
        return _nothing_seen(target, look, policy)
    draft = _Draft(target, diagnosis, policy)
    if look.server.hidden:
        _ask_for_sight(draft)
    _unstick_pooler(draft)
    _relieve_blocked(draft)
    _end_open_transactions(draft)
    _cancel_long_statements(draft)
    _stop_leaks(draft)
    if draft.larger is not None and not draft.actions:
        draft.actions.append(draft.larger)
        draft.proposals.append(keep_it(draft.larger))
    draft.proposals += [size_proposal(need, look.server) for need in diagnosis.needs]
    if not (draft.actions or draft.refusals or draft.proposals):
        draft.proposals.append(_load(draft))
    limit = f"{policy.target_used_percent:g} %"
    return Plan(
        goal=f"Free connections of {printable(target.part('database'))}: {in_words(look, policy)}",
        target=target,
        actions=tuple(draft.actions),
        refusals=tuple(draft.refusals),
        proposals=tuple(draft.proposals),
        expected=f"The server and every pool below {limit} in use for {format_duration(policy.hold)}, nobody blocked.",
    )


def _nothing_seen(target: Target, look: PoolLook, policy: ConnectionPoolPolicy) -> Plan:
    """Sessions that do nothing are no sign of free connections where an application's own count is not known."""
    if not look.metrics_silent:
        return Plan(goal=NOTHING_TO_DO, target=target, expected=in_words(look, policy))
    reason = f"what the applications say of their pools is not known: {printable(look.metrics_silent, 300)}"
    unseen = Refusal(what="Calling connections free", reason=reason, lifted_by="metrics that can be read")
    return Plan(goal=f"Tell whether connections are free: {in_words(look, policy)}", target=target, refusals=(unseen,))


@serves("cryptofunk.DatabaseConnectionPoolCritical: r1.1")
def _relieve_blocked(draft: _Draft) -> None:
    """The root of a chain alone: cancelled first; its session is ended only when that did not help, or cannot."""
    for blocker in blockers(draft.diagnosis.look.server, draft.policy):
        if blocker.backend is None:
            draft.proposals.append(_prepared(blocker))
            continue
        why = f"keeps {counted(blocker.waiting, 'session')} waiting, for up to {format_duration(blocker.longest)}"
        for one in draft.free_to_take([blocker.backend], why):
            if one.state == ACTIVE and one.statement not in draft.diagnosis.cancelled:
                draft.actions.append(cancel_queries(draft.target, [one], f"It {why}.", draft.policy.never))
                continue
            over = one.is_in_transaction and one.state_age >= draft.policy.idle_in_transaction_over
            how = Ending.OPEN_TRANSACTION if over else Ending.BLOCKER
            draft.actions.append(end_sessions(draft.target, [one], f"It {why}.", draft.policy.never, how))


def _end_open_transactions(draft: _Draft) -> None:
    limit = format_duration(draft.policy.idle_in_transaction_over)
    why = f"has left a transaction open for more than {limit}"
    found = open_transactions(draft.diagnosis.look.server, draft.policy)
    for group in in_groups(found).values():
        chosen = draft.capped(draft.free_to_take(group, why), group[0].name)
        if chosen:
            reason = f"Each {why}, without a statement: what it wrote is not committed, what it holds is locked."
            draft.actions.append(
                end_sessions(draft.target, chosen, reason, draft.policy.never, Ending.OPEN_TRANSACTION)
            )
            draft.proposals.append(
                Proposal(
                    title=f"Have {chosen[0].name} close its transactions",
                    detail="alter role … set idle_in_transaction_session_timeout = '5min'",
                    reason="Until then it happens again; the server can end such sessions by itself.",
                )
            )


@serves("octollm.DatabaseConnectionPoolExhausted: r1.2", "trading_signals.DatabaseConnectionPoolExhausted: r2.1")
def _cancel_long_statements(draft: _Draft) -> None:
    limit = format_duration(draft.policy.query_over)
    why = f"runs a statement for more than {limit}"
    for group in in_groups(long_statements(draft.diagnosis.look.server, draft.policy)).values():
        free = draft.free_to_take(group, why)
        again = [one for one in free if one.statement in draft.diagnosis.cancelled]
        chosen = draft.capped([one for one in free if one not in again], group[0].name)
        if chosen:
            draft.actions.append(cancel_queries(draft.target, chosen, f"Each {why}.", draft.policy.never))
            shape = chosen[0].query or "(not shown)"
            title = f"Look at the plan of the statement of {chosen[0].name}"
            draft.proposals.append(Proposal(title=title, detail=shape, reason="EXPLAIN without ANALYZE runs nothing."))
        if again:
            reason = f"Each {why}, and was cancelled in vain."
            draft.actions.append(
                end_sessions(draft.target, draft.capped(again, again[0].name), reason, draft.policy.never, Ending.DEAF)
            )


@serves("octollm.DatabaseConnectionPoolExhausted: r2.2", "cryptofunk.DatabaseConnectionPoolCritical: r2.1")
@proposes(
    "octollm.DatabaseConnectionPoolExhausted: r2.4",
    "cryptofunk.DatabaseConnectionPoolExhausted: r2.4",
    "trading_signals.DatabaseConnectionPoolExhausted: r3.3",
)
def _stop_leaks(draft: _Draft) -> None:
    """A leaking application is restarted where there is room for its new pods; else its surplus is ended first."""
    for leak in leaks(draft.diagnosis.look, draft.policy):
        name = printable(leak.pool.application, 80)
        reason = f"{leak_in_words(leak, draft.diagnosis.look)}."
        draft.proposals.append(
            Proposal(title=f"Find where {name} does not give its connections back", reason=f"{reason} That is a leak.")
        )
        if not _restarted(draft, leak, reason):
            _end_surplus(draft, leak)


def _restarted(draft: _Draft, leak: Leak, reason: str) -> bool:
    """Whether the plan restarts the application."""
    rule, name, why = leak.pool.restart, printable(leak.pool.application, 80), f"{reason} A restart gives them back."
    if rule is None:
        draft.proposals.append(Proposal(title=f"Restart {name}", reason=f"{reason} No restart is declared."))
        return False
    if isinstance(rule, ServiceRestart):
        return _restart_service(draft, rule, why)
    workload = _workload_of(rule, draft.diagnosis.workloads)
    room = draft.diagnosis.look.server.room - len(draft.diagnosis.look.server.clients)
    if workload is None or room < leak.pool.size:
        no = "it could not be read" if workload is None else f"its new pods need {leak.pool.size} connections first"
        draft.refusals.append(Refusal(what=f"Restarting {name}", reason=no, lifted_by="free connections"))
        return False
    below = draft.target.model_copy(update={"path": (*draft.target.path, "cluster", rule.cluster)})
    draft.actions.append(restart(below, workload, why))
    return True


def _restart_service(draft: _Draft, rule: ServiceRestart, reason: str) -> bool:
    """The containers of a service, one after the other."""
    look = next((one for one in draft.diagnosis.services if one.service == rule.service), None)
    if look is None or not look.containers:
        what = f"Restarting {printable(rule.service, 80)}"
        draft.refusals.append(Refusal(what=what, reason="its containers could not be read", lifted_by="its engine"))
        return False
    draft.actions += [repair(draft.target, rule.docker, look, one, reason, RESTART_SECONDS) for one in look.containers]
    return True


@serves("bybit_strategy_tester.ConnectionPoolExhausted: r3.1")
def _unstick_pooler(draft: _Draft) -> None:
    """New connections to the server first: they break nothing off; a restart of the pooler breaks every client off.

    Neither helps a pool that is too small for its load.
    """
    look, rule = draft.diagnosis.look, draft.policy.pooler
    found = larger_pools(draft.target, look, draft.policy)
    if isinstance(found, Action):
        draft.larger = found
        return
    if found is not None:
        draft.refusals.append(found)
    if rule is None or not is_stuck(look, draft.policy):
        return
    waiting = waiting_at_pooler(look, draft.policy)
    draft.proposals += [_resume(pool) for pool in waiting if pool.paused]
    if is_full(look.server):
        return  # it waits for the server, as it should
    stuck = [pool for pool in waiting if not pool.paused]
    if stuck and not draft.diagnosis.reconnected:
        draft.actions += [reconnect(draft.target, rule.console, pool) for pool in stuck if is_plain(pool.database)]
    elif moving := [pool for pool in stuck if pool.transactions_per_second]:
        draft.refusals.append(_not_restarted(moving[0]))
    elif stuck or look.pooler_silent:
        why = look.pooler_silent or "Its clients wait, also after it connected anew."
        if rule.restart is not None:
            _restart_service(draft, rule.restart, why)
        else:
            draft.proposals.append(Proposal(title="Restart the pooler", reason=f"{why} No restart is declared."))


def _not_restarted(pool: PoolerPool) -> Refusal:
    """Averages of a period that the load filled in part tell of less than there is: such a pool is not stuck."""
    through = f"{pool.transactions_per_second:.4g} transactions/s of {printable(pool.database, 63)} get through"
    return Refusal(
        what="Restarting the pooler",
        reason=f"{through}: it is slow or too small, not stuck, and a restart would break all of its clients off",
        lifted_by="a person who sees what its connections do",
    )


def _resume(pool: PoolerPool) -> Proposal:
    return Proposal(
        title=f"Let the pooler go on with {printable(pool.database, 63)}",
        detail=f"RESUME {sql_name(pool.database)}",
        reason="Somebody has paused it, perhaps for a switch of servers: who did knows when it may go on.",
    )


@serves("cryptofunk.DatabaseConnectionPoolExhausted: r1.1", "bybit_strategy_tester.ConnectionPoolExhausted: r1.1")
def _end_surplus(draft: _Draft, leak: Leak) -> None:
    why = f"is idle for more than {format_duration(draft.policy.idle_over)}, beyond the pool's size"
    chosen = draft.capped(draft.free_to_take(leak.surplus, why), printable(leak.pool.application, 80))
    if chosen:
        reason = f"Each {why}. What the pool of {leak.pool.limit} may have is left."
        draft.actions.append(end_sessions(draft.target, chosen, reason, draft.policy.never, Ending.SURPLUS))


def _workload_of(rule: WorkloadRestart, workloads: Sequence[Workload]) -> Workload | None:
    wanted = (rule.kind, rule.namespace, rule.name)
    return next((one for one in workloads if (one.kind, one.namespace, one.name) == wanted), None)


def _prepared(blocker: Blocker) -> Proposal:
    who = counted(blocker.waiting, "session")
    return Proposal(
        title="Commit or roll back the prepared transaction that blocks others",
        detail="select gid, prepared, owner, database from pg_prepared_xacts order by prepared",
        reason=f"It keeps {who} waiting, and no session has it: whoever coordinates it has to decide.",
    )


def _ask_for_sight(draft: _Draft) -> None:
    server = draft.diagnosis.look.server
    sessions, account = counted(server.hidden, "session"), printable(server.account, 63)
    draft.refusals.append(
        Refusal(
            what=f"Judging {sessions}",
            reason=f"{account} may not see what they do",
            lifted_by=f"grant pg_monitor to {account}",
        )
    )


def _load(draft: _Draft) -> Proposal:
    use = fullest(draft.diagnosis.look, draft.policy)
    return Proposal(
        title=f"Give {use.name} more connections, or fewer clients",
        reason=f"{use}: nobody blocks, leaks or runs for long; it is load. How many it takes is computed where the "
        "policy has load: requests per second and seconds per request.",
    )
