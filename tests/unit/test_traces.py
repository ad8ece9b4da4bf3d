"""Where the time of slow requests went."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.remediation.requests.traces import Part, Span, Trace, repeated_calls, slowest_calls, time_in


def span(name: str, start: float, seconds: float, parent: str = "", **tags: str) -> Span:
    dotted = {tag.replace("_", ".", 1): value for tag, value in tags.items()}
    return Span(id=name, parent=parent, service="web", operation=name, start=start, seconds=seconds, tags=dotted)


def test_the_time_belongs_to_the_span_that_waits_and_not_to_all_that_wait_for_it() -> None:
    trace = Trace(id="t", spans=[span("GET /", 0, 2), span("select", 0.1, 1.8, "GET /", db_system="postgresql")])

    first, second = slowest_calls([trace])

    assert (first.part, first.whom) == (Part.DATABASE, "select")
    assert first.seconds == pytest.approx(1.8)
    assert first.share == pytest.approx(0.9)
    assert second.part is Part.ITSELF
    assert second.seconds == pytest.approx(0.2)


def test_children_that_overlap_are_counted_once() -> None:
    trace = Trace(id="t", spans=[span("GET /", 0, 2), span("a", 0, 1, "GET /"), span("b", 0.5, 1, "GET /")])

    own = {one.whom: one.seconds for one in slowest_calls([trace])}

    assert own["GET /"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("tags", "part"),
    [
        ({"db.system": "postgresql"}, Part.DATABASE),
        ({"db.type": "sql"}, Part.DATABASE),
        ({"db.statement": "select 1"}, Part.DATABASE),
        ({"db.system": "redis"}, Part.CACHE),
        ({"gen_ai.system": "openai", "span.kind": "client"}, Part.LLM),
        ({"span.kind": "client", "peer.service": "billing"}, Part.SERVICE),
        ({"span.kind": "server"}, Part.ITSELF),
        ({}, Part.ITSELF),
    ],
)
def test_what_a_span_waits_for_is_told_by_its_tags(tags: dict[str, str], part: Part) -> None:
    assert Span(id="s", parent="", service="web", operation="x", start=0, seconds=1, tags=tags).part is part


def test_a_query_for_each_row_is_found_with_the_trace_that_shows_it_best() -> None:
    def rows(identity: str, count: int) -> Trace:
        queries = [
            span(f"q{number}", number * 0.1, 0.1, "GET /", db_statement="select * from item where id = $1")
            for number in range(count)
        ]
        return Trace(id=identity, spans=[span("GET /", 0, count * 0.1), *queries])

    (found,) = repeated_calls([rows("few", 12), rows("many", 40), rows("too few", 3)])

    assert (found.trace, found.calls, found.traces) == ("many", 40, 2)
    assert found.seconds == pytest.approx(4.0)
    assert found.whom == "select * from item where id = $1"


def test_calls_without_a_common_parent_are_no_pattern() -> None:
    spans = [span(f"q{number}", number, 0.1, db_statement="select 1") for number in range(30)]

    assert repeated_calls([Trace(id="t", spans=spans)]) == ()


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.floats(0, 10), st.floats(0, 10), st.sampled_from(["", "postgresql", "redis"])),
        max_size=20,
    )
)
def test_no_trace_makes_it_fail_and_shares_stay_shares(spans: list[tuple[int, float, float, str]]) -> None:
    made = [
        Span(
            id=str(number), parent=str(parent), service="web", operation="x", start=start, seconds=seconds,
            tags={"db.system": system} if system else {},
        )
        for number, (parent, start, seconds, system) in enumerate(spans)
    ]  # fmt: skip

    calls = slowest_calls([Trace(id="t", spans=made)])

    assert all(0 <= one.share <= 1 and one.seconds >= 0 for one in calls)
    assert 0 <= time_in(Part.DATABASE, calls) <= 1
    repeated_calls([Trace(id="t", spans=made)], at_least=2)
