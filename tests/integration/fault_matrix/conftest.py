"""A ward and runs on a ledger, for the whole module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.postgres import PostgresServer
from lab.ward.play import Lab, open_lab


@pytest.fixture(scope="module")
def lab(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    name = "fault_matrix"
    url = postgres.create_database(name, template="migrated")
    with open_lab(url, tmp_path_factory.mktemp("ward")) as lab:
        yield lab
    postgres.drop_database(name)
