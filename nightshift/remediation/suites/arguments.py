"""The arguments of the two runs, as the diagnosis saw the world."""

from __future__ import annotations

from typing import ClassVar

from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.suites.policy import AuditRun, TestRun


class RunTests(ActionArguments):
    """Run the project's whole suite once, as its account, with the lowest priority and a time limit."""

    KIND: ClassVar[str] = "run_tests"

    directory: str
    account: str
    junit: str
    coverage: str | None
    rule: TestRun
    written_ns: int
    """Of the report that was seen, 0 where there was none: a newer one means that it ran."""


class RunAudit(ActionArguments):
    """Run the project's own audit once, as its account, with the lowest priority and a time limit."""

    KIND: ClassVar[str] = "run_audit"

    directory: str
    account: str
    rule: AuditRun
    written_ns: int
    """Of its report that was seen."""
