"""What a look at workers says, for people. Names of tasks are hostile; their arguments are never read."""

from __future__ import annotations

from collections.abc import Iterator

from nightshift.remediation.durations import format_duration
from nightshift.remediation.models import Finding, format_bytes
from nightshift.remediation.text import counted, printable
from nightshift.remediation.workers.objects import WorkersDiagnosis


def findings_of(diagnosis: WorkersDiagnosis) -> tuple[Finding, ...]:
    """Most telling first."""
    return tuple(_findings(diagnosis))


def in_words(diagnosis: WorkersDiagnosis) -> str:
    """One look as a line for people."""
    if diagnosis.broker_silence is not None:
        return f"the broker does not answer: {diagnosis.broker_silence.why}"
    answer = f"{len(diagnosis.workers)} of {counted(len(diagnosis.service.containers), 'worker')} answer"
    return f"{answer}, {counted(diagnosis.waiting, 'task')} wait"


def _findings(diagnosis: WorkersDiagnosis) -> Iterator[Finding]:
    troubling = diagnosis.broker_silence is not None or bool(diagnosis.silent)
    yield Finding(title=in_words(diagnosis)[:1].upper() + in_words(diagnosis)[1:], troubling=troubling)
    for one in diagnosis.service.containers:
        ended = f", ended with {one.exit_code}" if one.exit_code is not None else ""
        usage = diagnosis.usages.get(one.id)
        uses = f", uses {format_bytes(usage.memory)} and {usage.cpus:.1f} processors" if usage else ""
        yield Finding(
            title=f"{printable(one.name, 80)} is {printable(one.health or one.state, 20)}{ended}",
            detail=f"started again {one.restarts} times by the engine{one.and_memory_death}{uses}",
            troubling=not one.works,
        )
    for worker in diagnosis.workers:
        yield Finding(
            title=f"Worker {printable(worker.name, 80)}: {worker.active} of {worker.processes} processes work",
            detail=f"{counted(worker.reserved, 'task')} taken and not begun; the oldest runs for "
            f"{format_duration(worker.longest)}",
        )
    for queue, length in diagnosis.queues.items():
        yield Finding(title=f"Queue {printable(queue, 60)}: {counted(length, 'task')} wait")
    for message in diagnosis.head:
        if message.redelivered:
            yield Finding(
                title=f"Taken before and not finished: {printable(message.task, 80)} {printable(message.id, 40)}",
                detail=f"workers took it {message.taken} times and never finished it, by their log",
                troubling=message.taken > 0,
            )
    if diagnosis.log:
        yield Finding(title="Last words", detail=" / ".join(diagnosis.log))
