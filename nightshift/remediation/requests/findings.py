"""What was seen around requests in trouble, as findings for people; the worst first. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from nightshift.remediation.compose.objects import Container
from nightshift.remediation.compose.releases import released_at
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.regression import findings_of as of_regression
from nightshift.remediation.models import Finding
from nightshift.remediation.requests.evidence import Answered, ComposeDeployed, RequestEvidence
from nightshift.remediation.requests.policy import RequestsPolicy
from nightshift.remediation.text import counted, printable

_REVISION = "org.opencontainers.image.revision"
"""The label in which builders write the commit."""


def findings_of(evidence: RequestEvidence, policy: RequestsPolicy) -> tuple[Finding, ...]:
    """The symptom and its release, where the trouble is, what is needed, the log, and what there is of resources."""
    if isinstance(evidence.deployed, ComposeDeployed):
        of_release = tuple(_of_containers(evidence, evidence.deployed, policy))
    else:
        of_release = of_regression(evidence.deployed, policy)
    return (*of_release, *_parts(evidence), *_dependencies(evidence), *_log(evidence), *_resources(evidence))


def _of_containers(evidence: RequestEvidence, deployed: ComposeDeployed, policy: RequestsPolicy) -> Iterator[Finding]:
    troubling = evidence.value > policy.measure.at_most
    since = f"since {evidence.since:%Y-%m-%d %H:%M:%S} UTC" if evidence.since else "since when cannot be told"
    yield Finding(
        title=policy.measure.shown(evidence.value),
        detail=since if troubling else "within its limit",
        data={"value": evidence.value, "at_most": policy.measure.at_most},
        troubling=troubling,
    )
    made = released_at(deployed.look)
    when = f"made {made:%Y-%m-%d %H:%M:%S} UTC" if made else "made at a time that cannot be told"
    for one in deployed.look.containers:
        yield Finding(
            title=f"Container {printable(one.name, 80)} is {printable(one.health or one.state, 20)}",
            detail=f"{when}, of {_image(deployed, one)}",
            troubling=not one.works,
        )


@serves("bybit_strategy_tester.HighErrorRate: d4")
def _image(deployed: ComposeDeployed, one: Container) -> str:
    """The image, and the commit it was built from where it says so: the host's working copy need not be what runs."""
    commit = one.labels.get(_REVISION, "")
    image = deployed.look.image(one.image_id)
    name = printable(image.name if image is not None else one.image, 120)
    return f"{name}, commit {printable(commit, 40)}" if commit else name


def _parts(evidence: RequestEvidence) -> Iterator[Finding]:
    if evidence.shares:
        words = "; ".join(share.words for share in evidence.shares)
        yield Finding(title="Where most of it is", detail=words)
    for title, rate in evidence.counted:
        yield Finding(title=f"{printable(title, 100)}: {rate:.3g} a second")


def _dependencies(evidence: RequestEvidence) -> Iterator[Finding]:
    for one in sorted(evidence.dependencies, key=_well):
        of_others = " (of others)" if one.external else ""
        yield Finding(title=f"{one.name}{of_others}: {one.says}", troubling=not _well(one))


def _well(one: Answered) -> bool:
    return bool(one.answers) and not (one.full or one.slow or one.limits_us)


def _log(evidence: RequestEvidence) -> Iterator[Finding]:
    for call in evidence.failing:
        yield Finding(title="Errors begin in", detail=call.words, troubling=True)
    for group in evidence.groups:
        title = f"{counted(group.count, 'line')} of its log: {group.meaning}"
        yield Finding(title=title, detail=group.example, troubling=True)
    if evidence.settings:
        yield Finding(title="What it may ask of others", detail="; ".join(evidence.settings))


def _resources(evidence: RequestEvidence) -> Iterator[Finding]:
    pressure = evidence.pressure
    for name in pressure.killed:
        yield Finding(title=f"{name} was killed for memory", troubling=True)
    if pressure.used:
        detail = "; ".join(pressure.used)
        percent = pressure.memory_percent
        title = f"It uses {percent:.0f} % of its memory limit" if percent is not None else "What it uses"
        yield Finding(title=title, detail=detail, troubling=percent is not None and percent > 90)
    if pressure.pool_percent is not None:
        percent = pressure.pool_percent
        yield Finding(title=f"{percent:.0f} % of its connection pool is in use", troubling=percent > 90)
    if pressure.disk_percent is not None:
        percent = pressure.disk_percent
        yield Finding(title=f"Its disk is {percent:.1f} % full", troubling=percent > 90)
    for words in pressure.unknown:
        yield Finding(title="Not looked at", detail=printable(words, 300), troubling=True)
