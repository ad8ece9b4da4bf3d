"""One request in, one answer out."""

import json
import os
import signal
import sys
from typing import Any, Callable, Dict

from . import cleaning, cutting, dumping, keeping, looking, mounts, nodes, permissions, proving, removing, renewing
from .wire import Gone, Refused, absolute, refusal_of


def _mounts(_: Dict[str, Any]) -> Any:
    return [{key: mount[key] for key in ("mount", "type", "source", "read_only")} for mount in mounts.read()]


def _usage(request: Dict[str, Any]) -> Any:
    return mounts.usage(mounts.find(absolute(request["mount"])))


def _journal(request: Dict[str, Any]) -> Any:
    directory = absolute(request["directory"])
    return looking.journal(directory, os.stat(directory).st_dev)


def _package_cache(request: Dict[str, Any]) -> Any:
    return looking.package_cache(os.stat(absolute(request["directory"])).st_dev)


OPERATIONS: Dict[str, Callable[[Dict[str, Any]], Any]] = {
    "read_mounts": _mounts,
    "read_usage": _usage,
    "diagnose": looking.diagnose,
    "states": looking.states,
    "delete_files": removing.delete_files,
    "apply_backup_retention": removing.apply_backup_retention,
    "kept_backups": removing.kept_backups,
    "archive_files": keeping.archive_files,
    "copies": keeping.copies,
    "cut_log": cutting.cut_log,
    "release_deleted_file": cutting.release_deleted_file,
    "held": cutting.held,
    "vacuum_journal": cleaning.vacuum_journal,
    "journal": _journal,
    "clean_package_cache": cleaning.clean_package_cache,
    "package_cache": _package_cache,
    "prune_docker": cleaning.prune_docker,
    "docker_left": cleaning.docker_left,
    "lacks": permissions.lacks,
    "certificate": renewing.certificate,
    "renew_host_certificate": renewing.renew_certificate,
    "reload_service": renewing.reload_service,
    "service": renewing.service,
    "node_state": nodes.node_state,
    "node_service": nodes.node_service,
    "restart_node_service": nodes.restart_node_service,
    "backups": dumping.backups_now,
    "make_backup": dumping.make_backup,
    "upload_backup": dumping.upload_backup,
    "prove_backup": proving.prove_backup,
}


def answer(request: Dict[str, Any]) -> Dict[str, Any]:
    """The answer to one request; a refusal is an answer too."""
    try:
        return {"result": OPERATIONS[request["operation"]](request)}
    except Refused as refusal:
        return {"refused": refusal.kind, "reason": refusal.reason}
    except Gone:
        return {"refused": "gone", "reason": "it is gone"}
    except OSError as error:
        cause = refusal_of(error)
        return {"refused": cause.kind, "reason": cause.reason}


def main() -> None:
    """Answer the request on standard input, and have ended for certain before the caller gives up waiting."""
    request = json.loads(sys.stdin.buffer.read().decode("utf-8"))
    signal.alarm(int(request["ends_within"]))
    # Someone else's wish to open a file we hold a lease on must not end us half-way.
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    os.nice(5)
    sys.stdout.write(json.dumps(answer(request)))
    sys.stdout.flush()
