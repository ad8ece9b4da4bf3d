"""What LimitRanges and ResourceQuotas of a namespace let the pods of a workload ask for.

They judge pods, not the workloads that make them: the server takes a Deployment with any limits, even tried dry, and
then refuses each of its pods. So more is compared with them before it is written. Serves kubernetes.set_resources and
kubernetes.scale_deployment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from nightshift.remediation.kubernetes.objects import Container, LimitRange, Resources
from nightshift.remediation.models import format_bytes
from nightshift.remediation.text import printable

Amounts = Mapping[str, int]
"""By the names of a quota (``limits.memory``, ``pods``): bytes, numbers, and millicores for CPU."""


@dataclass(frozen=True, kw_only=True)
class Left:
    """What a quota leaves."""

    name: str
    """Of the ResourceQuota."""
    amounts: Amounts


@dataclass(frozen=True, kw_only=True)
class NamespaceRules:
    """Of one namespace."""

    limits: Sequence[LimitRange] = ()
    left: Sequence[Left] = ()


@dataclass(frozen=True, kw_only=True)
class Growth:
    """The pods of a workload, before a change and after it."""

    before: Sequence[Container]
    after: Sequence[Container]
    pods_before: int
    pods_after: int
    surges: bool = False
    """Whether new pods are made before old ones end, where the containers change."""

    @property
    def more(self) -> Amounts:
        """How much more all its pods ask for at the worst moment: all new ones, and the last old one beside them."""
        old, new = _asked(self.before), _asked(self.after)
        grows = {name for name in new if new[name] * self.pods_after > old[name] * self.pods_before}
        beside = int(self.surges and old != new)
        return {name: new[name] * self.pods_after - old[name] * (self.pods_before - beside) for name in grows}


def why_refused(rules: NamespaceRules, growth: Growth) -> str:
    """Which rule would refuse its pods, in words; empty when none would. What does not grow is not looked at."""
    return next(chain(_over_limits(rules, growth), _over_quotas(rules, growth)), "") if growth.more else ""


def _over_limits(rules: NamespaceRules, growth: Growth) -> Iterator[str]:
    was = {container.name: container.limits for container in growth.before}
    grown = [one for one in growth.after if one.limits != was.get(one.name)]
    for rule in rules.limits if grown else ():
        for resource in ("cpu", "memory"):
            largest = max(_amount(one.limits, resource) or 0 for one in grown)
            together = sum(_amount(one.limits, resource) or 0 for one in growth.after if not one.is_init)
            for whom, asked, most in (("container", largest, rule.of_containers), ("pod", together, rule.of_pods)):
                allowed = _amount(most, resource)
                if allowed is not None and asked > allowed:
                    few = f"at most {_shown(resource, allowed)} of {resource}, not {_shown(resource, asked)}"
                    yield f"the LimitRange {printable(rule.name, 60)} allows a {whom} {few}"


def _over_quotas(rules: NamespaceRules, growth: Growth) -> Iterator[str]:
    for quota in rules.left:
        for name, left in quota.amounts.items():
            wanted = growth.more.get(f"requests.{name}" if name in ("cpu", "memory") else name, 0)
            if wanted > max(0, left):
                leaves = f"leaves {_shown(name, max(0, left))} of {name}"
                more = f"its pods will ask for {_shown(name, wanted)} more"
                yield f"the quota {printable(quota.name, 60)} {leaves}, and {more}"


def _asked(containers: Sequence[Container]) -> dict[str, int]:
    """What one pod asks for; what only its init containers ask for is left out."""
    running = [one for one in containers if not one.is_init]
    return {
        "pods": 1,
        **{f"limits.{kind}": sum(_amount(one.limits, kind) or 0 for one in running) for kind in ("cpu", "memory")},
        **{f"requests.{kind}": sum(_amount(one.requests, kind) or 0 for one in running) for kind in ("cpu", "memory")},
    }


def _amount(amounts: Resources, resource: str) -> int | None:
    return amounts.cpu_millicores if resource == "cpu" else amounts.memory_bytes


def _shown(name: str, amount: int) -> str:
    if name == "pods":
        return str(amount)
    return f"{amount}m" if name.rpartition(".")[2] == "cpu" else format_bytes(amount)
