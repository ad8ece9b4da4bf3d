"""Findings as evidence for a report."""

from __future__ import annotations

from collections.abc import Iterable

from nightshift.remediation.models import Finding


def as_markdown(findings: Iterable[Finding]) -> str:
    """One line for each finding; their texts are printable already."""
    return "\n".join(
        f"- {'**' * one.troubling}{one.title}{'**' * one.troubling}{f': {one.detail}' if one.detail else ''}"
        for one in findings
    )
