"""The journal: append-only, chained, and the chain tells the truth about what was written."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.models import Severity, Target

_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)


def _incident(ledger: Ledger, name: str = "web1") -> int:
    trouble = Trouble("shop", "HighDiskUsage", None, Target(system="shop", path=("host", name)), Severity.INFO, "t")
    with ledger.engine.begin() as connection:
        return ledger.incidents.open(connection, trouble)[0]


@pytest.mark.parametrize("statement", ["update journal set entry = '{}'", "delete from journal", "truncate journal"])
def test_what_was_written_cannot_be_changed(ledger: Ledger, statement: str) -> None:
    _incident(ledger)

    with pytest.raises(DBAPIError, match="append-only"), ledger.engine.begin() as connection:
        connection.execute(text(statement))

    assert ledger.journal.first_broken_link() is None


@pytest.mark.parametrize(
    "edit",
    [
        'update journal set entry = \'{"reason": "another"}\' where sequence = 3',
        "update journal set at = at + interval '1 microsecond' where sequence = 3",
        "update journal set kind = 'done' where sequence = 3",
    ],
)
def test_a_superuser_who_edits_a_row_breaks_the_chain_there(ledger: Ledger, database_url: str, edit: str) -> None:
    incident = _incident(ledger)
    for number in range(5):
        ledger.journal.record(incident, Kind.REFUSED, {"reason": str(number)})
    assert ledger.journal.first_broken_link() is None

    with psycopg.connect(database_url, autocommit=True) as superuser:
        superuser.execute("alter table journal disable trigger all")
        superuser.execute(edit)
        superuser.execute("alter table journal enable trigger all")

    assert ledger.journal.first_broken_link() == 3


def test_a_removed_row_is_noticed_at_the_row_after_it(ledger: Ledger, database_url: str) -> None:
    incident = _incident(ledger)
    for number in range(5):
        ledger.journal.record(incident, Kind.REFUSED, {"reason": str(number)})

    with psycopg.connect(database_url, autocommit=True) as superuser:
        superuser.execute("alter table journal disable trigger all")
        superuser.execute("delete from journal where sequence = 4")

    assert ledger.journal.first_broken_link() == 5


def test_rows_written_at_the_same_time_form_one_chain(ledger: Ledger) -> None:
    incidents = [_incident(ledger, f"web{number}") for number in range(4)]

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: ledger.journal.record(incidents[n % 4], Kind.REFUSED, {"n": n}), range(80)))

    assert ledger.journal.first_broken_link() is None
    assert sum(len(ledger.journal.of(incident)) for incident in incidents) == 84


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entry=st.dictionaries(_TEXT, _VALUES, max_size=4))
def test_a_row_hashes_to_the_same_after_the_database_kept_it(ledger: Ledger, entry: dict[str, Any]) -> None:
    incident = _incident(ledger)

    sequence = ledger.journal.record(incident, Kind.MEASURED, entry)

    row = ledger.journal.of(incident, after=sequence - 1)[0]
    assert row.hash == row.expected_hash()


@pytest.mark.parametrize("number", [1e16, -0.0, 1e300, 5e-324, 12345678901234567890])
def test_numbers_that_json_in_the_database_spells_differently_do_not_break_the_chain(
    ledger: Ledger, number: float
) -> None:
    ledger.journal.record(_incident(ledger), Kind.MEASURED, {"bytes": number})

    assert ledger.journal.first_broken_link() is None
