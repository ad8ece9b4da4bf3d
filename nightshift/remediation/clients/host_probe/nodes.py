"""The host behind a node of a cluster: ``host.service_status``, ``service_logs``, ``kernel_log``, a restart."""

from __future__ import annotations

from nightshift.remediation.clients.host import Host
from nightshift.remediation.clients.host_probe.asking import ask
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.arguments import RestartNodeService
from nightshift.remediation.kubernetes.node_diagnosis import HostLook

LOOKING_SECONDS = 20.0
RESTARTING_SECONDS = 60.0
"""A kubelet says within seconds that it runs, a container runtime after it has looked at its containers."""


@serves("octollm.NodeNotReady: d6 d7 d8 d9 r1.1 r4.1 r4.5 r5.1 r5.2")
def look_at_node_host(host: Host) -> HostLook:
    """What the host itself says, of octollm.NodeNotReady.d3-d9.

    Raises:
        NightshiftError: as :func:`ask`.
    """
    answer = ask(host, "look at the kubelet", "node_state", seconds=LOOKING_SECONDS)
    return HostLook(
        reachable=True,
        kubelet=str(answer["kubelet"]),
        kubelet_run=str(answer["kubelet_run"]),
        runtime=str(answer["runtime"]),
        runtime_run=str(answer["runtime_run"]),
        runtime_unit=str(answer["runtime_unit"]).removesuffix(".service") or "containerd",
        kernel=tuple(map(str, answer["kernel"])),
        kubelet_log=tuple(map(str, answer["kubelet_log"])),
        disk_used_percent=answer["disk_used_percent"],
    )


def restart_service(host: Host, arguments: RestartNodeService) -> None:
    """Start a service of the node again that was seen not to run.

    Raises:
        TargetChangedError: somebody else started it meanwhile.
        CommandFailedError: it did not start.
        NightshiftError: as :func:`ask`.
    """
    what, unit, run = f"restart {arguments.unit}", arguments.unit, arguments.run
    ask(host, what, RestartNodeService.KIND, seconds=RESTARTING_SECONDS, unit=unit, run=run)


def runs_again(host: Host, arguments: RestartNodeService) -> bool:
    """Whether the service runs, and was started after it had been seen not to."""
    found = ask(host, f"look at {arguments.unit}", "node_service", seconds=LOOKING_SECONDS, unit=arguments.unit)
    return bool(found["state"] == "active" and found["run"] != arguments.run)


def check_stopped(host: Host, arguments: RestartNodeService) -> None:
    """Raises TargetChangedError when the service is not as it was seen: it runs, or was started in between."""
    found = ask(host, f"look at {arguments.unit}", "node_service", seconds=LOOKING_SECONDS, unit=arguments.unit)
    if found["state"] == "active" or found["run"] != arguments.run:
        raise TargetChangedError(f"{arguments.unit} was started by somebody else meanwhile.")
