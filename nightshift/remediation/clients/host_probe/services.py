"""A service of a host under systemd or supervisor: how it is, what it said, starting it again.

Operations ``host.list_processes``, ``read_log_file``, ``port_listeners``, ``start_process``, ``restart_process``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nightshift.remediation.clients.host import Host
from nightshift.remediation.clients.host_probe.asking import ask
from nightshift.remediation.errors import CommandFailedError, ConfigurationError
from nightshift.remediation.hosts.arguments import OnHostService
from nightshift.remediation.hosts.services import HostService, Running, ServiceEvidence, ServiceState, WritableDirectory

LOOKING_SECONDS = 20.0
NEEDS_SECONDS = 60.0
"""``pip check`` reads the metadata of every package."""
RESTARTING_SECONDS = 120.0
"""systemd waits 90 s for a service to end before it kills it."""


def look_at_service(host: Host, rule: HostService) -> ServiceState:
    """How a service is now.

    Raises:
        NightshiftError: as :func:`ask`.
    """
    what = f"look at {rule.name}"
    return _state(ask(host, what, "service_state", seconds=LOOKING_SECONDS, **_place(rule)))


def gather_evidence(host: Host, rule: HostService, lines: int = 200) -> ServiceEvidence:
    """Its state, at most so many lines of its log, who runs the same program, and who holds its port.

    Raises:
        NightshiftError: as :func:`ask`.
    """
    more = {"log": rule.log or "", "script": rule.script, "port": rule.port or 0, "lines": lines}
    found = ask(
        host, f"gather evidence of {rule.name}", "service_evidence", seconds=LOOKING_SECONDS, **_place(rule), **more
    )
    return ServiceEvidence(
        service=_state(found["service"]),
        log=tuple(map(str, found["log"])),
        log_age=found["log_age"],
        log_unseen=str(found["log_unseen"]),
        copies=tuple(_running(found["copies"])),
        holders=tuple(_running(found["holders"])),
    )


def look_at_needs(
    host: Host, rule: HostService, directories: Sequence[str], python: str | None
) -> tuple[tuple[WritableDirectory, ...], tuple[str, ...] | None]:
    """The directories it writes to, as its account may; what ``pip check`` complains about, None where not asked.

    Raises:
        NightshiftError: as :func:`ask`.
    """
    more = {"directories": list(directories), "python": python or ""}
    what = f"look at what {rule.name} needs"
    found = ask(host, what, "service_needs", seconds=NEEDS_SECONDS, **_place(rule), **more)
    told = found["dependencies"]
    return (
        tuple(WritableDirectory(**one) for one in found["directories"]),
        None if told is None else tuple(map(str, told)),
    )


def port_holders(host: Host, port: int) -> tuple[Running, ...]:
    """Who listens on a TCP port of the host, as far as the account may see; a stranger has the number 0.

    Raises:
        NightshiftError: as :func:`ask`.
    """
    found = ask(host, f"see who listens on port {port}", "port_holders", seconds=LOOKING_SECONDS, port=port)
    return tuple(_running(found))


def start_again(host: Host, arguments: OnHostService) -> ServiceState:
    """Start or restart the run that was seen, and wait until it has run for a moment.

    Raises:
        TargetChangedError: somebody else started or stopped it meanwhile.
        CommandFailedError: it did not start, or ended at once.
        NightshiftError: as :func:`ask`.
    """
    seconds = RESTARTING_SECONDS + arguments.settle
    what = f"start {arguments.name}"
    after = _state(ask(host, what, "restart_host_service", seconds=seconds, **_seen(arguments)))
    if not after.runs:
        code = "" if after.exit_code is None else f", with {after.exit_code}"
        raise CommandFailedError(f"{arguments.name} was started and is {after.state}{code}.")
    return after


def stop(host: Host, arguments: OnHostService) -> None:
    """Stop the run that was seen.

    Raises:
        TargetChangedError: somebody else started or stopped it meanwhile.
        NightshiftError: as :func:`ask`.
    """
    ask(host, f"stop {arguments.name}", "stop_host_service", seconds=RESTARTING_SECONDS, **_seen(arguments))


def now(host: Host, arguments: OnHostService) -> ServiceState:
    """How the service of an action is now.

    Raises:
        NightshiftError: as :func:`ask`.
    """
    place = {"manager": arguments.manager, "name": arguments.name, "socket": arguments.socket}
    return _state(ask(host, f"look at {arguments.name}", "service_state", seconds=LOOKING_SECONDS, **place))


def _place(rule: HostService) -> dict[str, Any]:
    if rule.manager == "windows":
        raise ConfigurationError(f"{rule.name} is said to be a Windows service, and its host is none.")
    return {"manager": rule.manager, "name": rule.name, "socket": rule.socket}


def _seen(arguments: OnHostService) -> dict[str, Any]:
    return arguments.model_dump(mode="json", include={"manager", "name", "socket", "run", "runs", "settle"})


def _state(found: Mapping[str, Any]) -> ServiceState:
    return ServiceState(**found)


def _running(found: Iterable[Mapping[str, Any]]) -> Iterable[Running]:
    return (Running(pid=one["pid"], command=one["command"], unit=one["unit"]) for one in found)
