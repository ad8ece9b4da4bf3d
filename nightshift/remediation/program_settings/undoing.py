"""The opposite of a changed setting: pure. By its time or by hand, never since it "did not help"."""

from __future__ import annotations

from nightshift.remediation.actions import Effect
from nightshift.remediation.kubernetes.undoing import opposite_of
from nightshift.remediation.models import Action
from nightshift.remediation.program_settings.arguments import UpdateSetting


def setting_back(action: Action, _effect: Effect | None) -> Action:
    """The value from before, which is the only one allowed."""
    done = UpdateSetting.from_json(action.arguments)
    among = () if done.was is None else (done.was,)
    back = done.model_copy(update={"was": done.value, "value": done.was, "among": among, "back_at": None})
    return opposite_of(action, back, f"Set {done.key} back", "As the diagnosis saw it.")
