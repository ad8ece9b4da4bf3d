"""A cluster whose control file is really smashed, recovered from a proven backup of pgBackRest by two people's word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from lab.kept_cluster import MIB, KeptCluster
from nightshift.catalogue import Catalogue
from nightshift.catalogue.deciding import decide
from nightshift.gateway import approvals
from nightshift.gateway.attempts import Attempts
from nightshift.gateway.metrics import Metrics
from nightshift.gateway.prefect_api import PrefectApi
from nightshift.remediation.actions import ActionKinds
from nightshift.remediation.backups.arguments import ProveBackup
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.clients.host import open_host
from nightshift.remediation.clients.host_probe import dumps
from nightshift.remediation.databases.host_cluster import HostCluster, RecoverySource
from nightshift.remediation.databases.recovery import moved_back, recovery
from nightshift.remediation.decisions import Decision, NotTaken, Why
from nightshift.remediation.gate import Gate
from nightshift.remediation.identity import CodeKey, Identification, hash_of
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Action, Mode, Plan, Severity, Target
from nightshift.remediation.people import Token
from nightshift.tasks.recovery_actions import move_cluster_back
from tests.integration.databases.conftest import FlowRuns

FLOW = "database-unavailable"
TARGET = Target.from_key("shop/database/main")


@pytest.fixture(scope="module", autouse=True)
def _broken_and_unproven(shop: KeptCluster) -> None:
    shop.as_kept()
    shop.host.run("find", "/pg/marks", "-name", "*.verified", "-delete")


def opened(ledger: Ledger) -> int:
    trouble = Trouble("shop", "Trouble", FLOW, TARGET, Severity.CRITICAL, "main does not answer")
    with ledger.engine.begin() as connection:
        return ledger.incidents.open(connection, trouble)[0]


def says_yes(ledger: Ledger, runs: FlowRuns, incident: int, name: str) -> NotTaken | None:
    """A person with a token approves what is asked."""
    token = Token.new()
    ledger.people.add(name, author="root")
    ledger.people.add_token(name, token.id, hash_of(token), author="root")
    who = Identification(ledger, CodeKey(None), incident).by_token(token.text, "HTTP")
    return decided(ledger, runs, incident, Decision.of(who, True, "the backup is good"))


def decided(ledger: Ledger, runs: FlowRuns, incident: int, decision: Decision) -> NotTaken | None:
    system = Catalogue.load(runs.runbooks).systems["shop"]
    asked = ledger.approvals.open_one(incident)
    assert asked is not None
    return decide(ledger, system, system.runbooks["Trouble"], incident, asked.digest, decision)


def test_a_backup_that_nobody_restored_is_none_to_recover_from(
    shop: KeptCluster, flow_runs: FlowRuns, ledger: Ledger
) -> None:
    before = shop.directories()

    outcome = flow_runs.run(FLOW, shop.policy(), shop.url, connections={"web1": shop.connection()})

    report = report_of(ledger, 1)
    assert outcome == "Escalated", report
    assert "no backup of it was ever proven by a restore" in report
    assert "corruption" in report
    assert shop.directories() == before == ["cluster"]


@pytest.mark.hazard("bybit_strategy_tester.DatabaseDown.r3.1")
def test_it_takes_two_people_and_then_every_archived_row_is_back_and_the_broken_directory_kept(
    shop: KeptCluster, flow_runs: FlowRuns, ledger: Ledger
) -> None:
    smashed = shop.host.path("/pg/cluster/global/pg_control").read_bytes()
    with open_host("web1", shop.host.connection()) as host:
        proven = dumps.prove(host, ProveBackup(name="main", rule=shop.rule(), newer_than_ns=0))
    environment = flow_runs.declare(FLOW, shop.policy(), shop.url, connections={"web1": shop.connection()})
    incident = opened(ledger)
    run = flow_runs.schedule(FLOW, incident)
    assert flow_runs.work_on(run, FLOW, environment) == "Suspended", report_of(ledger, incident)

    assert "it takes 2 different people" in report_of(ledger, incident)
    login = decided(ledger, flow_runs, incident, Decision("root", "command line, login root", approve=True))
    assert login is not None
    assert login.why is Why.NOT_PROVEN
    assert says_yes(ledger, flow_runs, incident, "Ana") is None
    asked = ledger.approvals.open_one(incident)
    assert asked is not None
    assert ledger.approvals.progress(asked).in_words == "1 of 2 people have approved (Ana), 1 more is needed"
    with PrefectApi(flow_runs.prefect_url) as api:
        attempts = Attempts(ledger, Catalogue.load(flow_runs.runbooks), Metrics(ledger), 3)
        assert approvals.deliver(ledger, api, attempts) == 0
        assert shop.directories() == ["cluster"], "one of two people is nobody"
        assert says_yes(ledger, flow_runs, incident, "Bo") is None
        assert approvals.deliver(ledger, api, attempts) == 1
    outcome = flow_runs.work_on(run, FLOW, environment)

    report = report_of(ledger, incident)
    assert outcome == "Resolved", report
    assert shop.rows() == 3000, "the rows that were archived after the backup are there, too"
    kept = f"cluster.broken-{proven.path}"
    assert shop.directories() == ["cluster", kept]
    assert shop.host.path(f"/pg/{kept}/global/pg_control").read_bytes() == smashed
    assert f"/pg/{kept}" in report
    assert "3,000 rows" in report
    people = [row.entry["person"] for row in ledger.journal.of(incident) if row.kind is Kind.DECIDED]
    assert people == ["Ana", "Bo"]


def test_the_way_back_takes_two_people_keeps_both_directories_and_leaves_the_server_stopped(
    shop: KeptCluster, ledger: Ledger
) -> None:
    (kept,) = [name for name in shop.directories() if ".broken-" in name]
    label = kept.rpartition(".broken-")[2]
    smashed = shop.host.path(f"/pg/{kept}/global/pg_control").read_bytes()
    source = RecoverySource(label=label, size=MIB, free=99 * MIB)
    recovered = recovery(TARGET, HostCluster.model_validate(shop.cluster()), source, "broken.")
    assert isinstance(recovered, Action)
    back = Plan(goal="back", target=TARGET, actions=(moved_back(recovered, None),))
    incident = opened(ledger)
    claim = ledger.incidents.claim(incident, 1, uuid4(), 60)
    assert claim is not None
    kinds = ActionKinds()
    # Past Prefect, which would begin a server for a task outside of a run.
    kinds.register(replace(move_cluster_back, act=move_cluster_back.act.fn))  # type: ignore[attr-defined]

    def tried() -> list[str]:
        with ClaimKeeper(ledger, claim, 60) as keeper:
            connections: Any = {"web1": shop.host.connection()}
            gate = Gate(ledger, keeper, "Trouble", kinds, connections, Mode.AUTO, lambda _plan: None)
            gate.carry_out(back, enough=lambda: False)
        return shop.directories()

    ledger.approvals.ask(incident, back, None, 600, needed=back.approvals)
    for name in ("Ana", "Bo"):
        assert tried() == ["cluster", kept], "one of two people is nobody"
        assert ledger.approvals.decide(incident, back.digest, Decision(name, "test", approve=True)) is None

    assert tried() == ["cluster", f"cluster.recovered-{label}"]
    assert tried() == ["cluster", f"cluster.recovered-{label}"]
    assert shop.host.path("/pg/cluster/global/pg_control").read_bytes() == smashed
    assert shop.host.run("systemctl", "is-active", "shop-db.service", check=False).stdout.strip() != "active"
