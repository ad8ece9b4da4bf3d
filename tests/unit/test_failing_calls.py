"""Where errors begin, by traces: the deepest steps that failed, not those that pass an error on."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nightshift.remediation.requests.failing_calls import failing_calls, failing_elsewhere
from nightshift.remediation.requests.traces import Part, Span, Trace

ERROR = {"error": "true"}


def span(identity: str, parent: str = "", service: str = "api", **more: Any) -> Span:
    values = {"operation": "GET /", "start": 0.0, "seconds": 1.0, "tags": ERROR, **more}
    return Span(id=identity, parent=parent, service=service, **values)


def test_a_step_that_passes_an_error_on_is_not_where_it_began() -> None:
    trace = Trace(id="t", spans=(span("a"), span("b", "a"), span("c", "b", "search", seconds=5.0)))
    (call,) = failing_calls([trace, trace])

    assert (call.service, call.count, call.seconds) == ("search", 2, 5.0)
    assert failing_elsewhere([call], "api") is call
    assert failing_elsewhere([call], "search") is None


def test_a_database_that_refuses_shows_with_the_step_that_asked_it() -> None:
    asks = span("b", "a", tags={**ERROR, "db.system": "postgresql", "db.statement": "select <x>"})
    (call,) = failing_calls([Trace(id="t", spans=(span("a"), asks))])

    assert call.part is Part.DATABASE
    assert "<" not in call.words


def test_errors_that_mostly_begin_in_the_service_itself_accuse_nobody_else() -> None:
    own = [Trace(id=str(n), spans=(span("a"),)) for n in range(3)]
    other = Trace(id="o", spans=(span("a"), span("b", "a", "search")))

    assert failing_elsewhere(failing_calls([*own, other]), "api") is None


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3), st.booleans()), max_size=12))
def test_any_tangle_of_spans_is_read(parts: list[tuple[str, str, bool]]) -> None:
    spans = tuple(span(one, parent, tags=ERROR if failed else {}) for one, parent, failed in parts)

    assert all(call.count == 1 for call in failing_calls([Trace(id="t", spans=spans)]))
