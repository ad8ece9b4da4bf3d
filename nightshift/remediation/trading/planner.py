"""What may be done about a broken trading limit: at most new entries are paused. Pure.

Follows cryptofunk.PositionLimitExceeded and cryptofunk.MaxDrawdownExceeded of the inventory. Their other steps move
money (r1.1), loosen a limit (r2.1) or resume trading after a loss (MaxDrawdownExceeded.r1.1): those are proposed with
their numbers, and decided by people, in any mode.
"""

from __future__ import annotations

from collections.abc import Iterator

from nightshift.remediation.actions import CANNOT_BE_UNDONE
from nightshift.remediation.inventory import proposes, serves
from nightshift.remediation.models import Action, Plan, Proposal, Quantity, Refusal, Risk, Target
from nightshift.remediation.text import counted, printable
from nightshift.remediation.trading.arguments import PauseEntries
from nightshift.remediation.trading.facts import Position, TradingDiagnosis
from nightshift.remediation.trading.policy import TradingRiskPolicy

NOTHING_TO_DO = "Nothing to do: exposure and drawdown are below their limits."
ONE_SYMBOL = 0.7
"""Share of the losses from which on they are one symbol's and not the market's."""
_ONE = Quantity(amount=1, unit="portfolios")
_MOST = 5


def plan_trading(target: Target, diagnosis: TradingDiagnosis, policy: TradingRiskPolicy) -> Plan:
    """What is done, and what people have to decide."""
    wrong = tuple(breaches(diagnosis, policy))
    if not wrong:
        return Plan(goal=NOTHING_TO_DO, target=target)
    why = "; ".join(wrong)
    goal = f"Have nothing made worse until a person decided about {printable(diagnosis.portfolio)}"
    actions = tuple(_pause(target, diagnosis, policy, why)) if _must_pause(diagnosis, policy) else ()
    refusals = tuple(_refusals(diagnosis, policy))
    proposals = tuple(_proposals(diagnosis, policy))
    expected = "No new position is opened; the open ones are as they were."
    return Plan(goal=goal, target=target, actions=actions, refusals=refusals, proposals=proposals, expected=expected)


@serves("cryptofunk.PositionLimitExceeded: d2")
def breaches(diagnosis: TradingDiagnosis, policy: TradingRiskPolicy) -> Iterator[str]:
    """The limits that are broken now, in words and numbers; they come from the configuration, not from a log."""
    if diagnosis.largest > policy.largest_position:
        yield f"the largest position is {money(diagnosis.largest)}, above {money(policy.largest_position)}"
    if diagnosis.exposure > policy.exposure:
        yield f"the exposure is {money(diagnosis.exposure)}, above {money(policy.exposure)}"
    session = diagnosis.session
    if session is not None and session.drawdown_percent > policy.drawdown_percent:
        yield f"the drawdown is {session.drawdown_percent:.1f} %, above {policy.drawdown_percent:g} %"


def money(amount: float) -> str:
    """An amount for people."""
    return f"{amount:,.2f}"


@serves("cryptofunk.MaxDrawdownExceeded: d5")
def one_symbol(diagnosis: TradingDiagnosis) -> str | None:
    """The symbol that lost nearly all of it; None: the losses are spread, as when the whole market moves."""
    whole = sum(loss.amount for loss in diagnosis.losses)
    worst = max(diagnosis.losses, key=lambda loss: loss.amount, default=None)
    return worst.symbol if worst is not None and whole > 0 and worst.amount >= ONE_SYMBOL * whole else None


def _must_pause(diagnosis: TradingDiagnosis, policy: TradingRiskPolicy) -> bool:
    """A drawdown always, a position only when the limit was broken repeatedly; never what is paused already."""
    if policy.pause is None or diagnosis.paused is not False:
        return False
    session = diagnosis.session
    drawn = session is not None and session.drawdown_percent > policy.drawdown_percent
    return drawn or diagnosis.above_limit >= policy.repeated


