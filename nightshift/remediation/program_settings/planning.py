"""The action that changes a setting for a time, wherever it is kept. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.kubernetes.configuring import UpdateConfigMap
from nightshift.remediation.models import Action, Quantity, Risk, Target, UndoWhen, Value
from nightshift.remediation.program_settings.arguments import UpdateSetting
from nightshift.remediation.program_settings.places import (
    AdjustableNumber,
    FeatureFlag,
    SettingInFile,
    SettingPlace,
)
from nightshift.remediation.text import printable

_ONE = Quantity(amount=1, unit="settings")
_LONG = 600.0


class SettingSeen(Value):
    """A setting as it is now."""

    value: str | None = None
    """None: the key is not there."""
    in_effect: bool | None = None
    """Whether the program started after it was written; None: that need not be, or cannot be told."""
    uid: str = ""
    """Of the ConfigMap."""
    complaint: str = ""
    """Why it could not be read; then nothing is changed."""


class Change(Value):
    """What a setting becomes, and why."""

    value: str
    title: str
    reason: str
    back_at: float
    """Unix time."""
    asks: str = ""
    """Why a person has to decide about it in any mode."""


def switched(target: Target, flag: FeatureFlag, seen: SettingSeen, change: Change) -> Action:
    """The flag, switched until its way back."""
    return _action(target, flag.setting, seen, change, {"among": (flag.to, flag.usually)})


def adjusted(target: Target, number: AdjustableNumber, seen: SettingSeen, change: Change) -> Action:
    """The number, within its bounds, until its way back."""
    return _action(target, number.setting, seen, change, {"floor": number.floor, "ceiling": number.ceiling})


def new_number(number: AdjustableNumber, seen: SettingSeen) -> str | None:
    """What the number becomes; None: it is none, out of its bounds already, or at the bound that it would go to."""
    try:
        now = float(seen.value or "")
    except ValueError:
        return None
    if not math.isfinite(now) or not number.floor <= now <= number.ceiling:
        return None
    wanted = min(max(now * number.factor, number.floor), number.ceiling)
    whole = (seen.value or "").isdigit()
    if whole:
        wanted = float(math.floor(wanted) if number.factor < 1 else math.ceil(wanted))
        wanted = wanted if number.floor <= wanted <= number.ceiling else now
    text = f"{int(wanted)}" if whole else f"{wanted:.6f}".rstrip("0").rstrip(".")
    return None if float(text) == now else text


def way_back(now: float, after: float) -> float:
    """When a change goes back: told in minutes, so kept in them where it lasts for long enough."""
    step = 60.0 if after >= _LONG else 1.0
    return math.ceil((now + after) / step) * step


def clock(moment: float) -> str:
    """For people."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _action(
    target: Target, place: SettingPlace, seen: SettingSeen, change: Change, bounds: Mapping[str, Any]
) -> Action:
    back = printable(seen.value, 64) if seen.value is not None else "not set"
    arguments: ActionArguments
    if isinstance(place, SettingInFile):
        below = (*target.path, "host", place.host)
        arguments = UpdateSetting(
            file=place.file,
            key=place.key,
            service=place.service,
            was=seen.value,
            value=change.value,
            back_at=change.back_at,
            **bounds,
        )
    else:
        below = (*target.path, "cluster", place.cluster)
        arguments = UpdateConfigMap(
            namespace=place.namespace,
            name=place.config_map,
            uid=seen.uid,
            key=place.key,
            was=seen.value,
            value=change.value,
            back_at=change.back_at,
            **bounds,
        )
    return Action(
        kind=arguments.KIND,
        target=target.model_copy(update={"path": below}),
        arguments=arguments.to_json(),
        items=(place.name,),
        title=change.title,
        reason=change.reason,
        risk=Risk.MEDIUM,
        asks=change.asks,
        bound=_ONE,
        undo=f"back to {back} by itself at {clock(change.back_at)}; earlier with `nightshift undo`",
        undo_when=UndoWhen.BY_HAND,
    )
