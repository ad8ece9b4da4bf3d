"""Whether a Kubernetes cluster can be reached, and whether our account there may do what the system's flows need."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from nightshift.catalogue import System
from nightshift.remediation.connections import KubernetesConnection
from nightshift.remediation.kubernetes.permissions import FLOW_OPERATIONS, Need, needs_of_flows
from nightshift.running.doctor.finding import Seen, error, ok


def look_at_cluster(name: str, connection: KubernetesConnection) -> Iterator[Seen]:
    """Whether it answers us.

    Raises:
        NightshiftError: it does not, with the remedy.
    """
    # The official client is imported for systems that have a cluster.
    from nightshift.remediation.clients.kubernetes.cluster import open_cluster

    with open_cluster(name, connection, within=2 * connection.timeout) as cluster:
        yield ok(f"Kubernetes {cluster.version()} answers; namespaces {', '.join(connection.all_namespaces)}.")


def works_on_a_cluster(system: System) -> bool:
    """Whether any flow that answers its alerts needs permissions there."""
    return any(flow in FLOW_OPERATIONS for flow in system.flows)


def look_at_permissions(system: System, name: str, connection: KubernetesConnection) -> Iterator[Seen]:
    """Each permission that is missing is one finding; asking changes nothing.

    Raises:
        NightshiftError: the cluster cannot be asked.
    """
    from nightshift.remediation.clients.kubernetes.access import is_allowed
    from nightshift.remediation.clients.kubernetes.cluster import open_cluster

    needs = needs_of_flows(system.flows, connection.all_namespaces)
    with open_cluster(name, connection) as cluster:
        missing = [need for need in needs if not is_allowed(cluster, need)]
    for (resource, where), verbs in _together(missing).items():
        yield error(
            f"Our account may not {', '.join(verbs)} {resource} {where}.",
            f"Grant it: nightshift kubernetes role --system {system.id} --cluster {name} | kubectl apply -f -",
        )
    if not missing:
        yield ok(f"Our account may do everything that its flows need: {len(needs)} permissions were asked for.")


def _together(needs: list[Need]) -> dict[tuple[str, str], list[str]]:
    """Verbs by resource and place: a Role that is missing as a whole is not told verb by verb."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for need in needs:
        group = f".{need.group}" if need.group else ""
        where = f"in the namespace {need.namespace}" if need.namespace else "in the whole cluster"
        found[f"{need.full_resource}{group}", where].append(need.verb)
    return found
