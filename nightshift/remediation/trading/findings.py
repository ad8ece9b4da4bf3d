"""What the diagnosis says, for people who have to decide."""

from __future__ import annotations

from collections.abc import Iterator

from nightshift.remediation.models import Finding
from nightshift.remediation.text import counted, printable
from nightshift.remediation.trading.facts import TradingDiagnosis
from nightshift.remediation.trading.planner import breaches, money
from nightshift.remediation.trading.policy import TradingRiskPolicy
from nightshift.remediation.trading.verification import in_words

_MOST = 20


def findings_of(diagnosis: TradingDiagnosis, policy: TradingRiskPolicy) -> tuple[Finding, ...]:
    """Most telling first."""
    return tuple(_findings(diagnosis, policy))


def _findings(diagnosis: TradingDiagnosis, policy: TradingRiskPolicy) -> Iterator[Finding]:
    yield from (Finding(title=words[0].upper() + words[1:], troubling=True) for words in breaches(diagnosis, policy))
    yield Finding(title=in_words(diagnosis)[0].upper() + in_words(diagnosis)[1:])
    if diagnosis.session is not None:
        session = diagnosis.session
        detail = f"profit and loss {money(session.pnl)}, return {session.roi_percent:.1f} %"
        yield Finding(title=f"Session {printable(session.id, 60)}", detail=detail)


def evidence_markdown(diagnosis: TradingDiagnosis) -> str:
    """Positions, losses and the worst trades as tables, and what agents said about positions above their limit."""
    lines = ["| Open position | Side | Size | Unrealized |", "|---|---|---|---|"]
    lines += [
        f"| {printable(one.symbol, 40)} | {printable(one.side, 20)} | {money(one.size)} | {money(one.unrealized)} |"
        for one in diagnosis.positions[:_MOST]
    ]
    lines += ["", "| Lost with | Trades | Amount |", "|---|---|---|"]
    lines += [
        f"| {printable(loss.symbol, 40)} | {counted(loss.trades, 'trade')} | {money(loss.amount)} |"
        for loss in diagnosis.losses
    ]
    lines += ["", "| Worst closed trade | Side | Quantity | In at | Out at | Lost |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {printable(one.symbol, 40)} | {printable(one.side, 20)} | {one.quantity:g} | {money(one.entry_price)} | "
        f"{money(one.exit_price) if one.exit_price is not None else 'not told'} | {money(one.loss)} |"
        for one in diagnosis.worst_trades
    ]
    lines += [""] + [
        f"- {printable(one.agent, 60)} on {printable(one.symbol, 40)}: {printable(one.signal, 20)}, "
        f"{printable(one.reasoning, 300)}"
        for one in diagnosis.signals
    ]
    return "\n".join(lines)
