"""The approval form in the Prefect UI, and how a waiting flow run comes by its answer."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.input.actions import read_flow_run_input
from prefect.input.run_input import keyset_from_base_key
from pydantic import ConfigDict, Field

from nightshift.remediation.decisions import Identity, Vouched
from nightshift.remediation.identity import Identification
from nightshift.remediation.models import Plan
from nightshift.remediation.report import render_plan

PREFECT_TIMEOUT_SECONDS = 400 * 86400
"""Expiry is the ledger's: Prefect would mark a timed-out suspension Failed without running any of our code."""
FORM_VIA = "Prefect form"
TYPED_VIA = f"{FORM_VIA}, name as typed"


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
    code: str = Field(
        default="",
        description=(
            "Six digits from your authenticator app (`nightshift people code` sets it up). Each one counts once. "
            "Leave it empty only while nobody is enrolled."
        ),
        pattern=r"^\s*(\d{3} ?\d{3})?\s*$",
    )
    alternative: str = Field(
        default="",
        description="Number of the alternative that you approve instead. Empty: the plan itself.",
        pattern=r"^\s*[1-9]?\s*$",
    )
    comment: str = Field(default="", description="Why, for the record.", max_length=1000)


def suspend_for(plan: Plan, *, key: str, headline: str, news: Sequence[str], silence: str) -> None:
    """Suspend this flow run until somebody answers; returns only when the form of this key was answered already.

    Args:
        plan: what is asked about.
        key: of the form; a form that was answered is never shown again.
        headline: what it is about.
        news: what became of earlier answers, in Markdown.
        silence: what becomes of it without an answer, and when.
    """
    said = "".join(f"**{line}**\n\n" for line in news)
    text = (
        f"### {headline[:1].upper()}{headline[1:]}\n\n{said}{render_plan(plan)}\n\n"
        f"**{silence}** Before anything is done, the target is looked at "
        f"again. Plan `{plan.digest[:12]}`."
    )
    suspend_flow_run(
        wait_for_input=ApprovalForm.with_initial_data(description=text),
        key=key,
        timeout=PREFECT_TIMEOUT_SECONDS,
    )


def answer_in_form(flow_run_id: UUID, key: str) -> ApprovalForm | None:
    """What was entered in the form of this key; None when nobody has answered it."""
    response = keyset_from_base_key(f"suspended-{key}")["response"]
    value = read_flow_run_input(key=response, flow_run_id=flow_run_id)
    return None if value is None else ApprovalForm.model_validate(value)


def identified(form: ApprovalForm, identification: Identification) -> Identity:
    """Who answered: the person whose code it is, or, without one, a name that nobody vouches for.

    Raises:
        NotIdentifiedError: name and code do not belong together, or there were too many failures.
        ConfigurationError: no codes can be checked here.
    """
    if form.code:
        return identification.by_code(form.name, form.code, FORM_VIA)
    return Identity(form.name, TYPED_VIA, Vouched.TYPED)
