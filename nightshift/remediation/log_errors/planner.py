"""Errors of a service of a host: what they are about decides, and a restart is the last choice.

Pure. Follows test_watcher.TestWatcherHighErrorRate and ``job_failure_rate`` of the families: a full disk, permissions
and missing modules are said with what was measured, failing tests go to who wrote them, and only what nothing explains
is answered by one restart; many errors a second call a person at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nightshift.remediation.durations import format_duration
from nightshift.remediation.hosts.restarting import start_again
from nightshift.remediation.hosts.services import HostService, ServiceState, WritableDirectory
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.kubernetes.crash_diagnosis import shown
from nightshift.remediation.log_errors.grouping import Cause, LogError, main_cause
from nightshift.remediation.log_errors.policy import HostJobFailuresPolicy
from nightshift.remediation.models import Action, Finding, Plan, Proposal, Refusal, Risk, Target
from nightshift.remediation.text import counted, listed, printable, shell_word

NOTHING_TO_DO = "Nothing to do: there are few errors"
_MOST_SHOWN = 20
"""As the document shows them."""


@dataclass(frozen=True, kw_only=True)
class ErrorsLook:
    """Everything the planner gets to know."""

    rate: float | None
    """Errors a second; None: not measured."""
    unmeasured: str = ""
    """Why not."""
    by_type: Mapping[str, float] = field(default_factory=dict)
    """Errors of the last while, by the sort that the service itself gives them; hostile text."""
    errors: Sequence[LogError] = ()
    log_unseen: str = ""
    """Why its log was not read."""
    service: ServiceState
    directories: Sequence[WritableDirectory] = ()
    dependencies: Sequence[str] | None = None
    """What ``pip check`` complains about; None: not asked, or it did not answer. Hostile text."""


def rate_in_words(rate: float) -> str:
    """Errors a second."""
    return f"{rate:.2g} errors a second"


def in_words(look: ErrorsLook) -> str:
    """One look as a line for people."""
    rate = rate_in_words(look.rate) if look.rate is not None else "its errors are not measured"
    cause = main_cause(look.errors)
    return f"{rate}, most of them about {cause}" if cause is not None else f"{rate}, none in its log"


def findings_of(look: ErrorsLook, policy: HostJobFailuresPolicy) -> tuple[Finding, ...]:
    """What was seen, the errors most frequent first."""
    high = look.rate is None or look.rate > policy.most_per_second
    found = [Finding(title=in_words(look), detail=printable(look.unmeasured, 200), troubling=high)]
    for name, many in Counter(dict(look.by_type)).most_common(8):
        found.append(Finding(title=f"By its own count: {printable(name, 60)}", detail=f"{many:.0f} errors"))
    for one in look.errors[:_MOST_SHOWN]:
        troubling = one.cause is not Cause.TESTS
        title = f"{counted(one.count, 'error')} about {one.cause}"
        found.append(Finding(title=title, detail=shown(one.example), troubling=troubling))
    if look.log_unseen:
        found.append(Finding(title="Its log was not seen", detail=printable(look.log_unseen, 120), troubling=True))
    found += [Finding(title=_said_of(one), troubling=_hinders(one, policy)) for one in look.directories]
    if look.dependencies is not None:
        what = "pip check finds its packages complete" if not look.dependencies else "pip check complains"
        detail = listed([printable(line, 120) for line in look.dependencies])
        found.append(Finding(title=what, detail=detail, troubling=bool(look.dependencies)))
    return tuple(found)


@serves("test_watcher.TestWatcherHighErrorRate: r4.1")
def plan_fewer_errors(target: Target, look: ErrorsLook, policy: HostJobFailuresPolicy, *, tried: bool = False) -> Plan:
    """What is done about the errors of a service.

    Args:
        target: the service.
        look: as it is.
        policy: limits.
        tried: this incident has restarted it already; there is no second time.
    """
    service = target.part("service")
    rule, most = policy.services[service], rate_in_words(policy.most_per_second)
    if look.rate is not None and look.rate <= policy.most_per_second:
        return Plan(goal=NOTHING_TO_DO, target=target, expected=in_words(look))
    goal = f"Have {printable(service)} make at most {most}"
    proposals = tuple(_for_people(look, policy, rule))
    refusal = _why_no_restart(look, policy, rule, tried=tried)
    if refusal is not None:
        return Plan(goal=goal, target=target, refusals=(refusal,), proposals=proposals)
    expected = f"At most {most} within {format_duration(policy.wait)}, and for {format_duration(policy.hold)} on end."
    action = _restart(target, look, rule)
    return Plan(goal=goal, target=target, actions=(action,), proposals=proposals, expected=expected)


def _restart(target: Target, look: ErrorsLook, rule: HostService) -> Action:
    host, service = target.part("host"), target.part("service")
    reason = f"{in_words(look)}; nothing that was looked at explains it"
    action = start_again(target, host, service, rule, look.service, reason)
    if not look.log_unseen:
        return action
    asks = f"Its log could not be read ({printable(look.log_unseen, 80)}): is a restart right, without knowing why?"
    return action.model_copy(update={"asks": asks, "risk": Risk.HIGH})


def _why_no_restart(
    look: ErrorsLook, policy: HostJobFailuresPolicy, rule: HostService, *, tried: bool
) -> Refusal | None:
    """The first reason that counts."""
    if not look.service.runs:
        reason = f"it does not run: it is {look.service.state or 'not known to its manager'}"
        return _no(rule, reason, "start it first (flow host-service-unresponsive)")
    if look.rate is None:
        return _no(rule, f"how many errors it makes is not known: {look.unmeasured}", "bring its metric back")
    bad = [one for one in look.directories if _hinders(one, policy)]
    if bad:
        return _no(rule, f"{_said_of(bad[0])}: a restart changes nothing about that", "room, or permissions")
    cause = main_cause(look.errors)
    if look.dependencies or cause is Cause.IMPORTS:
        return _no(rule, "modules that it needs are missing or do not fit: it would fail again", "its packages mended")
    if cause not in (None, Cause.OTHER):
        return _no(rule, f"its errors are about {cause}: a restart changes nothing about that", "the cause mended")
    if look.rate > policy.page_above:
        reason = f"{rate_in_words(look.rate)} is above {policy.page_above:g}: a person is called at once"
        return _no(rule, reason, "a person who has looked")
    return _no(rule, "it was restarted once already", "a person who has looked") if tried else None


@proposes("test_watcher.TestWatcherHighErrorRate: r1.1 r3.1")
def _for_people(look: ErrorsLook, policy: HostJobFailuresPolicy, rule: HostService) -> list[Proposal]:
    causes = {one.cause for one in look.errors}
    account = printable(look.service.account or "the service's account", 60)
    found = []
    if Cause.FULL in causes or any(_is_full(one, policy) for one in look.directories):
        full = next((one for one in look.directories if _is_full(one, policy)), None)
        reason = _said_of(full) if full is not None else "Its log says that a disk is full or read-only."
        found.append(Proposal(title="Free space where it writes (flow disk-space-reclaim)", reason=reason))
    denied = [one for one in look.directories if one.there and not one.read_only and not one.writable]
    if denied or Cause.FILES in causes:
        where = listed([printable(one.path, 120) for one in denied]) or "the files that its log names"
        whose = shell_word(f"u:{look.service.account}:rwX") if look.service.account else "u:…:rwX"
        detail = f"setfacl -R -m {whose} -- {' '.join(shell_word(one.path) for one in denied)}" if denied else ""
        found.append(Proposal(title=f"Give {account} back what it may not write: {where}", detail=detail))
    if look.dependencies or Cause.IMPORTS in causes:
        python = policy.python or "python"
        found.append(
            Proposal(
                title=f"Put the release before back, or install what {rule.name} needs anew, then restart it",
                detail=f"{python} -m pip check; {python} -m pip install -r requirements.txt",
                reason=listed([printable(line, 120) for line in look.dependencies or ()])
                or "Its log names modules that cannot be imported; pip check finds nothing.",
            )
        )
    if Cause.TESTS in causes:
        names = [shown(one.example, 100) for one in look.errors if one.cause is Cause.TESTS]
        found.append(Proposal(title="Show the failing tests to who wrote them", reason=listed(names)))
    return found


def _hinders(one: WritableDirectory, policy: HostJobFailuresPolicy) -> bool:
    return not one.there or not one.writable or _is_full(one, policy)


def _is_full(one: WritableDirectory, policy: HostJobFailuresPolicy) -> bool:
    return one.read_only or (one.used_percent is not None and one.used_percent >= policy.full_percent)


def _said_of(one: WritableDirectory) -> str:
    path = printable(one.path, 120)
    if not one.there:
        return f"{path} is not there"
    if one.read_only:
        return f"{path} is on a read-only filesystem"
    may = "" if one.writable else ", and its account may not write there"
    used = f"on a filesystem that is {one.used_percent:.0f} % full" if one.used_percent is not None else "there"
    return f"{path} is {used}{may}"


def _no(rule: HostService, reason: str, lifted_by: str) -> Refusal:
    return Refusal(what=f"Restarting {rule.name}", reason=reason, lifted_by=lifted_by)
