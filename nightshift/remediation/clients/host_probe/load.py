"""Who uses the processors and the memory of a host (``host.top_processes``), and the end of one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from nightshift.remediation.clients.host import Host
from nightshift.remediation.clients.host_probe.asking import ask
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.host_load.arguments import EndProcess, ProcessIdentity
from nightshift.remediation.host_load.objects import Evidence, HostLook, Process
from nightshift.remediation.hosts.services import HostService
from nightshift.remediation.inventory import serves
from nightshift.remediation.text import printable

LOOKING_SECONDS = 90.0
"""The two looks may be half of this apart."""
CHECKING_SECONDS = 20.0
_SAMPLE = 1.0
ENDING_SECONDS = 60.0
"""Beside the grace that the process has."""


@serves("test_watcher.HighCPUUsage: d1 d2", "bybit_strategy_tester.HighCPUUsage: d2 d3")
def look_at_load(host: Host, *, sample: float, services: Sequence[HostService]) -> HostLook:
    """The hungriest processes, measured between two looks: neither since their start nor over their life.

    Raises:
        NightshiftError: as :func:`ask`.
    """
    named = [{"manager": one.manager, "name": one.name, "socket": one.socket} for one in services]
    answer = ask(host, "look at the processes", "load", seconds=LOOKING_SECONDS, sample=sample, services=named)
    return HostLook(
        boot=str(answer["boot"]),
        cpus=int(answer["cpus"]),
        busy=float(answer["busy"]),
        memory_total=int(answer["memory_total"]),
        memory_available=int(answer["memory_available"]),
        processes=tuple(Process.model_validate(one) for one in answer["processes"]),
    )


def evidence_of(host: Host, identity: ProcessIdentity) -> Evidence:
    """What a running process tells of itself; it is not stopped.

    Raises:
        TargetChangedError: it is that process no more.
        NightshiftError: as :func:`ask`.
    """
    what = f"look into process {identity.pid}"
    return _evidence(ask(host, what, "memory_of", seconds=CHECKING_SECONDS, **_known_by(identity)))


def check_runs_away(host: Host, arguments: EndProcess) -> None:
    """Raises TargetChangedError unless it is the same process, and uses the processors as it did."""
    _, differs, used = _now(host, arguments)
    if differs:
        raise TargetChangedError(f"Process {arguments.pid} is not the one that was diagnosed: {differs}.")
    if used < arguments.cpus:
        raise TargetChangedError(f"Process {arguments.pid} uses {used:.1f} processors by now: it runs away no more.")


def is_there(host: Host, identity: ProcessIdentity) -> bool:
    """Whether that very process still runs.

    Raises:
        NightshiftError: as :func:`ask`.
    """
    return _now(host, identity, 0.1)[0]


def end_process(host: Host, arguments: EndProcess) -> tuple[str, dict[str, JsonValue]]:
    """End one process; the signal that it took, and what it told of itself before.

    Raises:
        TargetChangedError: it is that process no more.
        CommandFailedError: it does not end.
        NightshiftError: as :func:`ask`.
    """
    seconds = arguments.grace + ENDING_SECONDS
    what = f"end process {arguments.pid}"
    answer = ask(host, what, EndProcess.KIND, seconds=seconds, grace=arguments.grace, **_known_by(arguments))
    return str(answer["by"]), _evidence(answer["evidence"]).model_dump(mode="json")


def _now(host: Host, identity: ProcessIdentity, sample: float = _SAMPLE) -> tuple[bool, str, float]:
    """Whether it is there, what tells it from the one that was diagnosed, and the processors it uses."""
    what = f"look at process {identity.pid}"
    answer = ask(host, what, "same_process", seconds=CHECKING_SECONDS, sample=sample, **_known_by(identity))
    return bool(answer["there"]), printable(str(answer["differs"]), 120), float(answer["used"])


def _known_by(identity: ProcessIdentity) -> dict[str, Any]:
    return {name: getattr(identity, name) for name in ProcessIdentity.model_fields if name != "host"}


def _evidence(answer: Mapping[str, Any]) -> Evidence:
    numbers = {**answer["memory"], **answer["status"]}
    threads = (
        f"{int(one['thread'])} {printable(str(one['name']), 40)} {float(one['cpus']):.2f} processors"
        for one in answer["threads"]
    )
    return Evidence(
        memory={printable(str(name), 40): printable(str(value), 60) for name, value in numbers.items()},
        threads=tuple(threads),
        files=answer["files"],
    )
