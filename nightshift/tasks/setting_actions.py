"""Changing a setting of a program on a host, with what makes that safe to run unattended. Only the gate does it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from nightshift.remediation.actions import Connections, Effect, Observation, Undo
from nightshift.remediation.clients.host_probe import permissions, settings
from nightshift.remediation.clients.host_probe.asking import ends_within
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.models import Action, Quantity, UndoWhen
from nightshift.remediation.privileges import Lack
from nightshift.remediation.program_settings.arguments import UpdateSetting
from nightshift.remediation.program_settings.undoing import setting_back
from nightshift.tasks.disk_space_actions import host_of
from nightshift.tasks.steps import action


def _unchanged(action: Action, connections: Connections) -> None:
    arguments = UpdateSetting.from_json(action.arguments)
    if arguments.back_at is not None and arguments.back_at <= time.time():
        raise TargetChangedError("The time at which it was to go back is over already.")
    with host_of(action, connections) as host:
        settings.check_setting(host, arguments)


def _observe(action: Action, connections: Connections) -> Observation:
    """What stands in the file but was not read by its service is not done, and is safely done again."""
    arguments = UpdateSetting.from_json(action.arguments)
    with host_of(action, connections) as host:
        now = settings.read_setting(host, arguments)
    unread = arguments.service is not None and now.in_effect is not True
    return Observation.DONE if now.value == arguments.value and not unread else Observation.NOT_DONE


def _lacks(action: Action, connections: Connections) -> Sequence[Lack]:
    with host_of(action, connections) as host:
        return permissions.lacks(host, permissions.to_set(UpdateSetting.from_json(action.arguments)))


@action(
    kind=UpdateSetting.KIND,
    name="change a setting on a host",
    timeout=ends_within(settings.CHANGING_SECONDS),
    precondition=_unchanged,
    observe=_observe,
    permitted=_lacks,
    undo=Undo(when=UndoWhen.BY_HAND, action=setting_back),
)
def update_setting(action: Action, connections: Connections) -> Effect:
    """Operations ``application.update_config`` and ``application.toggle_feature``, within bounds and for a time.

    Follows test_watcher.DeepSeekAPIDown.r3.1 and test_watcher.APIRateLimitExceeded.r1.2 of the inventory.
    """
    arguments = UpdateSetting.from_json(action.arguments)
    with host_of(action, connections) as host:
        changed = settings.update_setting(host, arguments)
    now = arguments.value if arguments.value is not None else "not set"
    read = f", {arguments.service.name} was made to read it" if arguments.service else ""
    return Effect(
        summary=f"{arguments.key} is {now}{'' if changed else ' already'}{read}",
        amount=Quantity(amount=1, unit="settings"),
        evidence={"was": arguments.was, "value": arguments.value},
    )
