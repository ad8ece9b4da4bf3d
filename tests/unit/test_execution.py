from __future__ import annotations

import pytest

from nightshift.remediation.actions import CANNOT_BE_UNDONE
from nightshift.remediation.execution import ActionResult, Execution, Status
from nightshift.remediation.models import Action, Quantity, Risk, Target

ACTION = Action(
    kind="delete_files",
    target=Target(system="shop", path=("host", "web1")),
    title="delete",
    arguments={},
    bound=Quantity(amount=1, unit="bytes"),
    risk=Risk.LOW,
    undo=CANNOT_BE_UNDONE,
    reason="old",
)


@pytest.mark.parametrize(
    ("became", "needless"),
    [
        ([], False),
        ([Status.NOT_NEEDED], True),
        ([Status.NOT_NEEDED, Status.NOT_NEEDED], True),
        ([Status.NOT_NEEDED, Status.REFUSED], False),
        ([Status.FAILED], False),
    ],
)
def test_it_was_needless_only_if_no_action_was_needed(became: list[Status], needless: bool) -> None:
    assert Execution([ActionResult(ACTION, status) for status in became]).needless is needless
