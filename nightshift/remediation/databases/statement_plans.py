"""What a statement's plan says about missing indexes, and which statements run once for each row. Pure.

Follows octollm.HighLatency.r1.2, r1.3 and bybit_strategy_tester.SlowResponseTime.d3, r1.1: plans are read without
executing anything, and missing indexes show in whole tables being read, not in the correlation of a column's values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nightshift.remediation.databases.query_planner import Statement
from nightshift.remediation.databases.query_text import shape_of
from nightshift.remediation.inventory import serves
from nightshift.remediation.text import sql_name

_KNOWN = """
all and any array as avg between by case cast ceil coalesce count date_trunc else except exists extract filter floor
from greatest in intersect join json_agg jsonb_agg least length limit lower max min not now nullif offset on or over
partition round row_number select string_agg substring sum then trim union upper using values when where with
"""
KNOWN_FUNCTIONS = frozenset(_KNOWN.split())
"""What may stand before a parenthesis in a statement whose plan is read: words of the language, built-in functions."""
_CALLED = re.compile(r"([\w.\"]+)\s*\(")
_COMPARED = re.compile(r"(\w+)\)?(?:::\w+)? (?:=|<|>|<=|>=|~~) ")
_DEPTH = 50
MANY = 10.0
"""Calls of one statement for each request, from which on it looks like one query for each row."""


@dataclass(frozen=True, kw_only=True)
class WholeRead:
    """A table that a plan reads from end to end."""

    table: str
    """With its schema, as a statement names it."""
    rows: int
    """That it has, estimated."""
    filter: str
    """What rows are chosen by, its shape."""
    columns: tuple[str, ...] = ()
    """Compared in it."""


@dataclass(frozen=True, kw_only=True)
class StatementPlan:
    """How a statement would be executed, in general; it was not."""

    shape: str
    cost: float
    whole_reads: tuple[WholeRead, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TableReads:
    """A table that is read whole more often than through an index, since its counters were reset."""

    table: str
    rows: int
    whole: int
    by_index: int


def may_be_explained(statement: str) -> bool:
    """Whether planning it calls no function of anybody: planning evaluates what is constant."""
    text = statement.lstrip().lower()
    called = (name.rpartition(".")[2].strip('"').lower() for name in _CALLED.findall(text) if "." not in name)
    qualified = any("." in name for name in _CALLED.findall(text))
    return text.startswith(("select", "with")) and not qualified and all(name in KNOWN_FUNCTIONS for name in called)


@serves("octollm.HighLatency: r1.3")
def plan_in(explained: Mapping[str, Any], statement: str, rows: Mapping[str, int], at_least: int) -> StatementPlan:
    """What ``EXPLAIN (GENERIC_PLAN, VERBOSE, FORMAT JSON)`` says.

    Args:
        explained: the object that has ``Plan``.
        statement: that it is of; hostile text.
        rows: of each table, by its name with the schema, estimated.
        at_least: a smaller table is best read whole.
    """
    top = explained.get("Plan", {})
    found = []
    for node in _nodes(top, _DEPTH):
        table = f"{node.get('Schema', '')}.{node.get('Relation Name', '')}"
        if node.get("Node Type") != "Seq Scan" or rows.get(table, 0) < at_least:
            continue
        condition = str(node.get("Filter", ""))
        columns = tuple(dict.fromkeys(sql_name(name) for name in _COMPARED.findall(condition)))
        name = sql_name(str(node.get("Schema", "")), str(node.get("Relation Name", "")))
        found.append(WholeRead(table=name, rows=rows[table], filter=shape_of(condition), columns=columns))
    return StatementPlan(shape=shape_of(statement), cost=float(top.get("Total Cost", 0.0)), whole_reads=tuple(found))


def tables_in(explained: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    """Schema and name of every table that the plan reads whole."""
    nodes = _nodes(explained.get("Plan", {}), _DEPTH)
    return frozenset(
        (str(node.get("Schema", "")), str(node["Relation Name"]))
        for node in nodes
        if node.get("Node Type") == "Seq Scan"
    )


@serves("bybit_strategy_tester.SlowResponseTime: d3")
def once_for_each_row(
    statements: Iterable[Statement], seconds: float, requests_per_second: float | None
) -> tuple[tuple[Statement, float], ...]:
    """Statements with their calls for each request, where these are many: fast ones each, which no slow query log has.

    Args:
        statements: between two looks.
        seconds: between these looks.
        requests_per_second: that the service answers; None or 0: not known, and nothing is concluded.
    """
    if not requests_per_second:
        return ()
    found = ((one, one.calls / seconds / requests_per_second) for one in statements)
    return tuple((one, calls) for one, calls in found if calls >= MANY)


def _nodes(plan: Mapping[str, Any], depth: int) -> Iterator[Mapping[str, Any]]:
    yield plan
    if depth:
        for child in plan.get("Plans", ()):
            yield from _nodes(child, depth - 1)
