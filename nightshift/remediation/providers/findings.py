"""What was seen of a provider, for people. Most telling first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nightshift.remediation.models import Finding
from nightshift.remediation.providers.facts import Failure
from nightshift.remediation.providers.look import ProviderLook, cause_of
from nightshift.remediation.providers.planner import in_words, tried
from nightshift.remediation.providers.policy import ProviderFailurePolicy
from nightshift.remediation.text import printable


def findings_of(look: ProviderLook, policy: ProviderFailurePolicy) -> tuple[Finding, ...]:
    """Each part that was looked at, and what could not be."""
    return tuple(_findings(look, policy))


def _findings(look: ProviderLook, policy: ProviderFailurePolicy) -> Iterator[Finding]:
    rule, words = policy.rule(look.provider), in_words(look.measured)
    trouble = look.measured.trouble(policy)
    yield Finding(title=f"Calls: {words}", troubling=trouble or bool(look.measured.unknown))
    if not look.measured.healthy(policy):
        yield Finding(title=f"Cause: {cause_of(look)}", troubling=True)
    if trouble and rule.impact:
        yield Finding(title=f"Meanwhile {printable(rule.impact)}")
    if look.status is not None and look.status.indicator is None:
        yield Finding(title="Its status page could not be read", detail=printable(look.status.complaint))
    elif look.status is not None:
        said = f"{look.status.indicator}: {look.status.description}"
        yield Finding(title=f"Its status page says {said}", troubling=look.status.is_out)
    if look.reached is not None:
        broken = look.reached.failure in (Failure.NETWORK, Failure.SERVER)
        yield Finding(title=f"The way to it: {tried(look.reached)}", troubling=broken)
    if look.credential is not None:
        refused = look.credential.failure is not None
        yield Finding(title=f"A harmless call with our key: {tried(look.credential)}", troubling=refused)
    if look.no_credential:
        yield Finding(title="There is no key to try", detail=printable(look.no_credential), troubling=True)
    yield from _classes("Failed calls, by our counters", look.classes)
    yield from _classes("Failed calls, by the log", look.log_classes)
    yield from (Finding(title=f"Could not look at {one}") for one in look.unseen)
    yield from (Finding(title=f"Log: {line}") for line in look.log[-10:])


def _classes(title: str, classes: Mapping[Failure, float]) -> Iterator[Finding]:
    if classes:
        ordered = sorted(classes.items(), key=lambda one: -one[1])
        yield Finding(title=title, detail=", ".join(f"{failure.value} {number:.3g}" for failure, number in ordered))
