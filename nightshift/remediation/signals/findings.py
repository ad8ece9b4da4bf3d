"""What the review found, for people who have to judge signals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nightshift.remediation.models import Finding
from nightshift.remediation.signals.facts import SignalDiagnosis, Tally
from nightshift.remediation.signals.policy import SignalQualityPolicy
from nightshift.remediation.signals.review import (
    bad_hours,
    in_words,
    is_high,
    is_severe,
    is_systematic,
    is_volatile,
    market_in_words,
    tally_in_words,
)
from nightshift.remediation.text import counted, printable

_MOST = 10


def findings_of(diagnosis: SignalDiagnosis, policy: SignalQualityPolicy) -> tuple[Finding, ...]:
    """Most telling first."""
    return tuple(_findings(diagnosis, policy))


def _findings(diagnosis: SignalDiagnosis, policy: SignalQualityPolicy) -> Iterator[Finding]:
    words = in_words(diagnosis)
    high = is_high(diagnosis, policy)
    yield Finding(title=words[0].upper() + words[1:], detail=tally_in_words(diagnosis.last_hour), troubling=bool(high))
    yield _counter(diagnosis, policy)
    bad = len(bad_hours(diagnosis, policy))
    severe, systematic = is_severe(diagnosis, policy), is_systematic(diagnosis, policy)
    detail = f"more than {policy.severe_percent:g} % in the last two" if severe else ""
    title = f"{counted(bad, 'bad hour')} of the last {len(diagnosis.hours)}"
    yield Finding(title=title, detail=detail, troubling=severe or systematic)
    yield Finding(title="Market", detail=market_in_words(diagnosis, policy), troubling=is_volatile(diagnosis, policy))
    yield _results(diagnosis)


def _counter(diagnosis: SignalDiagnosis, policy: SignalQualityPolicy) -> Finding:
    percent = diagnosis.counted_percent
    if percent is None:
        return Finding(title="The application's counter", detail=f"not measured: {diagnosis.counter_complaint}")
    title = f"The application's counter: {percent:.0f} % of all decisions reject"
    return Finding(
        title=title, detail="a signal counts as often as it was decided", troubling=percent > policy.rejected_percent
    )


def _results(diagnosis: SignalDiagnosis) -> Finding:
    results = diagnosis.results
    if results is None:
        return Finding(title="How approved signals ended", detail=f"not known: {diagnosis.results_complaint}")
    closed = counted(results.closed, "approved signal")
    return Finding(title=f"Of {closed} of the last day that ended, {results.won:,} won")


def evidence_markdown(diagnosis: SignalDiagnosis) -> str:
    """Instruments, sources and hours as tables."""
    parts = [_table("Instrument, last hour", diagnosis.instruments)]
    if diagnosis.sources is not None:
        parts.append(_table("Source, last hour", diagnosis.sources))
    hours = [
        one.model_copy(update={"name": f"{number} to {number + 1} h ago"}) for number, one in enumerate(diagnosis.hours)
    ]
    parts.append(_table("Hour", [one for one in hours if one.signals]))
    return "\n\n".join(parts)


def _table(title: str, tallies: Sequence[Tally]) -> str:
    lines = [f"| {title} | Rejected | Approved | Divided | Undecided | Share rejected |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {printable(one.name, 80)} | {one.rejected:,} | {one.approved:,} | {one.divided:,} | {one.undecided:,} "
        f"| {f'{one.rejected_percent:.0f} %' if one.decided else 'nobody decided'} |"
        for one in tallies[: _MOST if "Hour" not in title else None]
    ]
    return "\n".join(lines)
