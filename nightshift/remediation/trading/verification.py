"""Is the breach over, and is nothing made worse meanwhile? Judged from looks over the watch time."""

from __future__ import annotations

from collections.abc import Sequence

from nightshift.remediation.inventory import serves
from nightshift.remediation.models import Verdict
from nightshift.remediation.trading.facts import TradingDiagnosis
from nightshift.remediation.trading.planner import breaches, money
from nightshift.remediation.trading.policy import TradingRiskPolicy


def in_words(diagnosis: TradingDiagnosis) -> str:
    """The portfolio as a line for people."""
    state = {True: "new entries paused", False: "new entries allowed", None: "pause not known"}[diagnosis.paused]
    session = diagnosis.session
    drawn = f", drawdown {session.drawdown_percent:.1f} %" if session is not None else ""
    return f"exposure {money(diagnosis.exposure)}, largest position {money(diagnosis.largest)}{drawn}, {state}"


@serves("cryptofunk.PositionLimitExceeded: v1")
def judge_trading(looks: Sequence[TradingDiagnosis], policy: TradingRiskPolicy) -> Verdict:
    """Healthy only when nothing is above its limit in any look; a pause alone is handed to a person.

    Follows cryptofunk.PositionLimitExceeded.v1 and MaxDrawdownExceeded.v1 of the inventory.

    Args:
        looks: after the pause, in their order.
        policy: the limits.
    """
    if not looks:
        return Verdict(healthy=False, inconclusive=True, reason="The portfolio was not looked at after the pause.")
    last, wrong = looks[-1], next((found for look in looks if (found := tuple(breaches(look, policy)))), ())
    if not wrong:
        return Verdict(healthy=True, reason=f"Below all limits: {in_words(last)}.")
    if last.paused is not True:
        return Verdict(healthy=False, reason=f"New entries are not paused, and {'; '.join(wrong)}.")
    entered = last.opened_last is not None and last.opened_last > (looks[0].opened_last or 0)
    if entered:
        return Verdict(
            healthy=False, reason=f"Positions are opened although entries are paused, and {'; '.join(wrong)}."
        )
    reason = f"New entries are paused and none was made; the rest is a person's decision: {'; '.join(wrong)}."
    return Verdict(healthy=False, reason=reason)
