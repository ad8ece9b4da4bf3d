"""What was seen where nothing happens, for people."""

from __future__ import annotations

from collections.abc import Iterator

from nightshift.remediation.activity.facts import ActivityDiagnosis, SourceSeen
from nightshift.remediation.activity.policy import ActivityStalledPolicy
from nightshift.remediation.durations import format_duration
from nightshift.remediation.inventory import serves
from nightshift.remediation.models import Finding
from nightshift.remediation.text import counted, printable


def quiet_in_words(diagnosis: ActivityDiagnosis, policy: ActivityStalledPolicy) -> str:
    """The symptom in one line."""
    last = diagnosis.last
    if last.complaint:
        return f"When the last of the {policy.events} was is not known: {printable(last.complaint)}"
    if last.age is None:
        return f"None of the {policy.events} was seen"
    return f"The last of the {policy.events} is {format_duration(last.age)} old"


@serves("trading_signals.SignalIngestionStopped: r3.1")
def source_in_words(source: SourceSeen) -> str:
    """How the external source works, by itself, by its vendor and by our log."""
    parts = [source.answer.in_words]
    if source.failures:
        parts.append(f"{source.failures} of {counted(source.calls, 'call')} to it failed")
    if (vendor := source.vendor) is not None:
        said = vendor.description or vendor.indicator or "nothing"
        unread = f"its status page could not be read: {printable(vendor.complaint, 100)}"
        parts.append(unread if vendor.indicator is None else f"its vendor says: {printable(said, 120)}")
    return ", ".join(parts)


def findings_of(diagnosis: ActivityDiagnosis, policy: ActivityStalledPolicy) -> tuple[Finding, ...]:
    """The silence, whether it is expected, and each thing that was looked at."""
    return tuple(_findings(diagnosis, policy))


def _findings(diagnosis: ActivityDiagnosis, policy: ActivityStalledPolicy) -> Iterator[Finding]:
    quiet = diagnosis.last.quiet_for > policy.limit
    limit = f"the limit is {format_duration(policy.limit)}"
    yield Finding(title=quiet_in_words(diagnosis, policy), detail=limit, troubling=quiet)
    if policy.looks.hours is not None:
        yield Finding(title="Within its hours" if diagnosis.within_hours else "Outside of its hours")
    if policy.looks.users is not None:
        there = "not known" if diagnosis.users is None else f"{diagnosis.users:g}"
        yield Finding(title=f"Users there: {there}", detail=f"some are there from {policy.looks.users.at_least:g} on")
    down = diagnosis.producer.why_down
    said = "; ".join(diagnosis.producer.log[-3:])
    yield Finding(title=down[:1].upper() + down[1:] if down else "It runs", detail=said, troubling=bool(down))
    if policy.looks.database is not None:
        yield Finding(title=printable(diagnosis.database) or "The database works", troubling=bool(diagnosis.database))
    backend = (diagnosis.backend_answer,) if diagnosis.backend_answer is not None else ()
    for answer in (*diagnosis.services, *backend):
        yield Finding(title=answer.in_words[:1].upper() + answer.in_words[1:], troubling=not answer.works)
    if diagnosis.source is not None:
        source = diagnosis.source
        yield Finding(title=source_in_words(source), detail=source.says, troubling=not source.answer.works)
    yield from _queue_and_request(diagnosis)


def _queue_and_request(diagnosis: ActivityDiagnosis) -> Iterator[Finding]:
    if (queue := diagnosis.queue) is not None:
        if queue.complaint:
            yield Finding(title=f"What waits for a decision is not known: {printable(queue.complaint)}")
        else:
            stuck = counted(len(queue.stuck), "item")
            title = f"{counted(queue.waiting, 'item')} wait for a decision, {stuck} for too long"
            yield Finding(title=title, troubling=bool(queue.stuck))
    if (sent := diagnosis.synthetic) is not None:
        title = f"A synthetic request {sent.why or f'was answered within {sent.seconds:.1f} s'}"
        yield Finding(title=title, troubling=bool(sent.why))
