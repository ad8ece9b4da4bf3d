"""Which policy each flow takes: a flow that stands here can be named by a runbook of the catalogue.

A new flow adds one entry; a policy that does not declare its symptom
is refused when this is imported. Names are those of the Prefect deployments.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter

from nightshift.remediation.backups.policy import BackupFailurePolicy
from nightshift.remediation.caches.policy import CacheEfficiencyPolicy, RedisUnavailablePolicy
from nightshift.remediation.certificates.policy import CertificateExpiryPolicy
from nightshift.remediation.databases.down_policy import DatabaseUnavailablePolicy
from nightshift.remediation.databases.pool_policy import ConnectionPoolPolicy
from nightshift.remediation.databases.query_policy import QueryPolicy
from nightshift.remediation.disk_space.database_policy import DatabaseVolumePolicy
from nightshift.remediation.disk_space.policy import DiskSpacePolicy
from nightshift.remediation.host_certificates.policy import HostCertificatePolicy
from nightshift.remediation.kubernetes.change_policy import ChangeReviewPolicy
from nightshift.remediation.kubernetes.claim_policy import ClaimPendingPolicy
from nightshift.remediation.kubernetes.crash_policy import PodCrashLoopPolicy
from nightshift.remediation.kubernetes.load_policy import NodeLoadPolicy, PodLoadPolicy
from nightshift.remediation.kubernetes.memory_policy import PodMemoryPolicy
from nightshift.remediation.kubernetes.node_policy import NodeNotReadyPolicy
from nightshift.remediation.kubernetes.regression_policy import ReleaseRegressionPolicy
from nightshift.remediation.kubernetes.replicas_policy import ReplicasPolicy
from nightshift.remediation.symptom import flows_with
from nightshift.remediation.trading.policy import TradingRiskPolicy
from nightshift.remediation.workers.policy import JobFailurePolicy, QueueBacklogPolicy, WorkerUnavailablePolicy

FlowPolicy = (
    DiskSpacePolicy
    | DatabaseVolumePolicy
    | BackupFailurePolicy
    | TradingRiskPolicy
    | HostCertificatePolicy
    | CertificateExpiryPolicy
    | ClaimPendingPolicy
    | ConnectionPoolPolicy
    | DatabaseUnavailablePolicy
    | QueryPolicy
    | NodeNotReadyPolicy
    | PodCrashLoopPolicy
    | PodMemoryPolicy
    | ReleaseRegressionPolicy
    | ReplicasPolicy
    | NodeLoadPolicy
    | PodLoadPolicy
    | ChangeReviewPolicy
    | RedisUnavailablePolicy
    | CacheEfficiencyPolicy
    | WorkerUnavailablePolicy
    | QueueBacklogPolicy
    | JobFailurePolicy
)
"""Any policy. Each type names in ``TARGET`` the kinds of the target's path that its flow needs."""

FLOW_POLICIES: Mapping[str, TypeAdapter[Any]] = MappingProxyType(
    flows_with(
        {
            "disk-space-reclaim": DiskSpacePolicy,
            "database-volume-reclaim": DatabaseVolumePolicy,
            "backup-failure": BackupFailurePolicy,
            "trading-risk-breach": TradingRiskPolicy,
            "host-certificate-renewal": HostCertificatePolicy,
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
            "release-regression": ReleaseRegressionPolicy,
            "change-event-review": ChangeReviewPolicy,
            "pod-saturation": PodLoadPolicy,
            "node-saturation": NodeLoadPolicy,
            "redis-unavailable": RedisUnavailablePolicy,
            "cache-efficiency": CacheEfficiencyPolicy,
            "worker-unavailable": WorkerUnavailablePolicy,
            "queue-backlog": QueueBacklogPolicy,
            "job-failure-rate": JobFailurePolicy,
        }
    )
)
"""The flows that exist, with what validates their policy."""

KIND_NAMES = (
    "apply_backup_retention",
    "archive_files",
    "archive_rows",
    "block_deployments",
    "cancel_queries",
    "clean_package_cache",
    "cordon_node",
    "create_hpa",
    "cut_log",
    "delete_files",
    "delete_pod",
    "drain_node",
    "drop_invalid_index",
    "end_sessions",
    "evict_pods",
    "expand_claim",
    "make_backup",
    "pause_entries",
    "prove_backup",
    "prune_docker",
    "prune_images",
    "reconnect_pooler",
    "recreate_claim",
    "recreate_container",
    "reindex_index",
    "release_deleted_file",
    "reload_service",
    "remove_hpa",
    "renew_certificate",
    "renew_host_certificate",
    "replace_secret",
    "restart_container",
    "restart_node_service",
    "restore_rows",
    "roll_back_container",
    "rollout_restart",
    "rollout_undo",
    "scale_service",
    "scale_workload",
    "set_image",
    "set_issuer",
    "set_messages_aside",
    "set_redis_memory",
    "set_resources",
    "swap_vector_index",
    "uncordon_node",
    "update_configmap",
    "update_hpa",
    "update_ingress",
    "update_resource_quota",
    "upload_backup",
    "vacuum_journal",
)
"""The kinds of action that exist, for budgets to name. A new kind adds one line; a test notices when it is missing."""
