"""Where the catalogue's secrets are kept: the variables that must be in the environment of what uses them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nightshift.catalogue.models import System
from nightshift.remediation.connections import SecretReference
from nightshift.remediation.models import Value


def named_variables(systems: Iterable[System]) -> frozenset[str]:
    """Names of the variables that hold a secret of one of these systems."""
    return frozenset(reference.env for system in systems for reference in _references(system) if reference.env)


def _references(value: object) -> Iterator[SecretReference]:
    if isinstance(value, SecretReference):
        yield value
    elif isinstance(value, Value):
        for name in type(value).model_fields:
            yield from _references(getattr(value, name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, tuple):
        for item in value:
            yield from _references(item)
