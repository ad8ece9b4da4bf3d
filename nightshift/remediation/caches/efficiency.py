"""More lookups that find their key, without emptying the cache.

A pure function of what was seen and what is allowed. Follows octollm.LowCacheHitRate.d1-d3, r1.1-r3.2 without their
hazards: rates instead of counters since the start, ``maxmemory`` and the limit together, and no restart, which would
empty the cache.
"""

from __future__ import annotations

from nightshift.remediation.caches import memory
from nightshift.remediation.caches.objects import RedisLook
from nightshift.remediation.caches.policy import CacheContainer, CacheEfficiencyPolicy
from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.models import Action, Finding, Plan, Proposal, Refusal, Target, Verdict, format_bytes
from nightshift.remediation.text import printable

NOTHING_TO_DO = "nothing to do"


def plan_cache(target: Target, look: RedisLook, policy: CacheEfficiencyPolicy, limit: int | None = 0) -> Plan:
    """What is done about a cache whose lookups miss.

    Args:
        target: the cache.
        look: at it.
        policy: limits.
        limit: bytes that its container may use; 0: as much as there is; None: not known.
    """
    name, ratio = printable(target.part("redis"), 80), look.hit_ratio
    goal = f"Have at least {policy.hit_ratio:.0%} of the lookups in {name} find their key"
    if look.uptime < policy.warm_up:
        expected = f"It started {format_duration(look.uptime)} ago and fills itself; a restart would empty it again."
        return Plan(goal=NOTHING_TO_DO, target=target, expected=expected)
    if ratio is None or look.lookups < policy.least_lookups:
        reason = f"{look.lookups:,} lookups within {format_duration(policy.measure)} say nothing"
        return Plan(goal=goal, target=target, refusals=(Refusal(what="Changing anything", reason=reason),))
    if ratio >= policy.hit_ratio:
        full = f" {look.evicted:,} keys were thrown out meanwhile, and are not missed." if look.evicted else ""
        expected = f"{ratio:.0%} of the lookups find their key now; only the number since its start is low.{full}"
        return Plan(goal=NOTHING_TO_DO, target=target, expected=expected)
    unsafe = memory.safer_policy(look, policy.content)
    proposals = () if unsafe is None else (unsafe,)
    if not (look.evicted or look.memory_used_up):
        return Plan(goal=goal, target=target, proposals=(*proposals, *_why_misses(look, policy)))
    found = _more_memory(target, look, policy, limit)
    if isinstance(found, Refusal):
        larger = () if policy.container is None else (_larger_container(policy.container, limit),)
        return Plan(goal=goal, target=target, refusals=(found,), proposals=(*larger, *proposals))
    return Plan(
        goal=goal,
        target=target,
        actions=(found,),
        proposals=(memory.keep_it(found), *proposals),
        expected="Keys stay until their time is over, and are found.",
    )


def _more_memory(target: Target, look: RedisLook, policy: CacheEfficiencyPolicy, limit: int | None) -> Action | Refusal:
    """What its container may not use, ends it: and with it all that it keeps."""
    if limit is None:
        reason = "how much memory its container may use is not known, and above that it is killed"
        return Refusal(what=memory.WHAT, reason=reason, lifted_by="the limit, in the metrics of kube-state-metrics")
    return memory.raised(target, target.part("redis"), look, policy.memory, limit)


def _larger_container(rule: CacheContainer, limit: int | None) -> Proposal:
    now = f"it may use {format_bytes(limit)}" if limit else "its limit is not known"
    name = f"{printable(rule.container, 63)} in {printable(rule.namespace, 63)}"
    return Proposal(
        title=f"Give the container {name} more memory first",
        detail="resources.limits.memory of its workload, where that is declared, and maxmemory to three quarters of it",
        reason=f"The cache is full, and {now}. Its pod starts anew with the larger limit, and an empty cache with it: "
        "not while everybody needs it.",
    )


@proposes("octollm.LowCacheHitRate: r2.1 r2.2 r3.1 r3.2")
def _why_misses(look: RedisLook, policy: CacheEfficiencyPolicy) -> tuple[Proposal, ...]:
    missed = max(1, look.lookups - round((look.hit_ratio or 0) * look.lookups))
    if look.expired >= missed // 2:
        rule = policy.time_to_live
        return (
            Proposal(
                title="Let entries live longer (CACHE_TTL), and restart the services that write them"
                if rule is None
                else f"Let entries live longer: {rule.key} {rule.raise_to}, and restart the service that writes them",
                detail=f"kubectl edit configmap {rule.configmap}, then kubectl rollout restart" if rule else "",
                reason=f"{look.expired:,} keys ended by their time to live while {missed:,} lookups missed.",
            ),
        )
    return (
        Proposal(
            title="Warm the cache, or look at what is asked for",
            reason="Nothing is thrown out and little expires: other keys are asked for than are kept.",
        ),
    )


def is_good(look: RedisLook, policy: CacheEfficiencyPolicy) -> bool:
    """Whether this measurement showed no symptom."""
    enough = look.hit_ratio is not None and look.lookups >= policy.least_lookups
    return enough and (look.hit_ratio or 0) >= policy.hit_ratio and not look.evicted


@serves("octollm.LowCacheHitRate: v1")
def judge_cache(before: RedisLook, after: RedisLook, policy: CacheEfficiencyPolicy) -> Verdict:
    """Healthy when lookups of the second half of the watch time find their key, and nothing is thrown out."""
    ratio, was = after.hit_ratio, before.hit_ratio
    if ratio is None or after.lookups < policy.least_lookups:
        reason = f"{after.lookups:,} lookups say nothing about whether it helped."
        return Verdict(healthy=False, inconclusive=True, reason=reason)
    findings = (
        Finding(title=f"Before: {was or 0:.0%} of {before.lookups:,} lookups, {before.evicted:,} keys thrown out"),
        Finding(title=f"After: {ratio:.0%} of {after.lookups:,} lookups, {after.evicted:,} keys thrown out"),
    )
    reason = f"{ratio:.0%} of the lookups find their key (before: {was or 0:.0%}), {after.evicted:,} keys thrown out."
    return Verdict(healthy=is_good(after, policy), reason=reason, findings=findings)
