"""The five systems that come with Nightshift say what their documents say."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

import jsonschema
import pytest
from ruamel.yaml import YAML

from nightshift.catalogue import Catalogue, System
from nightshift.catalogue.schema import catalogue_schema, schema_text
from nightshift.remediation.budgets import Per
from nightshift.remediation.disk_space.database_policy import DatabaseVolumePolicy
from nightshift.remediation.disk_space.policy import DiskSpacePolicy, FileRule
from nightshift.remediation.flow_policies import FLOW_POLICIES
from nightshift.remediation.models import Mode, Severity, Value

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "runbooks"
ALERTS = Path(__file__).parent / "catalogue_data" / "alerts.csv"
"""Every alert of the five documents: its severity here, the one the document states, and the flow of its family."""
SYSTEMS = ["bybit_strategy_tester", "cryptofunk", "octollm", "test_watcher", "trading_signals"]
DAY = 86400
ONLY_LOOKED_AT = {
    *("dependencies", "counters", "measure", "pool", "loki", "disk"),
    *("traces", "statements", "cache", "parts", "logs", "errors", "less_wanted_by"),
}
"""Parts of a policy that no action is made of."""


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue.load(RUNBOOKS)


@pytest.fixture(params=SYSTEMS)
def system(request: pytest.FixtureRequest, catalogue: Catalogue) -> System:
    return catalogue.systems[request.param]


def _alerts() -> list[dict[str, str]]:
    with ALERTS.open() as file:
        return list(csv.DictReader(file))


def test_five_systems_load_without_any_of_their_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("CRYPTOFUNK", "BYBIT", "TRADING", "TEST_W", "OCTO"))]:
        monkeypatch.delenv(name)

    assert sorted(Catalogue.load(RUNBOOKS).systems) == SYSTEMS


def test_every_alert_of_the_documents_is_there_with_its_severity_and_family(catalogue: Catalogue) -> None:
    here = {
        (system.id, name, runbook.severity.value, runbook.flow or runbook.planned_flow)
        for system, name, runbook in catalogue.runbooks()
    }

    assert here == {(row["system"], row["alert"], row["severity"], row["family"]) for row in _alerts()}
    assert len(here) == 78


def test_no_stated_severity_was_changed() -> None:
    rows = _alerts()

    assert all(row["severity"] == row["stated_severity"] for row in rows if row["stated_severity"] != "unstated")
    assert sum(row["stated_severity"] == "unstated" for row in rows) == 15


def test_the_alerts_with_a_flow_are_answered_and_the_others_say_so(catalogue: Catalogue) -> None:
    answered = {(system.id, name) for system, name, runbook in catalogue.runbooks() if runbook.answered}

    assert answered == {
        ("cryptofunk", "DiskSpaceWarning"),
        ("cryptofunk", "CircuitBreakerOpen"),
        ("cryptofunk", "PositionLimitExceeded"),
        ("cryptofunk", "MaxDrawdownExceeded"),
        ("test_watcher", "DeepSeekAPIDown"),
        ("test_watcher", "PerplexityAPIDown"),
        ("test_watcher", "APIHighErrorRate"),
        ("test_watcher", "APIRateLimitExceeded"),
        ("test_watcher", "HighDiskUsage"),
        ("bybit_strategy_tester", "DiskSpaceCritical"),
        ("bybit_strategy_tester", "SSLCertificateExpiring"),
        ("trading_signals", "RedisDisconnected"),
        ("trading_signals", "HighErrorRate"),
        ("trading_signals", "CriticalErrorRate"),
        ("bybit_strategy_tester", "HighErrorRate"),
        ("cryptofunk", "HighErrorRate"),
        ("trading_signals", "HighApprovalRejectionRate"),
        ("test_watcher", "TestWatcherSlowTests"),
        ("test_watcher", "TestWatcherQueueBacklog"),
        ("test_watcher", "TestCoverageDrop"),
        ("test_watcher", "TestCoverageLow"),
        ("octollm", "LowCacheHitRate"),
        ("bybit_strategy_tester", "CeleryWorkersDown"),
        ("bybit_strategy_tester", "HighTaskQueueLength"),
        ("bybit_strategy_tester", "TaskFailureRateHigh"),
        ("bybit_strategy_tester", "HighFailedLoginAttempts"),
        ("trading_signals", "HighRateLimitRejections"),
        ("trading_signals", "PaymentWebhookFailures"),
        ("trading_signals", "EAPollErrors"),
        ("cryptofunk", "AgentDown"),
        ("cryptofunk", "AgentUnhealthy"),
        ("cryptofunk", "TradingSessionFailure"),
        ("cryptofunk", "VectorSearchNoOperations"),
        ("trading_signals", "SignalIngestionStopped"),
        ("bybit_strategy_tester", "BackupFailed"),
        ("bybit_strategy_tester", "BackupSizeAnomaly"),
        ("bybit_strategy_tester", "BackupUploadFailed"),
        ("octollm", "NodeNotReady"),
        ("octollm", "PodCrashLoopBackOff"),
        ("octollm", "PodOOMKilled"),
        ("octollm", "HighErrorRate"),
        ("octollm", "HighLatency"),
        ("octollm", "HighRequestLatency"),
        ("octollm", "DeploymentReplicasMismatch"),
        ("octollm", "CertificateExpiringInSevenDays"),
        ("octollm", "PersistentVolumeClaimPending"),
        ("octollm", "NewDeploymentDetected"),
        ("octollm", "HPAScaledUp"),
        ("octollm", "HPAScaledDown"),
        ("octollm", "ConfigMapChanged"),
        ("cryptofunk", "HighCPUUsage"),
        ("cryptofunk", "HighMemoryUsage"),
        ("octollm", "HighNodeCPUUsage"),
        ("octollm", "HighNodeMemoryUsage"),
        ("cryptofunk", "DatabaseConnectionPoolExhausted"),
        ("cryptofunk", "DatabaseConnectionPoolCritical"),
        ("cryptofunk", "VectorSearchHighLatency"),
        ("cryptofunk", "VectorSearchCriticalLatency"),
        ("cryptofunk", "VectorSearchSlowWithHighConnections"),
        ("cryptofunk", "VectorSearchHighErrorRate"),
        ("cryptofunk", "VectorSearchCriticalErrorRate"),
        ("bybit_strategy_tester", "SlowQueries"),
        ("bybit_strategy_tester", "SlowResponseTime"),
        ("trading_signals", "HighAPILatency"),
        ("trading_signals", "CriticalAPILatency"),
        ("cryptofunk", "AgentHighLatency"),
        ("bybit_strategy_tester", "DatabaseDown"),
        ("test_watcher", "HighCPUUsage"),
        ("test_watcher", "MemoryLeakDetected"),
        ("bybit_strategy_tester", "HighCPUUsage"),
        ("bybit_strategy_tester", "HighMemoryUsage"),
        ("bybit_strategy_tester", "APIUnresponsive"),
        ("test_watcher", "TestWatcherDown"),
        ("test_watcher", "TestWatcherHighErrorRate"),
        ("trading_signals", "DatabaseConnectionPoolExhausted"),
        ("bybit_strategy_tester", "ConnectionPoolExhausted"),
        ("bybit_strategy_tester", "DatabaseHighConnections"),
        ("octollm", "DatabaseConnectionPoolExhausted"),
    }


def test_no_flow_that_exists_is_called_planned(catalogue: Catalogue) -> None:
    assert {runbook.planned_flow for _, _, runbook in catalogue.runbooks()} & set(FLOW_POLICIES) == set()


def test_nothing_is_changed_without_an_approval_by_default(catalogue: Catalogue) -> None:
    assert {system.mode_of(runbook) for system, _, runbook in catalogue.runbooks()} == {Mode.PROPOSE}


def test_every_system_bounds_what_is_done_to_one_target_and_to_all(system: System) -> None:
    budgets = {(budget.per, budget.kind): budget for budget in system.budgets}

    assert "budgets" in system.model_fields_set
    assert budgets[Per.TARGET, None].at_most.amount <= 30
    assert budgets[Per.SYSTEM, None].at_most.amount <= 60
    assert system.cooldown > 0
    assert system.breaker.after <= 3


def test_a_whole_plan_of_every_runbook_fits_into_the_budget_of_its_target_twice(catalogue: Catalogue) -> None:
    for system, name, runbook in catalogue.runbooks():
        if runbook.policy is None:
            continue
        acting = [value for field, value in runbook.policy if field not in ONLY_LOOKED_AT]
        rules = sum(len(v) if isinstance(v, tuple) else isinstance(v, Value) for v in acting)
        budget = next(b for b in system.budgets if b.per is Per.TARGET and b.kind is None)
        assert budget.at_most.amount >= 2 * rules, (system.id, name, rules)


@pytest.mark.parametrize("severity", Severity)
def test_every_severity_tells_someone_and_has_a_ladder(system: System, severity: Severity) -> None:
    assert system.severities[severity].notify
    assert system.ladder(severity)


@pytest.mark.parametrize("severity", [Severity.CRITICAL, Severity.WARNING])
def test_a_person_is_called_at_once_and_another_later(system: System, severity: Severity) -> None:
    by_the_clock = [step for step in system.ladder(severity) if step.when is None and step.roles]

    assert by_the_clock[0].after == 0
    if severity is Severity.CRITICAL:
        assert len({role for step in by_the_clock for role in step.roles}) > 1


@pytest.mark.parametrize(
    ("system_id", "critical", "warning"),
    [
        ("cryptofunk", 15, 60),
        ("trading_signals", 5, 30),
        ("test_watcher", 5, 30),
        ("bybit_strategy_tester", 5, None),
        ("octollm", 5, 30),
    ],
)
def test_times_to_acknowledge_are_those_of_the_document(
    system_id: str, critical: int, warning: int | None, catalogue: Catalogue
) -> None:
    severities = catalogue.systems[system_id].severities

    assert severities[Severity.CRITICAL].acknowledge == critical * 60
    assert severities[Severity.WARNING].acknowledge == (warning and warning * 60)


def test_octollm_promises_times_to_resolve(catalogue: Catalogue) -> None:
    severities = catalogue.systems["octollm"].severities

    assert [severities[severity].resolve for severity in Severity] == [3600, 4 * 3600, None]


def test_the_matrix_of_bybit_is_followed_minute_by_minute(catalogue: Catalogue) -> None:
    steps = catalogue.systems["bybit_strategy_tester"].ladder(Severity.CRITICAL)

    assert [(step.after, step.roles[0]) for step in steps] == [
        (0, "on-call"),
        (5 * 60, "senior-on-call"),
        (15 * 60, "team-leads"),
        (30 * 60, "incident-commander"),
        (60 * 60, "executives"),
    ]


def test_an_alert_adds_its_own_steps_to_the_ladder(catalogue: Catalogue) -> None:
    system = catalogue.systems["bybit_strategy_tester"]

    steps = system.ladder(Severity.CRITICAL, system.runbooks["DatabaseDown"])

    assert (5 * 60, ("dba",)) in [(step.after, step.roles) for step in steps]
    assert [step.after for step in steps] == sorted(step.after or 0 for step in steps)


def test_the_document_counts_103_rules_of_escalation_and_the_catalogue_keeps_those_of_the_alerts(
    catalogue: Catalogue,
) -> None:
    kept = {
        system_id: sum(len(runbook.escalation) for runbook in catalogue.systems[system_id].runbooks.values())
        for system_id in SYSTEMS
    }

    # bybit: the security team is told at once of guessed passwords, which the document has as a step.
    # trading_signals: both names of its two double entries carry the rules of the entry.
    assert kept == {
        "bybit_strategy_tester": 12 + 1,
        "cryptofunk": 6,
        "octollm": 66,
        "test_watcher": 2 + 1,
        "trading_signals": 17 + 4,
    }


def _host_policy(catalogue: Catalogue, system: str, alert: str) -> DiskSpacePolicy:
    policy = catalogue.systems[system].runbooks[alert].policy
    assert isinstance(policy, DiskSpacePolicy)
    return policy


def _deleting_rules(policy: DiskSpacePolicy) -> Iterator[FileRule]:
    yield from (*policy.rotated_logs, *policy.temporary_files, *policy.core_dumps, *policy.archives, *policy.backups)


def _may_delete(policy: DiskSpacePolicy, path: str) -> bool:
    return any(
        PurePosixPath(path).is_relative_to(rule.directory)
        and any(fnmatchcase(PurePosixPath(path).name, pattern) for pattern in rule.patterns)
        for rule in _deleting_rules(policy)
    )


def test_bybit_keeps_audit_and_login_records_whatever_their_age(catalogue: Catalogue) -> None:
    policy = _host_policy(catalogue, "bybit_strategy_tester", "DiskSpaceCritical")

    assert not any(
        _may_delete(policy, f"/var/log/{name}")
        for name in (
            *("audit/audit.log", "audit/audit.log.1", "auth.log", "auth.log.1", "auth.log.2.gz", "secure-20250101"),
            *("wtmp", "wtmp.1", "btmp.1", "lastlog", "sudo.log.1", "faillog"),
        )
    )
    assert _may_delete(policy, "/var/log/nginx/access.log.3.gz")
    assert _may_delete(policy, "/var/log/syslog.2.gz")


@pytest.mark.parametrize(
    ("system_id", "alert"), [("bybit_strategy_tester", "DiskSpaceCritical"), ("test_watcher", "HighDiskUsage")]
)
def test_the_image_to_roll_back_to_stays(system_id: str, alert: str, catalogue: Catalogue) -> None:
    docker = _host_policy(catalogue, system_id, alert).docker

    assert docker is not None
    assert docker.keep_images_per_repository >= 2
    assert docker.images_older_than >= 7 * DAY


@pytest.mark.parametrize(
    ("system_id", "alert"), [("bybit_strategy_tester", "DiskSpaceCritical"), ("test_watcher", "HighDiskUsage")]
)
def test_docker_and_database_files_are_never_deleted_as_files(system_id: str, alert: str, catalogue: Catalogue) -> None:
    policy = _host_policy(catalogue, system_id, alert)

    for place in ("/var/lib/docker/volumes/db/_data", "/var/lib/postgresql/15/main", "/var/lib/redis"):
        assert not any(
            PurePosixPath(place).is_relative_to(rule.directory) or PurePosixPath(rule.directory).is_relative_to(place)
            for rule in _deleting_rules(policy)
        )


def test_bybit_keeps_three_proven_backups_and_saves_the_logs_of_postgresql(catalogue: Catalogue) -> None:
    policy = _host_policy(catalogue, "bybit_strategy_tester", "DiskSpaceCritical")
    (backups,) = policy.backups
    postgresql = next(rule for rule in policy.live_logs if rule.directory == "/var/log/postgresql")

    assert (backups.directory, backups.older_than, backups.keep_newest_verified) == ("/backups", 30 * DAY, 3)
    assert postgresql.save_to is not None
    assert policy.alert_used_percent == 85


def test_test_watcher_deletes_temporary_files_by_age_only(catalogue: Catalogue) -> None:
    policy = _host_policy(catalogue, "test_watcher", "HighDiskUsage")

    assert policy.temporary_files
    assert all(rule.older_than >= DAY for rule in policy.temporary_files)
    assert (policy.alert_used_percent, policy.critical_used_percent) == (85, 95)
    assert not _may_delete(policy, "/tmp/systemd-private-1-nginx/tmp/upload")  # noqa: S108 - a name, nothing is written


def test_cryptofunk_archives_sessions_and_proposes_the_rest(catalogue: Catalogue) -> None:
    policy = catalogue.systems["cryptofunk"].runbooks["DiskSpaceWarning"].policy
    assert isinstance(policy, DatabaseVolumePolicy)
    (archive,), (compression,) = policy.archive_rows, policy.compress

    assert (archive.table, archive.time_column, archive.older_than) == ("trading_sessions", "created_at", 90 * DAY)
    assert (compression.hypertable, compression.older_than) == ("candlesticks", 7 * DAY)
    assert (policy.alert_used_percent, policy.target_used_percent, policy.largest_tables) == (80, 80, 10)
    assert policy.expand is not None


def test_the_schema_for_editors_is_current() -> None:
    assert (RUNBOOKS / "schema.json").read_text() == schema_text(), (
        "run: python -m nightshift.catalogue > runbooks/schema.json"
    )


@pytest.mark.parametrize("name", SYSTEMS)
def test_editors_accept_what_is_shipped(name: str) -> None:
    text = (RUNBOOKS / f"{name}.yaml").read_text()

    assert text.startswith("# yaml-language-server: $schema=schema.json\n")
    jsonschema.Draft202012Validator(catalogue_schema()).validate(YAML(typ="safe", pure=True).load(text))


def test_editors_mark_what_loading_refuses() -> None:
    document = YAML(typ="safe", pure=True).load((RUNBOOKS / "test_watcher.yaml").read_text())
    policy = document["runbooks"]["HighDiskUsage"]["policy"]
    policy["journl"] = policy.pop("journal")

    assert not jsonschema.Draft202012Validator(catalogue_schema()).is_valid(document)


def test_editors_explain_every_part_of_a_runbook() -> None:
    parts = catalogue_schema()["$defs"]

    for name in ("System", "Runbook", "EscalationStep", "TargetPart", "Role", "SeverityRule", "ApprovalRule"):
        unexplained = [key for key, part in parts[name]["properties"].items() if "description" not in part]
        assert unexplained == []


def test_the_examples_for_newcomers_load(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "adding-a-runbook.md").read_text()
    alert, answered, system, limits = (part.partition("```")[0] for part in text.split("```yaml\n")[1:])

    other = alert.replace("runbooks:\n", "").replace("Queue", "Other")
    (tmp_path / "shop.yaml").write_text(limits + system + answered + other)

    assert set(Catalogue.load(tmp_path).systems["shop"].runbooks) == {"QueueStuck", "DiskFull", "OtherStuck"}
