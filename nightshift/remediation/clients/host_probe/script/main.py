"""One request in, one answer out."""

import importlib
import json
import os
import signal
import sys
from typing import Any, Callable, Dict

from .wire import Gone, Refused, refusal_of

OPERATIONS: Dict[str, str] = {
    "read_mounts": "mounts.listed",
    "read_usage": "mounts.used",
    "diagnose": "looking.diagnose",
    "states": "looking.states",
    "delete_files": "removing.delete_files",
    "apply_backup_retention": "removing.apply_backup_retention",
    "kept_backups": "removing.kept_backups",
    "archive_files": "keeping.archive_files",
    "copies": "keeping.copies",
    "cut_log": "cutting.cut_log",
    "release_deleted_file": "cutting.release_deleted_file",
    "held": "cutting.held",
    "vacuum_journal": "cleaning.vacuum_journal",
    "journal": "looking.journal_of",
    "clean_package_cache": "cleaning.clean_package_cache",
    "package_cache": "looking.package_cache_of",
    "prune_docker": "cleaning.prune_docker",
    "docker_left": "cleaning.docker_left",
    "lacks": "permissions.lacks",
    "certificate": "renewing.certificate",
    "renew_host_certificate": "renewing.renew_certificate",
    "reload_service": "renewing.reload_service",
    "service": "renewing.service",
    "node_state": "nodes.node_state",
    "node_service": "nodes.node_service",
    "restart_node_service": "nodes.restart_node_service",
    "service_state": "services.service_state",
    "service_evidence": "services.service_evidence",
    "service_needs": "needing.service_needs",
    "restart_host_service": "services.restart_host_service",
    "stop_host_service": "services.stop_host_service",
    "port_holders": "listening.port_holders",
    "firewall": "firewall.firewall",
    "block_sources": "firewall.block_sources",
    "unblock_sources": "firewall.unblock_sources",
    "load": "load.load",
    "same_process": "ending.same_process",
    "memory_of": "ending.memory_of",
    "end_process": "ending.end_process",
    "backups": "dumping.backups_now",
    "backups_listed": "dumping.backups_listed",
    "make_backup": "dumping.make_backup",
    "upload_backup": "dumping.upload_backup",
    "prove_backup": "proving.prove_backup",
    "recovery_state": "recovering.recovery_state",
    "begin_recovery": "recovering.begin_recovery",
    "put_in_place": "recovering.put_in_place",
    "cluster_answers": "recovering.cluster_answers",
    "startup_of": "recovering.startup_of",
    "move_back": "recovering.move_back",
    "moved_back": "recovering.moved_back",
    "setting": "settings.setting",
    "update_setting": "settings.update_setting",
    "reach": "reaching.reach",
    "tail_of": "reaching.tail_of",
    "suite": "suite.suite",
    "check_times": "suite.check_times",
    "run_tests": "suite.run_tests",
    "run_audit": "suite.run_audit",
}
"""Module and function of each; only the modules that an operation needs are compiled on the target."""


def operation(name: str) -> Callable[[Dict[str, Any]], Any]:
    """The function of an operation."""
    module, function = OPERATIONS[name].split(".")
    found: Callable[[Dict[str, Any]], Any] = getattr(importlib.import_module("." + module, __package__), function)
    return found


def answer(request: Dict[str, Any]) -> Dict[str, Any]:
    """The answer to one request; a refusal is an answer too."""
    try:
        return {"result": operation(request["operation"])(request)}
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
