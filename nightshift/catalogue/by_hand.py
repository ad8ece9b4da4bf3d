"""What a person means who starts a flow by hand: checked against the catalogue exactly as an alert is."""

from __future__ import annotations

from nightshift.catalogue.catalogue import Catalogue
from nightshift.catalogue.models import CONNECTED_KINDS, FILESYSTEM, Runbook, System
from nightshift.remediation.errors import ConfigurationError
from nightshift.remediation.kubernetes.names import OBJECT_KINDS, object_of_cluster
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.models import Target
from nightshift.remediation.mount_points import mount_point
from nightshift.remediation.text import printable


def trouble_by_hand(catalogue: Catalogue, flow: str, system_id: str, target: str) -> Trouble:
    """The trouble that a run of this flow on this target is about.

    Args:
        catalogue: where all of it must be declared.
        flow: name of a flow that answers some alert of the system.
        system_id: a system of the catalogue.
        target: names from the outermost in, parted by colons (``web1:/data``), or a target key.

    Raises:
        ConfigurationError: something of it is not in the catalogue; says what is.
    """
    system = catalogue.systems.get(system_id)
    if system is None:
        known = ", ".join(sorted(catalogue.systems))
        raise ConfigurationError(f"There is no system {printable(system_id)!r}.", remedy=f"Systems: {known}.")
    alert, runbook = _runbook(system, flow)
    found = _target(system, runbook, target)
    title = f"{flow} by hand on {printable(found.label)}"
    return Trouble(system.id, alert, flow, found, runbook.severity, title)


def _runbook(system: System, flow: str) -> tuple[str, Runbook]:
    for alert, runbook in system.runbooks.items():
        if runbook.flow == flow:
            return alert, runbook
    flows = sorted({runbook.flow for runbook in system.runbooks.values() if runbook.flow})
    remedy = f"Its flows: {', '.join(flows)}." if flows else "No flow answers its alerts yet."
    raise ConfigurationError(f"{system.display} has no runbook with the flow {printable(flow)!r}.", remedy=remedy)


def _target(system: System, runbook: Runbook, text: str) -> Target:
    kinds = tuple(runbook.target)
    shape = ":".join(kinds)
    if text.startswith(f"{system.id}/"):
        target = Target.from_key(text)
        names = target.path[1::2]
        right = target.path[::2] == kinds and len(names) == len(kinds)
    else:
        names = tuple(text.split(":", len(kinds) - 1))
        right = len(names) == len(kinds)
    if not right:
        raise ConfigurationError(f"{printable(text)!r} is no target of this flow.", remedy=f"Write {shape}.")
    path: list[str] = []
    for kind, name in zip(kinds, names, strict=True):
        _check(system, runbook, kind, name)
        path += (kind, name)
    return Target(system=system.id, path=tuple(path))


def _check(system: System, runbook: Runbook, kind: str, name: str) -> None:
    if kind == FILESYSTEM:
        try:
            mount_point(name)
        except ValueError as error:
            raise ConfigurationError(f"{printable(name)!r} is no mount point: {error}.") from None
        return
    if kind in OBJECT_KINDS and "cluster" in runbook.target:
        _check_object(system, runbook, kind, name)
        return
    wanted = CONNECTED_KINDS.get(kind, ())
    known = [n for n, connection in system.connections.items() if connection.type in wanted]
    known += runbook.target[kind].among
    if name not in known:
        remedy = f"Known: {', '.join(sorted(known)) or 'none'}."
        raise ConfigurationError(f"{system.display} has no {kind} {printable(name)!r}.", remedy=remedy)


def _check_object(system: System, runbook: Runbook, kind: str, name: str) -> None:
    """An object of a cluster: well-formed, and a namespace only where the system lives."""
    try:
        object_of_cluster(kind, name)
    except ValueError as error:
        raise ConfigurationError(f"{error}.") from None
    clusters = [n for n, connection in system.connections.items() if connection.type == "kubernetes"]
    known = runbook.target[kind].among
    if not known and kind == "namespace":
        known = tuple(dict.fromkeys(namespace for c in clusters for namespace in system.namespaces_of(c)))
    if known and name not in known:
        raise ConfigurationError(f"{system.display} has no {kind} {name!r}.", remedy=f"Known: {', '.join(known)}.")
