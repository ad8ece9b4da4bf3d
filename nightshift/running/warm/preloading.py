"""What the forkserver has ready for flow runs: modules, models and the catalogue. No thread, and no connection."""

from __future__ import annotations

import gc
import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

from pydantic import BaseModel

from nightshift.catalogue.kept import Files, catalogue_in, files_now
from nightshift.remediation.errors import ConfigurationError
from nightshift.settings import Settings

FLOWS = (
    "nightshift.flows.activity_stalled",
    "nightshift.flows.agent_unavailable",
    "nightshift.flows.alert_history_report",
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
    "nightshift.flows.external_dependency_failure",
    "nightshift.flows.file_queue_backlog",
    "nightshift.flows.health_sweep",
    "nightshift.flows.host_certificate_renewal",
    "nightshift.flows.host_job_failures",
    "nightshift.flows.host_saturation",
    "nightshift.flows.host_service_unresponsive",
    "nightshift.flows.http_error_rate_response",
    "nightshift.flows.inbound_abuse_mitigation",
    "nightshift.flows.job_failure_rate",
    "nightshift.flows.node_not_ready",
    "nightshift.flows.node_saturation",
    "nightshift.flows.outbound_quota_exhaustion",
    "nightshift.flows.pod_crash_loop",
    "nightshift.flows.pod_memory_exhaustion",
    "nightshift.flows.pod_saturation",
    "nightshift.flows.post_incident_review",
    "nightshift.flows.queue_backlog",
    "nightshift.flows.redis_unavailable",
    "nightshift.flows.request_latency_response",
    "nightshift.flows.service_memory_growth",
    "nightshift.flows.service_unresponsive",
    "nightshift.flows.signal_quality_review",
    "nightshift.flows.signed_request_failures",
    "nightshift.flows.test_suite_quality",
    "nightshift.flows.trading_risk_breach",
    "nightshift.flows.undo_changes",
    "nightshift.flows.vector_search_errors",
    "nightshift.flows.volume_claim_pending",
    "nightshift.flows.worker_unavailable",
)
"""Modules that flow runs need, with all that these import."""
IMPORTED_LATE = (
    "anyio._backends._asyncio",
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
    "windows": ("nightshift.remediation.clients.windows_services",),
}
"""Modules that take long to load, by the type of connection that needs them: loaded where the catalogue has one."""


def preload() -> None:
    """Load what every flow run needs.

    Raises:
        RuntimeError: something that was loaded began a thread, which no fork would have.
    """
    for name in (*IMPORTED_LATE, *FLOWS):
        importlib.import_module(name)
    for model in _models(BaseModel):
        # Prefect leaves most of its own to be made ready when they are first used (pydantic's ``defer_build``).
        if not model.__pydantic_complete__:
            model.model_rebuild(raise_errors=False)
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


def _models(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for model in kind.__subclasses__():
        yield model
        yield from _models(model)


def _settle() -> None:
    if threading.active_count() != 1:
        raise RuntimeError(f"loading began threads: {[thread.name for thread in threading.enumerate()]}")
    gc.collect()
    gc.freeze()  # what is loaded stays shared: the collector does not write into it
