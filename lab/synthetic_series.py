"""Series in which the alert rules fire, told as they go on: no series is in two states of one alert at once."""

from __future__ import annotations

import time

FIRST_SECONDS = 6.0
"""So long what changes is as before, and is seen so."""

SERIES = """
# Requests, by the names that the documents share.
http_requests_total{namespace="octollm",service="api",status="200"} SLOW
http_requests_total{namespace="octollm",service="api",status="500"} SLOW
http_request_duration_seconds_bucket{namespace="octollm",service="api",le="1"} 0
http_request_duration_seconds_bucket{namespace="octollm",service="api",le="10"} SLOW
http_request_duration_seconds_bucket{namespace="octollm",service="api",le="+Inf"} SLOW
# OctoLLM
kube_pod_container_status_restarts_total{namespace="octollm",pod="api-1",container="main"} SLOW
kube_pod_container_status_last_terminated_reason{namespace="octollm",pod="api-1",container="main",reason="OOMKilled"} 1
kube_pod_info{namespace="octollm",pod="api-1",node="n1"} 1
kube_node_status_condition{node="n1",condition="Ready",status="unknown"} 1
db_pool_active_connections{namespace="octollm",service="api"} 20
db_pool_max_connections{namespace="octollm",service="api"} 20
certmanager_certificate_expiration_timestamp_seconds{namespace="octollm",name="api-tls"} TOMORROW
node_cpu_seconds_total{instance="10.0.0.1:9100",cpu="0",mode="idle"} 0
node_uname_info{instance="10.0.0.1:9100",nodename="n1"} 1
node_memory_MemTotal_bytes{instance="10.0.0.1:9100"} 100
node_memory_MemAvailable_bytes{instance="10.0.0.1:9100"} 5
kube_persistentvolumeclaim_status_phase{namespace="octollm",persistentvolumeclaim="data",phase="Pending"} 1
kube_deployment_spec_replicas{namespace="octollm",deployment="api"} 3
kube_deployment_status_replicas_available{namespace="octollm",deployment="api"} 2
kube_deployment_created{namespace="octollm",deployment="api"} JUST_NOW
redis_keyspace_hits_total{instance="redis:9121"} SLOW
redis_keyspace_misses_total{instance="redis:9121"} SLOW*9
# CryptoFunk
circuit_breaker_state{service="exchange"} 1
kube_deployment_spec_replicas{namespace="cryptofunk",deployment="orchestrator"} 1
kube_deployment_status_replicas_available{namespace="cryptofunk",deployment="orchestrator"} 0
kube_deployment_spec_replicas{namespace="cryptofunk",deployment="risk-agent"} 1
kube_deployment_status_replicas_available{namespace="cryptofunk",deployment="risk-agent"} 0
kube_pod_status_ready{namespace="cryptofunk",pod="trend-agent-5d9c7-x2k4q",condition="false"} 1
kube_pod_status_phase{namespace="cryptofunk",pod="trend-agent-5d9c7-x2k4q",phase="Running"} 1
cryptofunk_position_value_by_symbol{symbol="BTC"} -1100
cryptofunk_position_limit 1000
cryptofunk_current_drawdown 0.3
cryptofunk_max_drawdown_threshold 0.2
agent_decision_duration_seconds_bucket{namespace="cryptofunk",service="risk-agent",agent_name="risk",le="5"} 0
agent_decision_duration_seconds_bucket{namespace="cryptofunk",service="risk-agent",agent_name="risk",le="+Inf"} SLOW
container_memory_working_set_bytes{namespace="cryptofunk",pod="api-1",container="main"} 950
kube_pod_container_resource_limits{namespace="cryptofunk",pod="api-1",container="main",resource="memory"} 1000
container_cpu_usage_seconds_total{namespace="cryptofunk",pod="api-1",container="main"} FAST
kube_pod_container_resource_limits{namespace="cryptofunk",pod="api-1",container="main",resource="cpu"} 1
kubelet_volume_stats_used_bytes{namespace="cryptofunk",persistentvolumeclaim="postgres-pvc"} 90
kubelet_volume_stats_capacity_bytes{namespace="cryptofunk",persistentvolumeclaim="postgres-pvc"} 100
cryptofunk_vector_search_latency_seconds_bucket{operation="search",le="5"} 0
cryptofunk_vector_search_latency_seconds_bucket{operation="search",le="10"} SLOW
cryptofunk_vector_search_latency_seconds_bucket{operation="search",le="+Inf"} SLOW
cryptofunk_vector_search_operations_total{operation="search",status="error"} LATER
cryptofunk_database_connections_active 10
# trading_signals
request_duration_seconds_bucket{route="/a",le="1.0"} 0
request_duration_seconds_bucket{route="/a",le="5.0"} 0
request_duration_seconds_bucket{route="/a",le="+Inf"} SLOW
errors_total{endpoint="/a",status="500"} FAST
db_connection_pool_size 99
redis_connected 0
billing_webhook_replay_block_total FAST
ea_errors_total{endpoint="poll"} FAST
approvals_total{result="rejected"} FAST
ratelimit_block_total{route="/a"} FAST
# TestWatcher
up{job="test_watcher",instance="watcher1:8000"} 0
test_watcher_errors_total{error_type="io",instance="watcher1:8000"} FAST
test_watcher_changed_files_current{instance="watcher1:8000"} 50
test_watcher_test_execution_duration_seconds_bucket{le="120",instance="watcher1:8000"} 0
test_watcher_test_execution_duration_seconds_bucket{le="300",instance="watcher1:8000"} SLOW
test_watcher_test_execution_duration_seconds_bucket{le="+Inf",instance="watcher1:8000"} SLOW
audit_agent_coverage_percent{instance="watcher1:8000"} FELL
deepseek_api_calls_total{status="error",instance="watcher1:8000"} SLOW
perplexity_api_calls_total{status="error",instance="watcher1:8000"} SLOW
api_rate_limits_total{api="deepseek",instance="watcher1:8000"} FAST
system_cpu_percent{instance="watcher1:8000"} 99
process_resident_memory_bytes{job="test_watcher",instance="watcher1:8000"} GROWS
node_filesystem_size_bytes{instance="watcher1:9100",mountpoint="/data",fstype="ext4"} 100
node_filesystem_avail_bytes{instance="watcher1:9100",mountpoint="/data",fstype="ext4"} 10
# bybit_strategy_tester
up{job="backend",instance="backend:8000"} 0
pg_up 0
pgbouncer_pools_server_active_connections{database="app"} 20
pgbouncer_databases_pool_size{name="app"} 20
pg_stat_database_numbackends 95
pg_settings_max_connections 100
pg_stat_statements_seconds_total{datname="app"} SLOW*5
pg_stat_statements_calls_total{datname="app"} SLOW
node_filesystem_size_bytes{instance="web1:9100",mountpoint="/",fstype="ext4"} 100
node_filesystem_avail_bytes{instance="web1:9100",mountpoint="/",fstype="ext4"} 10
backup_last_success_timestamp_seconds LONG_AGO
backup_last_upload_timestamp_seconds 0
celery_workers_total 0
celery_queue_length{queue_name="celery"} 500
celery_task_failed_total SLOW
failed_login_attempts_total FAST
probe_ssl_earliest_cert_expiry{instance="https://bybit.example"} TOMORROW
"""
"""Names and values; a word is a value that changes with time."""


class SyntheticSeries:
    """A page of metrics for :class:`lab.prometheus.PrometheusProcess`, anew for each moment."""

    def __init__(self) -> None:
        self.begun = time.time()

    def begin(self) -> None:
        """From now on they go on."""
        self.begun = time.time()

    def page(self) -> str:
        """All of them, as they are now."""
        values = self._values(time.time())
        rows = [line.rsplit(" ", 1) for line in SERIES.splitlines() if line and not line.startswith("#")]
        told = [(name, values.get(value, value)) for name, value in rows]
        return "".join(f"{name} {value}\n" for name, value in told if value is not None)

    def _values(self, now: float) -> dict[str, float | None]:
        """None: not told yet."""
        seconds = now - self.begun
        changed = seconds > FIRST_SECONDS
        slow, fast = round(seconds * 10), round(seconds * 100_000)
        return {
            "SLOW": slow,
            "SLOW*5": slow * 5,
            "SLOW*9": slow * 9,
            "FAST": fast,
            "GROWS": 2_000_000_000 + fast * 10,
            "LATER": slow if changed else None,
            "FELL": 65 if changed else 75,
            "TOMORROW": now + 86_400,
            "JUST_NOW": now - 10,
            "LONG_AGO": now - 100_000,
        }
