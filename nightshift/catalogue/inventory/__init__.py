"""The steps of the five on-call documents, and how far the flows do them.

``alerts.csv`` names the alerts: ``described_as`` is the alert whose text holds for it, ``body`` says whether the
document describes it at all. ``<system>.csv`` lists the steps of an alert: diagnose, remediate or verify; whether the
document's step can be automated; ``stated`` is ``no`` for a check that the document leaves out. ``escalation.csv``
has the rules that say who is called about an alert: after a time, or ``when`` a condition holds; ``who`` are roles and
channels of the catalogue. ``situations.csv`` names scenarios of several alerts and decision trees, ``procedures.csv``
what a document tells for every alert. ``by_a_person.yaml`` has the reasons why a step stays with a person.
"""

from nightshift.catalogue.inventory.coverage import Coverage, Status, coverage_of
from nightshift.catalogue.inventory.steps import Described, Group, Inventory, Step

__all__ = ["Coverage", "Described", "Group", "Inventory", "Status", "Step", "coverage_of"]
