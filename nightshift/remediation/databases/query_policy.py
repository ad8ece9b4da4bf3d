"""What may be done when statements are slow or vector searches fail; written once per runbook in the catalogue."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from nightshift.remediation.connections import ConnectionOf
from nightshift.remediation.databases.pool_policy import PERSONS_TOOLS, ApplicationName, Expression
from nightshift.remediation.databases.surroundings_policy import Surroundings
from nightshift.remediation.databases.upkeep import Upkeep
from nightshift.remediation.disk_space.policy import Bytes
from nightshift.remediation.durations import Seconds
from nightshift.remediation.models import Symptom, Target, Value
from nightshift.remediation.text import printable

SqlName = Annotated[str, StringConstraints(min_length=1, max_length=63)]
"""A name in the database, as it is written there; it goes into a statement as an identifier only."""


class Measure(Value):
    """The alert's own number."""

    prometheus: Annotated[str, ConnectionOf("http")]
    expression: Expression
    at_most: float = Field(gt=0)
    unit: Annotated[str, StringConstraints(max_length=20)] = ""


class IndexRule(Value):
    """An index that slow statements depend on."""

    index: SqlName
    table_schema: SqlName = "public"
    largest: Bytes = 20 * 2**30
    """A larger one is not rebuilt: it takes as much room again, and hours."""
    lists: Annotated[int | None, Field(ge=1, le=32768)] = None
    """IVFFlat lists that a new index may get where rebuilding does not help, by a person's word; null: proposed."""


class EmbeddingRule(Value):
    """The column that vector searches read."""

    table: SqlName
    table_schema: SqlName = "public"
    column: SqlName
    dimensions: int = Field(ge=1, le=16_000)


class QueryPolicy(Value):
    """Limits of the flows ``database-query-performance`` and ``vector-search-errors``."""

    TARGET: ClassVar[tuple[str, ...]] = ("database",)
    """Kinds of the target's path, outermost first."""

    measure: Measure | None = None
    """Null: long statements alone say how it is."""
    connections_over: Annotated[int | None, Field(ge=1, le=10_000)] = None
    """So many connections of this database in use are well, more are trouble; null: they do not count."""
    indexes: Annotated[tuple[IndexRule, ...], Field(max_length=10)] = ()
    embedding: EmbeddingRule | None = None
    """What vector searches need: the extension, this column of these dimensions."""
    vector_statements: bool = False
    """Only statements that compare vectors are cancelled; false: all that run for too long."""
    query_over: Annotated[Seconds, Field(ge=1)] = 60
    """A statement that runs for longer is cancelled."""
    unused_after_scans: Annotated[int, Field(ge=1)] = 100
    """An index that nothing reads, on a table that was read from end to end so often, is rebuilt."""
    upkeep: Upkeep | None = None
    """Dead rows, replication slots and vacuums are looked at with it; null: they are not."""
    statement_statistics: bool = False
    """True: pg_stat_statements is made, by a person's word, where the server has loaded it and it is missing."""
    feature_flag: Annotated[str, StringConstraints(max_length=160)] = ""
    """How the feature is switched off, for people; switching it is proposed, with the way back."""
    client: Annotated[str, StringConstraints(max_length=160)] = ""
    """The workload that searches, for people: ``deployment/api -n shop``; its restart is proposed."""
    never: frozenset[ApplicationName] = PERSONS_TOOLS
    """Applications whose statements are never touched."""
    most_sessions: Annotated[int, Field(ge=1, le=100)] = 10
    """Of one application in one plan."""
    around: Surroundings | None = None
    """What is looked at beside it, for people; null: nothing."""
    wait: Annotated[Seconds, Field(ge=1, le=7200)] = 300
    """So long what was done may take to show in the measure."""
    hold: Annotated[Seconds, Field(ge=1, le=7200)] = 300
    """Well for so long on end counts as repaired."""

    def symptom(self, target: Target) -> Symptom:
        """How the flow tells that its repair helped."""
        name = printable(target.part("database"))
        number = f"the measure at most {self.measure.at_most:g} {printable(self.measure.unit)}" if self.measure else ""
        solved = (number, f"no statement over {self.query_over:g} s", "every index valid")
        where = f" and {printable(self.measure.prometheus)}" if self.measure else ""
        return Symptom(
            what=f"statements on {name} are slow or fail",
            solved=", ".join(part for part in solved if part),
            measured_by=f"pg_stat_activity and pg_index{where}",
            hold=self.hold,
            allowances=(f"{self.wait:g} s for the measure, which looks back",),
        )
