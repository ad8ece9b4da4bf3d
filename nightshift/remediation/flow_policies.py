"""Which policy each flow takes: a flow that stands here can be named by a runbook of the catalogue.

A new flow adds one entry; a policy that does not declare its symptom
is refused when this is imported. Names are those of the Prefect deployments.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter

from nightshift.remediation.activity.policy import ActivityStalledPolicy
from nightshift.remediation.backups.policy import BackupFailurePolicy
from nightshift.remediation.caches.policy import CacheEfficiencyPolicy, RedisUnavailablePolicy
from nightshift.remediation.certificates.policy import CertificateExpiryPolicy
from nightshift.remediation.databases.down_policy import DatabaseUnavailablePolicy
from nightshift.remediation.databases.pool_policy import ConnectionPoolPolicy
from nightshift.remediation.databases.query_policy import QueryPolicy
from nightshift.remediation.disk_space.database_policy import DatabaseVolumePolicy
from nightshift.remediation.disk_space.policy import DiskSpacePolicy
from nightshift.remediation.file_queues.policy import FileQueuePolicy
from nightshift.remediation.host_certificates.policy import HostCertificatePolicy
from nightshift.remediation.host_load.policy import HostLoadPolicy, ServiceMemoryPolicy
from nightshift.remediation.inbound_abuse.policy import InboundAbusePolicy
from nightshift.remediation.kubernetes.change_policy import ChangeReviewPolicy
from nightshift.remediation.kubernetes.claim_policy import ClaimPendingPolicy
from nightshift.remediation.kubernetes.crash_policy import PodCrashLoopPolicy
from nightshift.remediation.kubernetes.load_policy import NodeLoadPolicy, PodLoadPolicy
from nightshift.remediation.kubernetes.memory_policy import PodMemoryPolicy
from nightshift.remediation.kubernetes.node_policy import NodeNotReadyPolicy
from nightshift.remediation.kubernetes.replicas_policy import ReplicasPolicy
from nightshift.remediation.log_errors.policy import HostJobFailuresPolicy
from nightshift.remediation.models import Value
from nightshift.remediation.providers.policy import ProviderFailurePolicy
from nightshift.remediation.providers.quota_policy import QuotaPolicy
from nightshift.remediation.requests.errors_policy import HttpErrorRatePolicy
from nightshift.remediation.requests.latency_policy import RequestLatencyPolicy
from nightshift.remediation.services.policy import HostServiceUnresponsivePolicy, ServiceUnresponsivePolicy
from nightshift.remediation.signals.policy import SignalQualityPolicy
from nightshift.remediation.signed_requests.policy import SignedRequestPolicy
from nightshift.remediation.suites.policy import TestSuitePolicy
from nightshift.remediation.symptom import flows_with
from nightshift.remediation.trading.policy import TradingRiskPolicy
from nightshift.remediation.trading_agents.policy import AgentUnavailablePolicy
from nightshift.remediation.workers.policy import JobFailurePolicy, QueueBacklogPolicy, WorkerUnavailablePolicy

FlowPolicy = (
    DiskSpacePolicy
    | DatabaseVolumePolicy
    | BackupFailurePolicy
    | TradingRiskPolicy
    | SignalQualityPolicy
    | TestSuitePolicy
    | FileQueuePolicy
    | HostCertificatePolicy
    | HostLoadPolicy
    | ServiceMemoryPolicy
    | CertificateExpiryPolicy
    | ClaimPendingPolicy
    | ConnectionPoolPolicy
    | DatabaseUnavailablePolicy
    | QueryPolicy
    | NodeNotReadyPolicy
    | PodCrashLoopPolicy
    | PodMemoryPolicy
    | HttpErrorRatePolicy
    | RequestLatencyPolicy
    | ReplicasPolicy
    | NodeLoadPolicy
    | PodLoadPolicy
    | ChangeReviewPolicy
    | RedisUnavailablePolicy
    | CacheEfficiencyPolicy
    | ServiceUnresponsivePolicy
    | HostServiceUnresponsivePolicy
    | HostJobFailuresPolicy
    | WorkerUnavailablePolicy
    | QueueBacklogPolicy
    | JobFailurePolicy
    | InboundAbusePolicy
    | SignedRequestPolicy
    | AgentUnavailablePolicy
    | ProviderFailurePolicy
    | ActivityStalledPolicy
    | QuotaPolicy
)
"""Any policy. Each type names in ``TARGET`` the kinds of the target's path that its flow needs."""

