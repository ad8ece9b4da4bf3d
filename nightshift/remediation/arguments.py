"""The arguments of an action, typed: written by a planner, kept as JSON, checked and obeyed by the executor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import JsonValue

from nightshift.remediation.models import Value


class ActionArguments(Value):
    """Base: the name of the action kind and the way to and from the JSON of :attr:`Action.arguments`.

    A new field needs a default, because approved plans outlive an upgrade.
    """

    KIND: ClassVar[str]

    def to_json(self) -> dict[str, JsonValue]:
        """As kept in the action, the approval and the journal."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, arguments: Mapping[str, JsonValue]) -> Self:
        """The inverse of :meth:`to_json`.

        Raises:
            pydantic.ValidationError: these are not the arguments of this kind.
        """
        return cls.model_validate(arguments)
