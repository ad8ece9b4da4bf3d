"""Every operation of the inventory on a cluster is tied to its code, or to the reason why a person does it."""

from __future__ import annotations

import csv
import importlib
import re
from functools import reduce
from pathlib import Path

import pytest

import nightshift
import nightshift.tasks.registered
from nightshift.remediation.actions import ACTION_KINDS, ActionKind
from nightshift.remediation.kubernetes.permissions import FLOW_OPERATIONS, OPERATIONS, WITH_SECRETS

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs" / "kubernetes-operations.md").read_text()
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in TABLE.splitlines()
    if line.startswith(("| kubernetes.", "| certmanager."))
]
INVENTORY = [
    (row["operation"], row["kind"], row["risk"])
    for row in csv.DictReader((Path(__file__).parent / "catalogue_data" / "kubernetes_operations.csv").open())
]
OTHERS = {"evict_pods", "remove_hpa", "remove_storage_class", "block_deployments"}
CODE = {operation: done_by.strip("`") for operation, _, _, done_by in ROWS if done_by.startswith("`")}


def named(reference: str) -> object:
    module, _, path = reference.partition(":")
    return reduce(getattr, path.split("."), importlib.import_module(module))


def test_the_table_has_every_operation_of_the_inventory_and_no_other() -> None:
    assert [row[:3] for row in ROWS] == sorted(INVENTORY)


@pytest.mark.parametrize("operation", CODE)
def test_what_does_an_operation_is_there_and_says_so(operation: str) -> None:
    module, _, _ = CODE[operation].partition(":")
    found = named(CODE[operation])

    kind = next(kind for name, kind, _ in INVENTORY if name == operation)
    assert isinstance(found, ActionKind) == (kind == "remediate")
    assert callable(found.act if isinstance(found, ActionKind) else found)
    said = Path(importlib.import_module(module).__file__ or "").read_text()
    assert operation.partition(".")[2] in said, f"{module} does not say that it is {operation}"


def test_what_people_do_changes_much_or_cannot_be_known_and_says_why() -> None:
    left = {row[0]: row[3] for row in ROWS if row[0] not in CODE}

    assert {operation: why for operation, why in left.items() if not re.match(r"a person: .{40}", why)} == {}
    assert {kind for operation, kind, _ in INVENTORY if operation in left} == {"remediate"}


def test_every_action_on_a_cluster_is_one_of_the_table() -> None:
    actions = {found.name for found in map(named, CODE.values()) if isinstance(found, ActionKind)}

    assert actions | OTHERS == set(OPERATIONS)
    assert set(OPERATIONS) <= set(ACTION_KINDS.names())
    assert all(f"`{name}`" in TABLE for name in OTHERS)


def test_no_flow_is_granted_what_sees_secrets() -> None:
    granted = {kind for kinds in FLOW_OPERATIONS.values() for kind in kinds}

    assert {"replace_secret", "update_ingress"} == WITH_SECRETS
    assert not granted & WITH_SECRETS


def test_the_code_names_no_operation_that_the_inventory_does_not_have() -> None:
    known = {operation for operation, _, _ in INVENTORY}
    texts = [path.read_text() for path in Path(nightshift.__file__).parent.rglob("*.py")]
    mentioned = {name for text in texts for name in re.findall(r"``((?:kubernetes|certmanager)\.[a-z_]+)``", text)}
    packages = {"kubernetes.client", "kubernetes.config"}

    assert mentioned - known - packages == set()
