"""A service of a host that does not run or does not answer: one start with the evidence saved, else a person.

Pure. Follows test_watcher.TestWatcherDown and ``service_unresponsive`` of the families, without the hazards of its
document: never a second copy, never in the foreground, and not what somebody stopped on purpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nightshift.remediation.durations import format_duration
from nightshift.remediation.hosts.restarting import start_again
from nightshift.remediation.hosts.services import HostService, Running, ServiceEvidence
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.crash_diagnosis import shown
from nightshift.remediation.models import Finding, Plan, Proposal, Refusal, Risk, Target
from nightshift.remediation.services.health import HttpAnswer, all_well, answer_findings, answers_in_words
from nightshift.remediation.services.policy import HostServiceUnresponsivePolicy
from nightshift.remediation.text import printable

NOTHING_TO_DO = "Nothing to do: the service runs"
_BAD_WORDS = ("error", "exception", "fatal", "critical", "traceback")
_LINES = 6


@dataclass(frozen=True, kw_only=True)
class HostServiceLook:
    """One look."""

    at: float
    """Seconds of a clock that only goes forward."""
    evidence: ServiceEvidence
    says_it_runs: bool | None = None
    """By its metric, where an absent one counts as no; None: not asked, or Prometheus cannot tell."""
    metric_unseen: str = ""
    """Why the metric itself was not seen."""
    answers: Sequence[HttpAnswer] = ()

    @property
    def well(self) -> bool:
        """Whether it runs, and nothing that was asked says otherwise."""
        said = self.says_it_runs is True or (self.says_it_runs is None and not self.metric_unseen)
        return self.evidence.service.runs and said and all_well(self.answers)

    @property
    def run(self) -> str:
        """The run of the service that was seen."""
        return self.evidence.service.run

    @property
    def ill(self) -> bool:
        """Whether it certainly does not work; where Prometheus cannot tell, nobody knows of a service that runs."""
        return not self.evidence.service.runs or self.says_it_runs is False or not all_well(self.answers)


def in_words(look: HostServiceLook) -> str:
    """One look as a line for people."""
    seen = look.evidence.service
    ended = "" if seen.exit_code is None else f" (ended by signal {seen.exit_code})" if seen.by_signal else ""
    if seen.exit_code is not None and not seen.by_signal:
        ended = f" (ended with {seen.exit_code})"
    words = [f"it is {seen.state or 'not known to its manager'}{ended}"]
    if look.says_it_runs is not None:
        no = "is not there" if look.metric_unseen else "says that it does not run"
        words.append(f"its metric {'says that it runs' if look.says_it_runs else no}")
    elif look.metric_unseen:
        words.append("Prometheus cannot tell")
    if look.answers:
        words.append(answers_in_words(look.answers))
    return ", ".join(words)


def findings_of(look: HostServiceLook, rule: HostService) -> tuple[Finding, ...]:
    """What was seen, and is kept, before anything is started."""
    evidence, seen = look.evidence, look.evidence.service
    found = [Finding(title=f"{rule.name}: {in_words(look)}", detail=printable(seen.detail, 120), troubling=look.ill)]
    if seen.out_of_memory:
        found.append(Finding(title="It was killed for memory", troubling=True))
    if seen.restarts:
        found.append(Finding(title=f"Its manager started it again {seen.restarts} times", troubling=True))
    if look.metric_unseen:
        found.append(Finding(title="Its metric", detail=printable(look.metric_unseen, 200), troubling=True))
    found += answer_findings(look.answers)
    found += [Finding(title=f"The same program runs beside it: {_process(one)}") for one in evidence.copies]
    found += [Finding(title=f"Its port is held by {_process(one)}") for one in evidence.holders]
    if evidence.log_unseen:
        found.append(Finding(title="Its log was not seen", detail=printable(evidence.log_unseen, 120), troubling=True))
    bad = [line for line in evidence.log if any(word in line.lower() for word in _BAD_WORDS)]
    found += [Finding(title="Its log", detail=shown(line), troubling=True) for line in bad[-_LINES:]]
    found += [Finding(title="Its last words", detail=shown(line)) for line in evidence.log[-_LINES:] if line not in bad]
    return tuple(found)


@serves("test_watcher.TestWatcherDown: r1.2")
def plan_running(
    target: Target, look: HostServiceLook, policy: HostServiceUnresponsivePolicy, *, tried: bool = False
) -> Plan:
    """What may be done so that it runs again.

    Args:
        target: the service.
        look: as it is.
        policy: limits.
        tried: this incident has started it already; there is no second time.
    """
    service = target.part("service")
    rule, seen = policy.services[service], look.evidence.service
    if look.well:
        return Plan(goal=NOTHING_TO_DO, target=target, expected=in_words(look))
    goal = f"Have {printable(service)} run again: {in_words(look)}"
    expected = f"It says so within {format_duration(policy.wait)}, and for {format_duration(policy.hold)} on end."
    if (no := _why_no_start(look, policy, rule, tried=tried)) is not None:
        return Plan(goal=goal, target=target, refusals=(no,), proposals=_for_people(look, rule), expected=expected)
    action = start_again(target, target.part("host"), service, rule, seen, in_words(look))
    if seen.state == "stopped" and not seen.exit_code:
        asks = "It ended in order, as when somebody stops it: was that on purpose?"
        action = action.model_copy(update={"asks": asks, "risk": Risk.HIGH})
    elif seen.runs and look.metric_unseen and not look.answers:
        asks = "It runs, and Prometheus does not get its metric: does it hang, or is it the way between the two?"
        action = action.model_copy(update={"asks": asks, "risk": Risk.HIGH})
    return Plan(goal=goal, target=target, actions=(action,), expected=expected)


def _why_no_start(
    look: HostServiceLook, policy: HostServiceUnresponsivePolicy, rule: HostService, *, tried: bool
) -> Refusal | None:
    """The first reason that counts: what another start would not change, or would make worse."""
    if look.evidence.service.runs:
        found = _why_no_restart(look, rule)
    else:
        found = _ended_for_good(look, policy, rule) or _in_the_way(look, rule)
    if found is None and tried:
        return _no(rule, "it was started once already", "a person who has looked")
    return found


def _ended_for_good(look: HostServiceLook, policy: HostServiceUnresponsivePolicy, rule: HostService) -> Refusal | None:
    """How it ended speaks against another start."""
    seen = look.evidence.service
    if not seen.state:
        return _no(rule, f"{rule.manager} knows no {rule.name}", "name it in the catalogue as its manager does")
    if seen.switched_off:
        reason = "somebody switched it off: it does not start with the host either"
        return _no(rule, reason, f"systemctl enable --now {rule.name}, if it is wanted")
    if seen.out_of_memory:
        reason = "it was killed for memory, and would be again"
        return _no(rule, reason, "find what takes the memory, or raise MemoryMax")
    if seen.state in ("starting", "stopping") or seen.restarts >= policy.crashes:
        times = f", {seen.restarts} times so far" if seen.restarts else ""
        reason = f"its manager starts it again by itself{times}, and it does not stay"
        return _no(rule, reason, "mend what its log tells")
    return None


def _in_the_way(look: HostServiceLook, rule: HostService) -> Refusal | None:
    """What runs in its place."""
    if look.evidence.holders:
        reason = f"port {rule.port} is held by {_process(look.evidence.holders[0])}"
        return _no(rule, reason, "end what holds the port, when it is known what it is")
    if look.evidence.copies:
        reason = f"a copy of it runs already, started by hand: {_process(look.evidence.copies[0])}"
        return _no(rule, reason, "end that copy; two of them would do everything twice")
    return None


def _why_no_restart(look: HostServiceLook, rule: HostService) -> Refusal | None:
    """It runs: then it must be known that it does not work."""
    if look.answers and all_well(look.answers) and look.metric_unseen:
        return _no(rule, "it runs and answers", "look at the way from Prometheus to it, which lacks its metric")
    if not look.ill:
        reason = f"it runs, and whether it works cannot be told: {look.metric_unseen or 'its metric was not asked for'}"
        return _no(rule, reason, "bring Prometheus back")
    return None


def _no(rule: HostService, reason: str, lifted_by: str) -> Refusal:
    return Refusal(what=f"Starting {rule.name}", reason=reason, lifted_by=lifted_by)


def _for_people(look: HostServiceLook, rule: HostService) -> tuple[Proposal, ...]:
    """Where a loop began with a release, the release before is the way out, and a person's to take."""
    seen = look.evidence.service
    if seen.state != "starting" and not seen.restarts:
        return ()
    return (
        Proposal(
            title=f"See what was released before {rule.name} began to end, and put the release before back",
            reason="It ends again after each start by its manager: another one changes nothing.",
        ),
    )


def _process(one: Running) -> str:
    if not one.pid:
        return "a process that this account may not see"
    return f"process {one.pid} ({printable(one.command, 80)}{f', {printable(one.unit, 80)}' if one.unit else ''})"