POLICIES: Mapping[str, type[Value]] = MappingProxyType(
    {
        "disk-space-reclaim": DiskSpacePolicy,
        "database-volume-reclaim": DatabaseVolumePolicy,
        "backup-failure": BackupFailurePolicy,
        "trading-risk-breach": TradingRiskPolicy,
        "signal-quality-review": SignalQualityPolicy,
        "test-suite-quality": TestSuitePolicy,
        "file-queue-backlog": FileQueuePolicy,
        "host-certificate-renewal": HostCertificatePolicy,
        "host-saturation": HostLoadPolicy,
        "service-memory-growth": ServiceMemoryPolicy,
        "node-not-ready": NodeNotReadyPolicy,
        "certificate-expiry": CertificateExpiryPolicy,
        "pod-crash-loop": PodCrashLoopPolicy,
        "pod-memory-exhaustion": PodMemoryPolicy,
        "connection-pool-exhaustion": ConnectionPoolPolicy,
        "database-query-performance": QueryPolicy,
        "database-unavailable": DatabaseUnavailablePolicy,
        "vector-search-errors": QueryPolicy,
        "volume-claim-pending": ClaimPendingPolicy,
        "deployment-replicas-mismatch": ReplicasPolicy,
        "http-error-rate-response": HttpErrorRatePolicy,
        "request-latency-response": RequestLatencyPolicy,
        "change-event-review": ChangeReviewPolicy,
        "pod-saturation": PodLoadPolicy,
        "node-saturation": NodeLoadPolicy,
        "redis-unavailable": RedisUnavailablePolicy,
        "cache-efficiency": CacheEfficiencyPolicy,
        "service-unresponsive": ServiceUnresponsivePolicy,
        "host-service-unresponsive": HostServiceUnresponsivePolicy,
        "host-job-failures": HostJobFailuresPolicy,
        "worker-unavailable": WorkerUnavailablePolicy,
        "queue-backlog": QueueBacklogPolicy,
        "job-failure-rate": JobFailurePolicy,
        "inbound-abuse-mitigation": InboundAbusePolicy,
        "signed-request-failures": SignedRequestPolicy,
        "agent-unavailable": AgentUnavailablePolicy,
        "external-dependency-failure": ProviderFailurePolicy,
        "activity-stalled": ActivityStalledPolicy,
        "outbound-quota-exhaustion": QuotaPolicy,
    }
)
"""The policy of each flow that exists."""

FLOW_POLICIES: Mapping[str, TypeAdapter[Any]] = MappingProxyType(flows_with(POLICIES))
"""The same, as what validates them."""


def target_kinds(flow: str) -> tuple[str, ...]:
    """Kinds of the target's path that a flow needs, outermost first; none where they depend on its policy."""
    kinds = getattr(POLICIES[flow], "TARGET", ())
    return kinds if isinstance(kinds, tuple) else ()


KIND_NAMES = (
    "apply_backup_retention",
    "archive_files",
    "archive_rows",
    "block_deployments",
    "block_sources",
    "cancel_queries",
    "clean_package_cache",
    "cordon_node",
    "create_extension",
    "create_hpa",
    "create_storage_class",
    "cut_log",
    "delete_files",
    "delete_pod",
    "drain_node",
    "drop_extension",
    "drop_invalid_index",
    "drop_replication_slot",
    "end_process",
    "end_sessions",
    "evict_pods",
    "expand_claim",
    "expire_items",
    "make_backup",
    "move_cluster_back",
    "pause_entries",
    "prove_backup",
    "prune_docker",
    "prune_images",
    "reconnect_pooler",
    "recover_cluster",
    "recreate_claim",
    "recreate_container",
    "reindex_index",
    "release_deleted_file",
    "reload_service",
    "remove_hpa",
    "remove_storage_class",
    "renew_certificate",
    "renew_host_certificate",
    "replace_secret",
    "restart_container",
    "restart_host_service",
    "restart_node_service",
    "restore_rows",
    "roll_back_container",
    "rollout_restart",
    "rollout_undo",
    "run_audit",
    "run_tests",
    "scale_service",
    "scale_workload",
    "set_image",
    "set_issuer",
    "set_messages_aside",
    "set_pooler_size",
    "set_redis_memory",
    "set_resources",
    "start_host_service",
    "stop_host_service",
    "swap_vector_index",
    "unblock_sources",
    "uncordon_node",
    "update_configmap",
    "update_hpa",
    "update_ingress",
    "update_resource_quota",
    "update_setting",
    "upload_backup",
    "vacuum_journal",
    "vacuum_table",
)
"""The kinds of action that exist, for budgets to name. A new kind adds one line; a test notices when it is missing."""