@serves("cryptofunk.MaxDrawdownExceeded: r2.1")
def _pause(target: Target, diagnosis: TradingDiagnosis, policy: TradingRiskPolicy, why: str) -> Iterator[Action]:
    assert policy.pause is not None  # noqa: S101 - asked before
    yield Action(
        kind=PauseEntries.KIND,
        target=target,
        arguments=PauseEntries(rule=policy.pause).to_json(),
        items=(diagnosis.portfolio,),
        title=f"Pause new entries of {printable(diagnosis.portfolio)}",
        reason=why,
        risk=Risk.LOW,
        bound=_ONE,
        undo=f"{CANNOT_BE_UNDONE} by Nightshift: resuming is for a person",
    )


def _refusals(diagnosis: TradingDiagnosis, policy: TradingRiskPolicy) -> Iterator[Refusal]:
    what = "Pausing new entries"
    if policy.pause is None:
        yield Refusal(what=what, reason="no way to do it is declared", lifted_by="pause in the policy")
    elif diagnosis.paused is None:
        reason = f"whether they are paused is not known: {printable(diagnosis.pause_complaint)}"
        yield Refusal(what=what, reason=reason, lifted_by="an API that answers; until then pause them by hand")


@proposes("cryptofunk.PositionLimitExceeded: d3 r2.1")
def _proposals(diagnosis: TradingDiagnosis, policy: TradingRiskPolicy) -> Iterator[Proposal]:
    yield from (_reduction(position, policy) for position in _too_large(diagnosis, policy)[:_MOST])
    over = diagnosis.exposure - policy.exposure
    if over > 0:
        yield Proposal(
            title=f"Reduce the exposure by {money(over)}",
            detail="; ".join(_in_words(position) for position in diagnosis.positions[:_MOST]),
            reason="a market order moves money, so that only a person gives it",
        )
    if diagnosis.above_limit:
        positions = counted(diagnosis.above_limit, "position")
        yield Proposal(
            title="Find out why the risk agent let them be opened, or whether the limit is still right",
            detail=f"{positions} above {money(policy.largest_position)} opened in the window",
            reason="a limit is raised by who answers for the risk, never to silence an alert",
        )
    yield from _after_a_loss(diagnosis, policy)


@proposes("cryptofunk.MaxDrawdownExceeded: r1.1 r3.1")
def _after_a_loss(diagnosis: TradingDiagnosis, policy: TradingRiskPolicy) -> Iterator[Proposal]:
    session = diagnosis.session
    if session is None or session.drawdown_percent <= policy.drawdown_percent:
        return
    worst = "; ".join(
        f"{printable(loss.symbol, 40)}: {money(loss.amount)} in {counted(loss.trades, 'trade')}"
        for loss in diagnosis.losses[:_MOST]
    )
    symbol = one_symbol(diagnosis)
    if symbol is not None:
        title = f"Pause the strategy that trades {printable(symbol, 40)}, and look at its parameters"
        yield Proposal(title=title, detail=worst, reason="nearly all of the loss is this symbol's")
    else:
        yield Proposal(
            title="Keep trading paused until the market calmed down",
            detail=worst,
            reason="the loss is spread over symbols, as when the whole market moves",
        )
    yield Proposal(
        title="Decide when trading is resumed",
        reason="it was stopped by a loss limit, and no new loss may follow; nothing resumes by itself",
    )


def _too_large(diagnosis: TradingDiagnosis, policy: TradingRiskPolicy) -> list[Position]:
    return [position for position in diagnosis.positions if position.size > policy.largest_position]


@proposes("cryptofunk.PositionLimitExceeded: r1.1")
def _reduction(position: Position, policy: TradingRiskPolicy) -> Proposal:
    over = (position.size - policy.largest_position) / position.price if position.price else 0.0
    return Proposal(
        title=f"Reduce {printable(position.symbol, 40)} by {over:,.6g} of {position.quantity:,.6g}",
        detail=_in_words(position),
        reason=f"then it is at its limit of {money(policy.largest_position)}; a market order moves money, "
        "so that only a person gives it",
    )


def _in_words(position: Position) -> str:
    name, side = printable(position.symbol, 40), printable(position.side, 20)
    return f"{name} {side}: {money(position.size)}, unrealized {money(position.unrealized)}"
