"""A PostgreSQL cluster on a host, recovered from a backup (operation ``postgres.recover``), watched and taken back."""

from __future__ import annotations

from typing import Any

from nightshift.remediation.clients.host import Host
from nightshift.remediation.clients.host_probe.asking import ask
from nightshift.remediation.clients.host_probe.disk import parse, path_text
from nightshift.remediation.databases.host_cluster import ClusterAnswer, HostCluster, RecoverySource
from nightshift.remediation.models import Value

LOOKING_SECONDS = 60.0
"""The backups are listed, and the bytes that were restored so far are counted."""
BEGINNING_SECONDS = 300.0
"""A server may take its time to stop."""
RESTORING_SECONDS = 3600.0
"""Then pgBackRest ends by itself."""


class MovedBack(Value):
    """Whether the old directory is at its place again."""

    done: bool


def look_at_recovery(host: Host, cluster: HostCluster, label: str = "") -> RecoverySource:
    """What it could be recovered from, or with a label how far that recovery is.

    Raises:
        NightshiftError: as :func:`ask`.
    """
    what = f"see what {cluster.data_directory} can be recovered from"
    found = ask(host, what, "recovery_state", seconds=LOOKING_SECONDS, **_request(cluster, label))
    state = dict(found.pop("service"))["state"]
    return parse(RecoverySource, {**found, "state": state})


def begin(host: Host, cluster: HostCluster, label: str) -> None:
    """Stop the server and begin to restore this backup beside its directory.

    Raises:
        DiskFullError: it does not fit.
        TargetChangedError: the backup is gone, or somebody runs on these files.
        NightshiftError: as :func:`ask`.
    """
    what = f"begin to recover {cluster.data_directory}"
    more = {"restore_seconds": RESTORING_SECONDS}
    ask(host, what, "begin_recovery", seconds=BEGINNING_SECONDS, **_request(cluster, label), **more)


def put_in_place(host: Host, cluster: HostCluster, label: str) -> str:
    """Move the broken directory aside, the restored one to its place, and start the server; where the old one is kept.

    Raises:
        CommandFailedError: the restore did not come to its end, or the server was not started.
        NightshiftError: as :func:`ask`.
    """
    what = f"put the restored {cluster.data_directory} in place"
    answer = ask(host, what, "put_in_place", seconds=BEGINNING_SECONDS, **_request(cluster, label))
    return str(answer["kept"])


def look_at_answer(host: Host, cluster: HostCluster) -> ClusterAnswer:
    """Whether it answers on its own host, with the rows that it must have.

    Raises:
        CommandFailedError: it lacks rows.
        NightshiftError: as :func:`ask`.
    """
    what = f"count what is in {cluster.data_directory}"
    found = ask(host, what, "cluster_answers", seconds=LOOKING_SECONDS, **_request(cluster, ""))
    return parse(ClusterAnswer, {key: value for key, value in found.items() if key in ClusterAnswer.model_fields})


def startup_title(host: Host, cluster: HostCluster) -> str:
    """What the process that replays the server's log says that it is at; empty: there is none.

    Raises:
        NightshiftError: as :func:`ask`.
    """
    what = f"see how far {cluster.data_directory} is"
    place = path_text(cluster.data_directory)
    return str(ask(host, what, "startup_of", seconds=LOOKING_SECONDS, data_directory=place)["startup"])


def move_back(host: Host, cluster: HostCluster, label: str) -> str:
    """Stop the server and put its old directory back; where the recovered one is kept.

    Raises:
        TargetChangedError: the old one is gone.
        NightshiftError: as :func:`ask`.
    """
    what = f"put the old {cluster.data_directory} back"
    return str(ask(host, what, "move_back", seconds=BEGINNING_SECONDS, **_request(cluster, label))["kept"])


def is_moved_back(host: Host, cluster: HostCluster, label: str) -> bool:
    """Whether that was done.

    Raises:
        NightshiftError: as :func:`ask`.
    """
    what = f"look at {cluster.data_directory}"
    return parse(MovedBack, ask(host, what, "moved_back", seconds=LOOKING_SECONDS, **_request(cluster, label))).done


def _request(cluster: HostCluster, label: str) -> dict[str, Any]:
    rule = cluster.recover
    written = rule.model_dump(mode="json", exclude={"upload"}) if rule is not None else {}
    return {
        "rule": {**written, "directory": path_text(rule.directory)} if rule is not None else {},
        "data_directory": path_text(cluster.data_directory),
        "label": label,
        "service": cluster.service.model_dump(mode="json", include={"manager", "name", "socket"}),
    }
