"""Importing this registers every action kind."""

import nightshift.tasks.activity_actions
import nightshift.tasks.backup_actions
import nightshift.tasks.celery_actions
import nightshift.tasks.claim_actions
import nightshift.tasks.compose_actions
import nightshift.tasks.database_session_actions
import nightshift.tasks.database_volume_actions
import nightshift.tasks.disk_space_actions
import nightshift.tasks.firewall_actions
import nightshift.tasks.host_certificate_actions
import nightshift.tasks.host_load_actions
import nightshift.tasks.host_service_actions
import nightshift.tasks.index_actions
import nightshift.tasks.kubernetes_actions
import nightshift.tasks.kubernetes_configuration
import nightshift.tasks.kubernetes_evictions
import nightshift.tasks.kubernetes_node_actions
import nightshift.tasks.recovery_actions
import nightshift.tasks.redis_actions
import nightshift.tasks.setting_actions
import nightshift.tasks.storage_class_actions
import nightshift.tasks.suite_actions
import nightshift.tasks.trading_actions
import nightshift.tasks.upkeep_actions  # noqa: F401
