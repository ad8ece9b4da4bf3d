"""A plan on the terminal: what would be done, why, at which risk, at most how much, and how it is undone."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from nightshift.gateway.cli.texts import from_markdown
from nightshift.remediation.alternatives import alternatives_of
from nightshift.remediation.models import Action, Plan, Risk
from nightshift.remediation.report import undo_in_words
from nightshift.remediation.symptom import in_words

_RISK_STYLES = {Risk.LOW: "green", Risk.MEDIUM: "yellow", Risk.HIGH: "bold red"}


def plan_view(plan: Plan) -> Iterator[RenderableType]:
    """The plan, part by part."""
    yield Text.assemble(("Goal  ", "bold"), from_markdown(plan.goal))
    yield Text.assemble(("Plan  ", "bold"), (plan.digest[:12], "dim"))
    if plan.actions:
        yield _actions(plan)
    else:
        yield Text("No action: there is nothing that Nightshift may do here.", style="yellow")
    if plan.expected:
        yield Text.assemble(("Expected  ", "bold"), from_markdown(plan.expected))
    if plan.symptom and plan.actions:
        yield Text.assemble(("Solved when  ", "bold"), from_markdown(in_words(plan.symptom)))
    for refusal in plan.refusals:
        lifted = f" ({refusal.lifted_by})" if refusal.lifted_by else ""
        yield Text.assemble(("Not done  ", "bold"), from_markdown(f"{refusal.what}: {refusal.reason}{lifted}"))
    for number, alternative in enumerate(alternatives_of(plan), 1):
        yield Text.assemble((f"Or {number}  ", "bold"), from_markdown(alternative.title))
    for proposal in plan.proposals:
        yield Text.assemble(("For people  ", "bold"), from_markdown(proposal.title))


def _people(action: Action) -> str:
    return f", {action.approvals} people" if action.approvals > 1 else ""


def _actions(plan: Plan) -> Table:
    table = Table(show_lines=True, header_style="bold")
    table.add_column("#", justify="right")
    table.add_column("Action", ratio=3, overflow="fold")
    table.add_column("Why", ratio=3, overflow="fold")
    table.add_column("Affects", ratio=2, overflow="fold")
    table.add_column("Risk")
    table.add_column("At most", justify="right")
    table.add_column("Undo", ratio=2, overflow="fold")
    for number, action in enumerate(plan.actions, 1):
        table.add_row(
            Text(str(number)),
            from_markdown(action.title),
            from_markdown(action.reason),
            from_markdown(str(action.impact or "")),
            Text(f"{action.risk.value}{_people(action)}", style=_RISK_STYLES[action.risk]),
            from_markdown(str(action.bound)),
            from_markdown(undo_in_words(action)),
        )
    return table
