"""What the forkserver has ready for flow runs: modules, models and the catalogue. No thread, and no connection."""

from __future__ import annotations

import gc
import importlib
import sys
import threading
from contextlib import suppress

from nightshift.catalogue.kept import Files, catalogue_in, files_now
from nightshift.remediation.errors import ConfigurationError
from nightshift.settings import Settings

FLOWS = (
    "nightshift.flows.backup_failure",
    "nightshift.flows.cache_efficiency",
    "nightshift.flows.certificate_expiry",
    "nightshift.flows.change_event_review",
    "nightshift.flows.connection_pool_exhaustion",
    "nightshift.flows.database_query_performance",
    "nightshift.flows.database_unavailable",
    "nightshift.flows.database_volume_reclaim",
    "nightshift.flows.deployment_replicas_mismatch",
    "nightshift.flows.disk_space_reclaim",
    "nightshift.flows.host_certificate_renewal",
    "nightshift.flows.job_failure_rate",
    "nightshift.flows.node_not_ready",
    "nightshift.flows.node_saturation",
    "nightshift.flows.pod_crash_loop",
    "nightshift.flows.pod_memory_exhaustion",
    "nightshift.flows.pod_saturation",
    "nightshift.flows.queue_backlog",
    "nightshift.flows.redis_unavailable",
    "nightshift.flows.release_regression",
    "nightshift.flows.trading_risk_breach",
    "nightshift.flows.undo_changes",
    "nightshift.flows.vector_search_errors",
    "nightshift.flows.volume_claim_pending",
    "nightshift.flows.worker_unavailable",
)
"""Modules that flow runs need, with all that these import."""
IMPORTED_LATE = (
    "encodings.idna",
    "graphviz",
    "nightshift.remediation.clients.local_host",
    "prefect._internal.metrics",
    "prefect._internal.observers",
    "prefect.flow_engine",
    "prefect.task_engine",
    "rich._emoji_codes",
)
"""Modules that Prefect and others import only while a flow runs."""
CLIENTS = {
    "docker": ("nightshift.remediation.clients.docker.engine",),
    "kubernetes": ("kubernetes.client", "kubernetes.config"),
    "s3": ("nightshift.remediation.clients.s3",),
    "ssh": ("nightshift.remediation.clients.ssh_host",),
}
"""Modules that take long to load, by the type of connection that needs them: loaded where the catalogue has one."""
BUILT_LATE = {
    "prefect.client.schemas.actions": ("ArtifactCreate", "FlowRunUpdate", "LogCreate", "StateCreate"),
    "prefect.client.schemas.objects": ("Artifact", "Flow", "FlowRun", "State", "TaskRun", "WorkPool", "WorkQueue"),
    "prefect.client.schemas.responses": ("DeploymentResponse", "OrchestrationResult"),
}
"""Models that Prefect makes ready only when they are first used (pydantic's ``defer_build``)."""


def preload() -> None:
    """Load what every flow run needs.

    Raises:
        RuntimeError: something that was loaded began a thread, which no fork would have.
    """
    for name in (*IMPORTED_LATE, *FLOWS):
        importlib.import_module(name)
    for name, models in BUILT_LATE.items():
        module = importlib.import_module(name)
        for model in models:
            getattr(module, model).model_rebuild()
    _settle()


class Runbooks:
    """The catalogue, kept as it is on disk, so that a fork finds it read."""

    def __init__(self) -> None:
        self._folder = None
        # What is wrong with settings or catalogue, each flow run says itself.
        with suppress(ConfigurationError, ValueError):
            self._folder = Settings().runbooks
        self._seen: Files | None = None
        self._wanted: tuple[str, ...] = ()

    def keep(self) -> None:
        """Read the catalogue, unless it is as it was at the last time."""
        if self._folder is None or (files := files_now(self._folder)) == self._seen:
            return
        self._seen = files
        with suppress(ConfigurationError, OSError):
            systems = catalogue_in(self._folder).systems.values()
            types = {connection.type for system in systems for connection in system.connections.values()}
            self._wanted = tuple(name for kind in sorted(types) for name in CLIENTS.get(kind, ()))
            _settle()

    @property
    def is_complete(self) -> bool:
        """Whether the clients that this catalogue needs are loaded."""
        return all(name in sys.modules for name in self._wanted)

    def complete(self) -> None:
        """Load them; takes a second or two, for which no run should have to wait."""
        for name in self._wanted:
            importlib.import_module(name)
        _settle()


def _settle() -> None:
    if threading.active_count() != 1:
        raise RuntimeError(f"loading began threads: {[thread.name for thread in threading.enumerate()]}")
    gc.collect()
    gc.freeze()  # what is loaded stays shared: the collector does not write into it
