"""The catalogue: one file per system says how it is reached, whom it tells, and what answers each of its alerts."""

from nightshift.catalogue.approval_rules import ApprovalRule
from nightshift.catalogue.catalogue import Catalogue
from nightshift.catalogue.matching import Match, NoMatch
from nightshift.catalogue.mistakes import CatalogueError, Mistake
from nightshift.catalogue.models import (
    Channel,
    EscalationStep,
    Role,
    Runbook,
    SeverityRule,
    System,
)

__all__ = [
    "ApprovalRule",
    "Catalogue",
    "CatalogueError",
    "Channel",
    "EscalationStep",
    "Match",
    "Mistake",
    "NoMatch",
    "Role",
    "Runbook",
    "SeverityRule",
    "System",
]
