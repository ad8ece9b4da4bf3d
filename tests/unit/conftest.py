"""What several unit tests look at and takes seconds to read."""

from __future__ import annotations

import pytest

from nightshift.catalogue import Catalogue
from nightshift.catalogue.inventory import Coverage, Inventory, coverage_of
from nightshift.catalogue.inventory.coverage import ROOT


@pytest.fixture(scope="session")
def coverage() -> Coverage:
    """How far the flows of the catalogue that ships do the documents."""
    return coverage_of(Catalogue.load(ROOT / "runbooks"), Inventory.read())
