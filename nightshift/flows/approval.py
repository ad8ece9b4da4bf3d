"""The approval form in the Prefect UI, and how a waiting flow run comes by its answer."""

from __future__ import annotations

from uuid import UUID

from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.input.actions import read_flow_run_input
from prefect.input.run_input import keyset_from_base_key
from pydantic import ConfigDict, Field

from nightshift.remediation.ledger.approvals import ANSWERED_IN_LEDGER, Decision
from nightshift.remediation.models import Plan
from nightshift.remediation.report import render_plan

PREFECT_TIMEOUT_SECONDS = 400 * 86400
"""Expiry is the ledger's: Prefect would mark a timed-out suspension Failed without running any of our code."""
FORM_VIA = "Prefect form, name as typed"


class ApprovalForm(RunInput):
    """Approve or deny the plan above."""

    model_config = ConfigDict(str_strip_whitespace=True)

    # A word to type: a click on a dropdown of Prefect's form opens and closes it at once (3.8.8), and a switch would
    # have a default. The server checks the patterns before the run goes on.
    decision: str = Field(
        description="Type **approve** to have exactly this plan carried out, or **deny**.",
        pattern=r"^\s*(approve|deny)\s*$",
    )
    name: str = Field(description="Who you are, for the record.", pattern=r"\S", max_length=100)
    comment: str = Field(default="", description="Why, for the record.", max_length=1000)


def suspend_for(plan: Plan, *, headline: str, expires: str) -> None:
    """Suspend this flow run until the plan is decided; returns only when it was decided already."""
    text = (
        f"### {headline[:1].upper()}{headline[1:]}\n\n{render_plan(plan)}\n\n"
        f"Without an answer by **{expires}** it counts as denied. Before anything is done, the target is looked at "
        f"again. Plan `{plan.digest[:12]}`."
    )
    suspend_flow_run(
        wait_for_input=ApprovalForm.with_initial_data(description=text),
        key=plan.digest,
        timeout=PREFECT_TIMEOUT_SECONDS,
    )


def answer_in_form(flow_run_id: UUID, digest: str) -> Decision | None:
    """What a person entered in the form of this plan; None when nobody did, or the ledger has the answer."""
    key = keyset_from_base_key(f"suspended-{digest}")["response"]
    value = read_flow_run_input(key=key, flow_run_id=flow_run_id)
    if value is None:
        return None
    form = ApprovalForm.model_validate(value)
    if form.name == ANSWERED_IN_LEDGER:
        return None
    return Decision(form.name, FORM_VIA, form.decision == "approve", form.comment)
