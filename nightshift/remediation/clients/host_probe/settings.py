"""One setting in a file on a host: as it is, and changed where nobody changed it since."""

from __future__ import annotations

from typing import Any

from nightshift.remediation.clients.host import Host
from nightshift.remediation.clients.host_probe.asking import ask
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.program_settings.arguments import UpdateSetting
from nightshift.remediation.program_settings.places import SettingInFile
from nightshift.remediation.program_settings.planning import SettingSeen
from nightshift.remediation.text import printable

LOOKING_SECONDS = 15.0
CHANGING_SECONDS = 60.0
"""A service that is restarted may take so long to end and to start."""


def read_setting(host: Host, place: SettingInFile | UpdateSetting) -> SettingSeen:
    """A setting as it is in its file.

    Raises:
        TargetChangedError: there is no such file, or the value is no plain word or number.
        NightshiftError: as :func:`ask`.
    """
    service = place.service.model_dump(mode="json") if place.service else None
    asked: dict[str, Any] = {"file": place.file, "key": place.key, "service": service}
    answer = ask(host, f"read {place.key}", "setting", seconds=LOOKING_SECONDS, **asked)
    return SettingSeen(value=answer["value"], in_effect=answer["in_effect"])


def check_setting(host: Host, arguments: UpdateSetting) -> None:
    """Raises TargetChangedError when it has another value than was seen; its new one may be there already."""
    now = read_setting(host, arguments)
    if now.value not in (arguments.was, arguments.value):
        shown = "not there" if now.value is None else printable(now.value, 64)
        raise TargetChangedError(f"{arguments.key} is {shown} by now; somebody else has changed it.")


def update_setting(host: Host, arguments: UpdateSetting) -> bool:
    """Change it, and let its service read it; whether the file had to be changed.

    Raises:
        TargetChangedError: somebody else changed it meanwhile.
        CommandFailedError: the service did not take it; the file is changed then.
        NightshiftError: as :func:`ask`.
    """
    wanted = arguments.to_json()
    asked = {name: wanted[name] for name in ("file", "key", "service", "was", "value")}
    what = f"set {arguments.key}"
    return bool(ask(host, what, UpdateSetting.KIND, seconds=CHANGING_SECONDS, **asked)["changed"])
