"""Prometheus as a sweep sees it: rules that cannot be evaluated, targets that do not answer, alerts that got lost."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from nightshift.remediation.sweeps.measures import Measure
from nightshift.remediation.text import counted, listed, printable

Labels = Mapping[str, str]
_MOST_ROWS = 20
"""Jobs, groups or names of one kind of trouble that are told one by one."""


class _Sent(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class ActiveAlert(_Sent):
    """An alert of a rule, pending or firing."""

    labels: dict[str, str]
    state: str
    active_at: AwareDatetime = Field(alias="activeAt")
    """When its expression first held."""


class Rule(_Sent):
    """One rule, for an alert or for a series."""

    name: str
    health: str = "unknown"
    error: str = Field(default="", alias="lastError")
    type: str = "alerting"
    duration: Annotated[float, Field(ge=0)] = 0.0
    """Seconds for which its expression must hold before it fires."""
    alerts: tuple[ActiveAlert, ...] = ()


class RuleGroup(_Sent):
    """Rules that are evaluated together."""

    name: str
    rules: tuple[Rule, ...] = ()


class Target(_Sent):
    """Something that is scraped."""

    labels: dict[str, str] = {}
    health: str = "unknown"
    error: str = Field(default="", alias="lastError")


class PrometheusLook(_Sent):
    """Its rules and targets at one moment."""

    groups: tuple[RuleGroup, ...] = ()
    targets: tuple[Target, ...] = ()

    @property
    def firing(self) -> set[str]:
        """Names of the rules with alerts."""
        return {rule.name for group in self.groups for rule in group.rules if rule.alerts}


def rules_seen(name: str, look: PrometheusLook, alerts: Sequence[str]) -> Iterator[Measure]:
    """Whether its rules are evaluated, and whether those of the system are there at all.

    Args:
        name: of the connection.
        look: at it.
        alerts: names of the alerts of the system's runbooks.
    """
    rules = [rule for group in look.groups for rule in group.rules]
    there = {rule.name for rule in rules if rule.type == "alerting"}
    missing = [alert for alert in alerts if alert not in there]
    some = f"{len(missing)} of {counted(len(alerts), 'alert')} of this system have no rule: {listed(missing)}"
    none = bool(missing) and len(missing) == len(alerts)
    yield Measure(
        key=f"rules/{name}",
        what=f"rules of {name}",
        value=len(rules),
        trouble="it has no rule for any alert of this system" if none else "",
        remark=some if missing and not none else "",
    )
    yield from _bounded(f"rules/{name}", f"groups of rules of {name}", list(_broken(name, look.groups)))


def _broken(name: str, groups: Iterable[RuleGroup]) -> Iterator[Measure]:
    for group in groups:
        failing = [rule for rule in group.rules if rule.health == "err"]
        if failing:
            which = listed([printable(rule.name, 60) for rule in failing])
            said = printable(failing[0].error, 200)
            yield Measure(
                key=f"rules/{name}/{printable(group.name, 100)}",
                what=f"rules {printable(group.name, 60)} of {name}",
                trouble=f"{len(failing)} of {len(group.rules)} cannot be evaluated: {which} ({said})",
            )


def targets_seen(name: str, look: PrometheusLook, jobs: Sequence[str]) -> Iterator[Measure]:
    """Whether what it scrapes answers.

    Args:
        name: of the connection.
        look: at it.
        jobs: those of the system; empty: all.
    """
    by_job: dict[str, list[Target]] = {job: [] for job in jobs}
    for target in look.targets:
        job = target.labels.get("job", "")
        if not jobs or job in by_job:
            by_job.setdefault(job, []).append(target)
    if not by_job:
        yield Measure(key=f"targets/{name}", what=f"targets of {name}", trouble="it scrapes nothing")
    seen = [_job(name, job, targets) for job, targets in sorted(by_job.items())]
    well = [one for one in seen if not one.trouble]
    yield from _bounded(f"targets/{name}", f"jobs of {name}", [one for one in seen if one.trouble])
    yield from well[:_MOST_ROWS]


def _job(name: str, job: str, targets: Sequence[Target]) -> Measure:
    down = [target for target in targets if target.health == "down"]
    trouble = "" if targets else "it has no target"
    if down:
        which = listed([printable(target.labels.get("instance", "?"), 60) for target in down])
        said = printable(down[0].error, 200)
        trouble = f"{len(down)} of {counted(len(targets), 'target')} cannot be scraped: {which} ({said})"
    return Measure(
        key=f"targets/{name}/{printable(job, 100)}",
        what=f"targets of the job {printable(job, 60)} of {name} that are down",
        value=len(down),
        trouble=trouble,
    )


def lost_alerts(
    name: str,
    look: PrometheusLook,
    ours: Callable[[Labels], bool],
    known: Iterable[Labels],
    *,
    now: float,
    within: float,
    certain: bool,
) -> list[Measure]:
    """Alerts that fire there and did not arrive here, one measure for each name.

    Args:
        name: of the connection.
        look: at it.
        ours: whether labels are those of an alert of this system.
        known: labels of the alerts that arrived, or that an Alertmanager rightly keeps back.
        now: Unix seconds.
        within: seconds that an alert may take to arrive.
        certain: whether it is known what is kept back; if not, nothing is opened.
    """
    late = [
        {**alert.labels, "alertname": rule.name}
        for group in look.groups
        for rule in group.rules
        for alert in rule.alerts
        if alert.state == "firing" and now - alert.active_at.timestamp() - rule.duration > within
    ]
    lost: dict[str, int] = defaultdict(int)
    for labels in _without([one for one in late if ours(one)], known):
        lost[labels["alertname"]] += 1
    found = []
    for alert, count in sorted(lost.items()):
        said = f"{counted(count, 'alert')} {'fires' if count == 1 else 'fire'} there and did not arrive here"
        unsure = f"{said}, or an Alertmanager that is not known silences it"
        words: dict[str, Any] = {"trouble": said} if certain else {"remark": unsure}
        called = printable(alert, 100)
        known_as: dict[str, Any] = {"key": f"lost/{name}/{called}", "what": f"{called} of {name}"}
        found.append(Measure(**known_as, **words, value=count))
    told = list(_bounded(f"lost/{name}", f"alerts of {name}", found))
    return told or [Measure(key=f"lost/{name}", what=f"alerts of {name} that did not arrive here", value=0)]


def _without(alerts: Sequence[Labels], known: Iterable[Labels]) -> Iterator[Labels]:
    """Those of which none of the known ones has all labels: on the way external labels are added."""
    held = list(known)
    shapes: dict[frozenset[str], set[frozenset[tuple[str, str]]]] = {}
    for labels in alerts:
        shape = frozenset(labels)
        if shape not in shapes:
            shapes[shape] = {frozenset((key, one[key]) for key in shape) for one in held if shape <= one.keys()}
        if frozenset(labels.items()) not in shapes[shape]:
            yield labels


def _bounded(key: str, what: str, found: Sequence[Measure]) -> Iterator[Measure]:
    """So many of them; the rest as one line, so that a broken Prometheus opens no thousand incidents."""
    yield from found[:_MOST_ROWS]
    if len(rest := found[_MOST_ROWS:]) > 0:
        worst = math.fsum(one.value or 0 for one in rest)
        yield Measure(key=f"{key}/rest", what=f"{len(rest)} more {what}", value=worst, trouble=rest[0].trouble)
