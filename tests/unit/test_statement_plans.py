"""What plans of statements say, without a server."""

from __future__ import annotations

from typing import Any

import pytest

from nightshift.remediation.databases.query_planner import Statement
from nightshift.remediation.databases.statement_plans import may_be_explained, once_for_each_row, plan_in


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("select * from item where id = $1", True),
        ("  SELECT count(*) FROM item WHERE lower(name) IN ($1, $2)", True),
        ("with recent as (select 1) select * from recent", True),
        ("select public.sly($1)", False),
        ("select sly($1)", False),
        ('select "sly" ($1)', False),
        ("update item set n = $1", False),
        ("analyze select 1", False),
        ("select 1; drop table item", True),  # one statement only can be prepared: the server refuses it
    ],
)
def test_only_questions_without_functions_of_others_are_planned(statement: str, allowed: bool) -> None:
    assert may_be_explained(statement) is allowed


def scan(table: str, filter_: str = "", **more: Any) -> dict[str, Any]:
    return {"Node Type": "Seq Scan", "Schema": "public", "Relation Name": table, "Filter": filter_, **more}


def test_a_large_table_that_is_read_whole_is_named_with_the_columns_it_is_asked_by() -> None:
    explained = {"Plan": {"Node Type": "Limit", "Total Cost": 431.0, "Plans": [
        scan("orders", "((orders.customer = $1) AND ((orders.name)::text ~~ 'Bob%'::text))"), scan("colour")
    ]}}  # fmt: skip

    plan = plan_in(explained, "select 'secret'", {"public.orders": 20_000, "public.colour": 7}, 10_000)

    (read,) = plan.whole_reads
    assert (plan.cost, read.table, read.columns) == (431.0, "public.orders", ("customer", "name"))
    assert "Bob" not in read.filter
    assert "secret" not in plan.shape


def test_a_statement_that_runs_many_times_for_each_request_is_told_apart_from_a_busy_one() -> None:
    many, few = Statement(shape="a", calls=800, milliseconds=9), Statement(shape="b", calls=12, milliseconds=90)

    assert once_for_each_row([many, few], seconds=2, requests_per_second=10) == ((many, 40.0),)
    assert once_for_each_row([many], seconds=2, requests_per_second=None) == ()
