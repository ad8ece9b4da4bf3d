"""The arguments of the action on a setting in a file, as the diagnosis saw the world."""

from __future__ import annotations

import re
from typing import ClassVar, Self

from pydantic import Field, model_validator

from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.hosts.services import HostService
from nightshift.remediation.program_settings.places import Word
from nightshift.remediation.providers.endpoints import FilePath, SettingName

_NUMBER = re.compile(r"\d{1,15}(\.\d{1,6})?")


class UpdateSetting(ActionArguments):
    """Give one key of a host's file of settings another value: a number within bounds, or one of few words.

    Operations ``application.update_config`` and ``application.toggle_feature``.
    """

    KIND: ClassVar[str] = "update_setting"

    file: FilePath
    key: SettingName
    service: HostService | None = None
    """Restarted to read it, where it runs."""
    was: Word | None
    """What the diagnosis saw; None: the key was not there."""
    value: Word | None
    """None: the key goes."""
    floor: float | None = None
    ceiling: float | None = None
    among: tuple[Word, ...] = ()
    back_at: float | None = Field(default=None, gt=0)
    """Unix time at which it goes back by itself; None: it stays."""

    @model_validator(mode="after")
    def _within_bounds(self) -> Self:
        if self.value is None or self.value in self.among:
            return self
        if self.floor is None or self.ceiling is None:
            raise ValueError("a setting changes within a floor and a ceiling, or to one of few words")
        if not _NUMBER.fullmatch(self.value) or not self.floor <= float(self.value) <= self.ceiling:
            raise ValueError(f"the value is no number from {self.floor:g} to {self.ceiling:g}")
        return self
