"""Bring a Redis server back without losing what lives in it.

A pure function of what was seen and what is allowed. Follows trading_signals.RedisDisconnected.d1-d4, r1.1-r3.1 without
their hazards: persistence and content are looked at before a restart, ``allkeys-lru`` is never set where nonces or
idempotency keys live, and nothing is flushed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from nightshift.remediation.caches import memory
from nightshift.remediation.caches.content import Content, is_only_a_cache
from nightshift.remediation.caches.findings import findings_of as of_server
from nightshift.remediation.caches.findings import in_words as server_in_words
from nightshift.remediation.caches.objects import RedisLook, Silence
from nightshift.remediation.caches.policy import RedisUnavailablePolicy
from nightshift.remediation.compose import deciding
from nightshift.remediation.compose.objects import Container, ServiceLook
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.models import Action, Finding, Plan, Proposal, Refusal, Risk, Target
from nightshift.remediation.text import printable


@dataclass(frozen=True, kw_only=True)
class RedisDiagnosis:
    """Everything the planner gets to know."""

    engine: str
    """Name of the connection to the engine."""
    service: ServiceLook
    silence: Silence | None
    """Why it does not answer; None: it does."""
    server: RedisLook | None
    """What it said; None: it does not answer."""
    log: tuple[str, ...] = ()
    """Its last lines of the last five minutes, credentials masked, printable."""

    @property
    def container(self) -> Container | None:
        """The one container of the service; None: there is none, or several."""
        return self.service.containers[0] if len(self.service.containers) == 1 else None


def persists(container: Container) -> bool | None:
    """Whether the server keeps its data on disk, by its command line; None: that does not tell.

    Without a word about it Redis saves snapshots; they outlive the container only in a volume.
    """
    words = container.command
    pairs = dict(pairwise(words))
    if not container.volumes:
        return False
    if pairs.get("--appendonly") == "yes":
        return True
    if "--save" in pairs:
        return bool(pairs["--save"].strip())
    return None if any(word.endswith(".conf") for word in words) else True


def plan_redis(target: Target, diagnosis: RedisDiagnosis, policy: RedisUnavailablePolicy) -> Plan:
    """What is done about a server that does not answer, or takes no writes."""
    name = printable(diagnosis.service.service, 80)
    goal = f"Have {name} answer again, with all that lives in it"
    container = diagnosis.container
    if container is None:
        many = len(diagnosis.service.containers)
        what = f"Restarting {name}"
        reason = f"it has {many} containers" if many else "Compose has no container of it on this engine"
        return Plan(goal=goal, target=target, refusals=(Refusal(what=what, reason=reason),))
    if diagnosis.server is not None:
        return _answers(goal, target, diagnosis.server, container, policy)
    if diagnosis.silence is not None and diagnosis.silence.too_many_clients:
        proposal = Proposal(
            title="Find the client that opens the connections, and restart that",
            detail="CLIENT LIST in a session that is open already",
            reason="A restart of the server would only let them come again.",
        )
        return Plan(goal=goal, target=target, proposals=(proposal,))
    if container.works and container.health == "healthy":
        reason = "its own check finds it healthy: the way from here to it is what does not work"
        refusal = Refusal(what=f"Restarting {name}", reason=reason, lifted_by="see network, firewall and its URL")
        return Plan(goal=goal, target=target, refusals=(refusal,))
    action = _restart(target, diagnosis, container, policy)
    expected = f"{name} answers PING, with the data that it keeps on disk."
    return Plan(goal=goal, target=target, actions=(action,), expected=expected)


@serves("trading_signals.RedisDisconnected: r1.1")
def _restart(target: Target, diagnosis: RedisDiagnosis, container: Container, policy: RedisUnavailablePolicy) -> Action:
    kept = policy.persistent if policy.persistent is not None else persists(container)
    reason = f"it is {printable(container.state, 20)}"
    reason += f", ended with {container.exit_code}" if container.exit_code is not None else " and does not answer"
    reason += container.and_memory_death
    action = deciding.repair(target, diagnosis.engine, diagnosis.service, container, reason, policy.wait)
    if kept or not policy.content.declares_more_than_cache:
        return action
    lost = (
        "It keeps nothing on disk as far as is known, and comes back empty: sessions end, and nonces and idempotency "
    )
    lost += "keys that are gone let requests be replayed."
    return action.model_copy(update={"asks": lost, "risk": Risk.HIGH})


@proposes("trading_signals.RedisDisconnected: r3.1")
def _answers(
    goal: str, target: Target, server: RedisLook, container: Container, policy: RedisUnavailablePolicy
) -> Plan:
    if server.loading:
        reason = f"it reads its data from disk ({server.loaded_percent:.0f} %), and a restart would begin that anew"
        refusal = Refusal(what="Restarting it", reason=reason, lifted_by="wait")
        return Plan(goal=goal, target=target, refusals=(refusal,))
    if server.persistence_trouble:
        reason = f"it takes no writes because {server.persistence_trouble}: a restart would lose what is only in memory"
        refusal = Refusal(what="Restarting it", reason=reason, lifted_by="room and rights on the disk of its data")
        return Plan(goal=goal, target=target, refusals=(refusal,))
    unsafe = memory.safer_policy(server, policy.content)
    proposals = () if unsafe is None else (unsafe,)
    if not server.refuses_writes:
        proposal = Proposal(
            title="Look at the network between its clients and the server",
            detail="docker compose exec the client: is the name resolved, is the port open?",
            reason="It answers us, and has room for writes: the trouble lies between its clients and it.",
        )
        return Plan(goal=goal, target=target, proposals=(proposal, *proposals))
    found = memory.raised(target, policy.redis, server, policy.memory, container.memory_limit)
    if isinstance(found, Refusal):
        return Plan(
            goal=goal, target=target, refusals=(found, _no_eviction(server, policy.content)), proposals=proposals
        )
    return Plan(
        goal=goal,
        target=target,
        actions=(found,),
        refusals=(_no_eviction(server, policy.content),),
        proposals=(memory.keep_it(found), *proposals),
        expected="It takes writes again; nothing in it was deleted.",
    )


def _no_eviction(server: RedisLook, content: Content) -> Refusal:
    what = "Letting it throw keys out (allkeys-lru), or flushing it"
    if is_only_a_cache(server, content):
        return Refusal(what=what, reason="more room is tried first; a person may choose it for a cache")
    return Refusal(what=what, reason="what lives in it is not only a cache: it would be lost, and requests replayed")


def findings_of(diagnosis: RedisDiagnosis, content: Content) -> tuple[Finding, ...]:
    """The container, then what the server said."""
    return tuple(_findings(diagnosis, content))


def _findings(diagnosis: RedisDiagnosis, content: Content) -> Iterator[Finding]:
    if diagnosis.silence is not None:
        yield Finding(title="It does not answer as it should", detail=diagnosis.silence.why, troubling=True)
    for one in diagnosis.service.containers:
        ended = f", ended with {one.exit_code}" if one.exit_code is not None else ""
        yield Finding(
            title=f"{printable(one.name, 80)} is {printable(one.health or one.state, 20)}{ended}",
            detail=f"started again {one.restarts} times by the engine{one.and_memory_death}",
            troubling=not one.works,
        )
    if diagnosis.log:
        yield Finding(title="Its last words", detail=" / ".join(diagnosis.log))
    if diagnosis.server is not None:
        yield from of_server(diagnosis.server, content)


def in_words(diagnosis: RedisDiagnosis) -> str:
    """One look as a line for people."""
    if diagnosis.server is not None:
        return server_in_words(diagnosis.server)
    return diagnosis.silence.why if diagnosis.silence is not None else "not measured"


def works(diagnosis: RedisDiagnosis) -> bool:
    """Whether this look showed no symptom."""
    server = diagnosis.server
    return server is not None and not server.loading and not server.refuses_writes
