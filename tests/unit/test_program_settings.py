"""Which settings may be changed, how far, and how their file looks afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nightshift.remediation.clients.host_probe.script import settings
from nightshift.remediation.kubernetes.configuring import UpdateConfigMap
from nightshift.remediation.models import Target
from nightshift.remediation.program_settings.arguments import UpdateSetting
from nightshift.remediation.program_settings.places import AdjustableNumber, FeatureFlag, SettingInFile
from nightshift.remediation.program_settings.planning import Change, SettingSeen, new_number, switched, way_back
from nightshift.remediation.program_settings.undoing import setting_back

PLACE = {"type": "file", "host": "web1", "file": "/opt/x/.env", "key": "RATE"}
TARGET = Target(system="shop", path=("provider", "llm"))


def number(**changes: Any) -> AdjustableNumber:
    known = {"setting": PLACE, "floor": 1, "ceiling": 20, "factor": 0.5, "back_after": "1h"}
    return AdjustableNumber.model_validate({**known, **changes})


@pytest.mark.parametrize("key", ["DEEPSEEK_API_KEY", "db_password", "TOKEN", "SLACK_WEBHOOK_URL", "MY_SECRET"])
def test_what_looks_like_a_secret_is_no_setting(key: str) -> None:
    with pytest.raises(ValidationError, match="looks like a secret"):
        SettingInFile.model_validate({**PLACE, "key": key})


@pytest.mark.parametrize(
    ("now", "becomes"),
    [("8", "4"), ("3", "1"), ("1", None), ("0", None), ("40", None), ("fast", None), (None, None), ("7.5", "3.75")],
)
def test_a_number_stays_within_its_bounds_and_outside_of_them_it_is_left_alone(
    now: str | None, becomes: str | None
) -> None:
    assert new_number(number(), SettingSeen(value=now)) == becomes


@given(st.integers(0, 10_000), st.integers(0, 100), st.integers(1, 10_000), st.floats(0.01, 9))
def test_whatever_the_number_it_never_leaves_its_bounds(now: int, floor: int, more: int, factor: float) -> None:
    rule = number(floor=floor, ceiling=floor + more, factor=factor)

    wanted = new_number(rule, SettingSeen(value=str(now)))

    assert wanted is None or floor <= float(wanted) <= floor + more


def test_a_change_says_its_way_back_and_the_undo_allows_only_the_value_from_before() -> None:
    flag = FeatureFlag.model_validate({"setting": PLACE, "to": "on", "usually": "off", "back_after": "4h"})
    change = Change(value="on", title="On", reason="it is out", back_at=way_back(0, flag.back_after))

    action = switched(TARGET, flag, SettingSeen(value="off"), change)
    back = setting_back(action, None)

    assert action.target.path == ("provider", "llm", "host", "web1")
    assert "back to off by itself at 1970-01-01 04:00 UTC" in action.undo
    arguments = UpdateSetting.from_json(back.arguments)
    assert (arguments.was, arguments.value, arguments.among, arguments.back_at) == ("on", "off", ("off",), None)


def test_a_flag_in_a_config_map_is_the_same_change_with_the_same_way_back() -> None:
    place = {"type": "configmap", "cluster": "main", "namespace": "shop", "config_map": "flags", "key": "FALLBACK"}
    flag = FeatureFlag.model_validate({"setting": place, "to": "on", "usually": "off", "back_after": "4h"})
    change = Change(value="on", title="On", reason="it is out", back_at=way_back(0, flag.back_after))

    action = switched(TARGET, flag, SettingSeen(value="off", uid="u1"), change)

    arguments = UpdateConfigMap.from_json(action.arguments)
    assert (arguments.uid, arguments.was, arguments.value, arguments.back_at) == ("u1", "off", "on", 14400)


@pytest.mark.parametrize("value", ["30", "0", "fast", "1e3", "-1"])
def test_no_plan_can_carry_a_value_outside_of_its_bounds(value: str) -> None:
    with pytest.raises(ValidationError):
        UpdateSetting(file="/opt/x/.env", key="RATE", was="8", value=value, floor=1, ceiling=20)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"A=1\nRATE=8\nB=2\n", b"A=1\nRATE=4\nB=2\n"),
        (b"RATE=7\nRATE=8 # a second\n", b"RATE=7\nRATE=4 # a second\n"),
        (b"export RATE='8'\r\nB=2\r\n", b"export RATE='4'\r\nB=2\r\n"),
        (b'  RATE = "8" # "x"\n', b'  RATE = "4" # "x"\n'),
        (b"# RATE=8\nB=2", b"# RATE=8\nB=2\nRATE=4\n"),
        (b"XRATE=8\n", b"XRATE=8\nRATE=4\n"),
        (b"", b"RATE=4\n"),
    ],
)
def test_only_the_line_of_the_key_changes(before: bytes, after: bytes) -> None:
    assert settings._changed(before, "RATE", "4") == after


@given(
    st.lists(
        st.sampled_from([b"A=1", b"RATE=8 # x", b"export RATE='8'", b'RATE="8"', b"# x", b"", b"\xff=1", b"RATE=8\r"])
    ),
    st.sampled_from(["4", "on", "0.5"]),
)
def test_there_and_back_leaves_every_byte_as_it_was(lines: list[bytes], value: str) -> None:
    before = b"\n".join([*lines, b"RATE=8"])

    there = settings._changed(before, "RATE", value)

    assert settings._value(there, "RATE") == value
    assert settings._changed(there, "RATE", "8") == before


@given(st.lists(st.sampled_from([b"A=1", b"RATE=8", b"# x", b"", b'export Q="a b"', b"\xff=1"])))
def test_a_key_that_was_not_there_goes_again_and_nothing_else_does(lines: list[bytes]) -> None:
    before = b"\n".join(line for line in lines if b"RATE" not in line)
    after = settings._changed(settings._changed(before, "RATE", "4"), "RATE", None)

    assert settings._value(after, "RATE") is None
    assert after.rstrip(b"\n") == before.rstrip(b"\n")


@pytest.mark.parametrize(
    ("line", "value"),
    [(b"RATE=8 # a second", "8"), (b'RATE="8"', "8"), (b"RATE='a # b'", "a # b"), (b"RATE=", ""), (b"#RATE=8", None)],
)
def test_a_value_is_read_as_programs_read_it(line: bytes, value: str | None) -> None:
    assert settings._value(line, "RATE") == value
