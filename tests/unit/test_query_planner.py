"""Slow statements and failing searches: what is done about which of them, and what only people can do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nightshift.remediation.databases.backends import Backend, ServerLook
from nightshift.remediation.databases.indexes import IndexState
from nightshift.remediation.databases.query_planner import (
    NOTHING_TO_DO,
    Embedding,
    QueryLook,
    judge_queries,
    plan_queries,
)
from nightshift.remediation.databases.query_policy import QueryPolicy
from nightshift.remediation.models import Plan, Target

TARGET = Target(system="shop", path=("database", "main"))
MEASURE = {"prometheus": "prometheus", "expression": "x", "at_most": 2, "unit": "s"}
POLICY = QueryPolicy.model_validate(
    {
        "measure": MEASURE,
        "indexes": [{"index": "embedding_idx", "lists": 200, "largest": "1GiB"}],
        "embedding": {"table": "decision", "column": "embedding", "dimensions": 1536},
        "vector_statements": True,
        "query_over": "10s",
        "feature_flag": "ENABLE_VECTOR_SEARCH=false",
    }
)
USUAL: dict[str, Any] = {
    "schema": "public",
    "name": "embedding_idx",
    "oid": 1,
    "valid": True,
    "table": "decision",
    "bytes": 1000,
    "scans": 50,
    "table_scans": 5,
    "method": "ivfflat",
}
WHOLE = Embedding(extension="0.8.0", dimensions=1536)


def index(**fields: object) -> IndexState:
    return IndexState(**{**USUAL, **fields})


def running(pid: int, **fields: Any) -> Backend:
    usual = {"database": "shop", "user": "app", "application": "api", "started": f"{pid}", "state": "active"}
    return Backend(pid=pid, query_age=60, **{**usual, **fields})


def look(*backends: Backend, at: float = 0, value: float | None = 1, **more: Any) -> QueryLook:
    server = ServerLook(backends=backends, database="shop", account="night", max_connections=100)
    return QueryLook(at=at, server=server, value=value, **{"indexes": (index(),), "embedding": WHOLE, **more})


def kinds(plan: Plan) -> list[str]:
    return [action.kind for action in plan.actions]


def test_fast_statements_need_nothing() -> None:
    assert plan_queries(TARGET, look(running(1)), POLICY).goal == NOTHING_TO_DO


@pytest.mark.hazard("cryptofunk.VectorSearchCriticalLatency.r1.1")
def test_only_statements_that_compare_vectors_are_cancelled() -> None:
    plan = plan_queries(TARGET, look(running(1), running(2, compares_vectors=True), value=9), POLICY)

    assert kinds(plan) == ["cancel_queries"]
    assert plan.actions[0].items == ("2@2",)


@pytest.mark.hazard("cryptofunk.VectorSearchCriticalLatency.r1.1")
def test_what_was_cancelled_in_vain_takes_a_person() -> None:
    deaf = running(2, compares_vectors=True)

    (action,) = plan_queries(TARGET, look(deaf), POLICY, cancelled={deaf.statement}).actions

    assert (action.kind, bool(action.asks)) == ("end_sessions", True)


@pytest.mark.hazard("cryptofunk.VectorSearchCriticalLatency.r1.1")
def test_an_index_build_or_a_dump_is_not_cancelled() -> None:
    plan = plan_queries(
        TARGET,
        look(
            running(1, compares_vectors=True, busy_with="CREATE INDEX"),
            running(2, compares_vectors=True, application="pg_dump"),
            value=9,
            indexes=(index(method="hnsw"),),
        ),
        POLICY,
    )

    assert plan.actions == ()


def test_an_invalid_index_is_rebuilt_and_other_lists_take_a_person() -> None:
    assert kinds(plan_queries(TARGET, look(indexes=(index(valid=False),)), POLICY)) == ["reindex_index"]
    (action,) = plan_queries(TARGET, look(value=9), POLICY).actions
    assert (action.kind, bool(action.asks)) == ("swap_vector_index", True)


def test_an_index_that_nothing_reads_is_rebuilt_once_its_table_is_read_whole() -> None:
    assert kinds(plan_queries(TARGET, look(value=9, indexes=(index(scans=0, table_scans=500),)), POLICY)) == [
        "reindex_index"
    ]


def test_an_index_is_refused_when_it_is_too_large_foreign_or_being_built() -> None:
    for fields in ({"bytes": 2**40}, {"mine": False}, {"being_built": True}):
        plan = plan_queries(TARGET, look(indexes=(index(valid=False, **fields),)), POLICY)
        assert plan.actions == ()
        assert len(plan.refusals) == 1


@pytest.mark.hazard("cryptofunk.VectorSearchCriticalErrorRate.r1.1")
def test_a_missing_extension_is_for_people_who_are_told_what_is_lost() -> None:
    plan = plan_queries(TARGET, look(embedding=Embedding(extension="", dimensions=None)), POLICY)

    assert plan.actions == ()
    assert "from a backup only" in plan.proposals[0].reason


@pytest.mark.hazard("cryptofunk.VectorSearchCriticalErrorRate.r1.1")
def test_a_missing_extension_is_made_by_a_persons_word_where_the_server_has_it() -> None:
    gone = Embedding(extension="", dimensions=None)

    (action,) = plan_queries(TARGET, look(embedding=gone, missing={"vector": ""}), POLICY).actions
    cannot = plan_queries(TARGET, look(embedding=gone, missing={"vector": "It is not installed."}), POLICY)

    assert (action.kind, bool(action.asks)) == ("create_extension", True)
    assert "from a backup only" in action.reason
    assert cannot.actions == ()
    assert "It is not installed." in cannot.proposals[0].reason


@pytest.mark.hazard("cryptofunk.VectorSearchCriticalLatency.r2.1", "cryptofunk.VectorSearchCriticalErrorRate.r3.1")
def test_the_feature_is_never_switched_off_without_a_way_back() -> None:
    plan = plan_queries(TARGET, look(value=9), POLICY)

    assert any("on again" in proposal.title for proposal in plan.proposals)


def test_a_measure_that_cannot_be_told_is_no_success() -> None:
    plan = plan_queries(TARGET, look(value=None, unknown="prometheus gives no number"), POLICY)

    assert plan.goal != NOTHING_TO_DO
    assert judge_queries(look(), [look(value=None, unknown="no number")], POLICY, "").inconclusive


def test_well_for_long_enough_is_success() -> None:
    looks = [look(at=at) for at in range(0, 301, 10)]

    assert judge_queries(look(value=9), looks, POLICY, "").healthy
    assert not judge_queries(look(value=9), [*looks, look(at=310, value=3)], POLICY, "").healthy


def test_the_program_that_searches_is_restarted_by_people_while_the_measure_is_bad() -> None:
    policy = POLICY.model_copy(update={"client": "deployment/api -n shop"})

    bad, good = (plan_queries(TARGET, look(running(1), value=value), policy) for value in (9.0, 1.0))

    assert [one.detail for one in bad.proposals if one.title.startswith("Restart")] == [
        "kubectl rollout restart deployment/api -n shop, and follow its log"
    ]
    assert not [one for one in good.proposals if one.title.startswith("Restart")]


def test_connections_above_what_is_well_are_trouble_until_they_fall() -> None:
    policy = POLICY.model_copy(update={"connections_over": 1})
    busy = [replace(running(pid), query_age=1.0) for pid in (1, 2)]

    plan = plan_queries(TARGET, look(*busy), policy)
    judged = [judge_queries(look(*busy), looks, policy, "") for looks in ([look(*busy)], [look(), look(at=900)])]

    assert not plan.actions
    assert plan.proposals[0].title == "Free connections: the runbook for connections"
    assert [one.healthy for one in judged] == [False, True]
    assert "2 connections in use, at most 1" in judged[0].reason
