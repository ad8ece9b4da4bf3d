"""The host behind a node of a cluster (``host.service_status``, ``service_logs``, ``kernel_log``, ``disk_usage``)."""

from __future__ import annotations

from nightshift.remediation.clients.host import Host
from nightshift.remediation.clients.host_probe.asking import ask
from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.node_diagnosis import HostLook

LOOKING_SECONDS = 20.0


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
        runtime=str(answer["runtime"]),
        runtime_unit=str(answer["runtime_unit"]).removesuffix(".service") or "containerd",
        kernel=tuple(map(str, answer["kernel"])),
        kubelet_log=tuple(map(str, answer["kubelet_log"])),
        disk_used_percent=answer["disk_used_percent"],
    )
