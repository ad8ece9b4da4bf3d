"""Recovering a cluster from a backup: what speaks against it, whom it takes, and what its way back says."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from nightshift.remediation.databases.down_planner import Answering, DownLook, judge_revival, plan_revival
from nightshift.remediation.databases.down_policy import DatabaseUnavailablePolicy
from nightshift.remediation.databases.down_signs import signs_of
from nightshift.remediation.databases.host_cluster import ClusterAnswer, RecoverySource
from nightshift.remediation.databases.recovery import moved_back
from nightshift.remediation.hosts.services import ServiceState
from nightshift.remediation.models import Plan, Risk, Target, UndoWhen

TARGET = Target(system="shop", path=("database", "main"))
GIB = 2**30
SMASHED = 'PANIC:  could not read file "global/pg_control": read 0 of 296'
RULE: dict[str, Any] = {
    "make": {"tool": "pgbackrest", "stanza": "shop", "scratch_directory": "/pg/scratch"},
    "source": {"database": "shop"},
    "directory": "/pg/marks",
    "proof": {},
}
CLUSTER: dict[str, Any] = {
    "host": "web1",
    "service": {"name": "postgresql@15-main.service"},
    "data_directory": "/pg/cluster",
    "recover": RULE,
}
GOOD: dict[str, Any] = {"label": "20261120-010000F", "size": GIB, "stopped_at": 1_700_000_000, "free": 2 * GIB}


def policy(**cluster: Any) -> DatabaseUnavailablePolicy:
    return DatabaseUnavailablePolicy.model_validate({"on_host": {**CLUSTER, **cluster}})


def down(log: str = SMASHED, state: str = "failed", answering: Answering = Answering.SILENT, **source: Any) -> DownLook:
    running = ServiceState(state=state, run="r1", exit_code=1)
    seen = RecoverySource(**{**GOOD, **source})
    return DownLook(at=0, answering=answering, signs=signs_of(log), running=running, source=seen)


def planned(look: DownLook, **cluster: Any) -> Plan:
    return plan_revival(TARGET, look, policy(**cluster))


def test_a_broken_cluster_is_recovered_from_the_newest_proven_backup_by_two_people() -> None:
    (action,) = planned(down(unproven=2)).actions

    assert (action.kind, action.risk, action.approvals) == ("recover_cluster", Risk.HIGH, 2)
    assert action.bound.amount == GIB
    assert "/pg/cluster.broken-20261120-010000F" in action.reason
    assert "2 newer backups nobody has restored" in action.reason
    assert action.undo_when is UndoWhen.BY_HAND


def test_the_way_back_takes_two_people_too_and_deletes_nothing() -> None:
    (action,) = planned(down()).actions

    back = moved_back(action, None)

    assert (back.kind, back.approvals, back.items) == ("move_cluster_back", 2, action.items)
    assert "kept" in back.reason


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"label": "", "unproven": 3}, "3 backups are unproven"),
        ({"free": GIB}, "1.0 GiB are free"),
        ({"why_not": "/pg/cluster is mounted there, so it cannot be moved aside"}, "mounted there"),
        ({"done": True}, "once already"),
        ({"kept": True}, "once already"),
        ({"size": 21 * GIB, "free": 99 * GIB}, "proof.largest"),
    ],
)
def test_what_speaks_against_a_recovery_is_told_and_nothing_is_done(source: dict[str, Any], told: str) -> None:
    plan = planned(down(**source))

    assert plan.actions == ()
    assert any(told in refusal.reason for refusal in plan.refusals), plan.refusals


def test_a_recovery_that_was_cut_off_between_its_two_moves_goes_on() -> None:
    assert len(planned(down(kept=True, restored=True, free=0)).actions) == 1


def test_a_server_that_still_runs_is_not_replaced() -> None:
    for answering in (Answering.NOT_READY, Answering.FULL, Answering.REFUSED, Answering.READ_ONLY):
        assert planned(down(answering=answering)).actions == ()


def test_without_a_bad_sign_its_service_is_started_once_and_nothing_recovered() -> None:
    (action,) = planned(down("LOG:  database system is shut down")).actions

    assert (action.kind, action.risk) == ("start_host_service", Risk.HIGH)
    assert planned(down("", state="running")).actions == ()
    assert plan_revival(TARGET, down(""), policy(), restarted=True).actions == ()


def test_rows_that_are_missing_after_a_recovery_are_no_success() -> None:
    looks = [DownLook(at=float(at), answering=Answering.WELL) for at in (0, 100)]
    rows = {"public.trades": 3000}

    assert judge_revival(looks, policy(), ClusterAnswer(answers=True, tables=1, rows=rows)).healthy
    lost = judge_revival(looks, policy(), ClusterAnswer(answers=False, complaint="public.trades has 0 rows"))
    assert not lost.healthy
    assert "0 rows" in lost.reason


@pytest.mark.parametrize(
    "changes",
    [
        {
            "recover": {
                **RULE,
                "make": {"tool": "pg_dump"},
                "patterns": ["*.dump"],
                "proof": {"scratch": {"database": "p"}},
            }
        },
        {"service": {"manager": "windows", "name": "Spooler"}},
    ],
)
def test_what_cannot_be_recovered_so_is_a_mistake_of_the_catalogue(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        policy(**changes)
