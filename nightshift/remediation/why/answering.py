"""The cases in their order: the first that holds is the answer.

A new case is one function in the module of its subject and one line here.
"""

from __future__ import annotations

from collections.abc import Callable

from nightshift.remediation.why import around, arrival, covering, ended, in_progress
from nightshift.remediation.why.explanation import Answer, Change, Explanation
from nightshift.remediation.why.facts import Facts

Case = Callable[[Facts], Answer | None]

CASES: tuple[Case, ...] = (
    # It came to no incident.
    arrival.refused_at_the_door,
    arrival.never_received,
    arrival.waits_for_intake,
    arrival.resolved_before_seen,
    arrival.noted,
    # Nothing of its own is to be done.
    around.effect_of_a_cause,
    covering.no_flow,
    around.held_by_a_person,
    around.within_the_cool_down,
    # In progress.
    in_progress.not_sent_yet,
    in_progress.sent_and_not_taken,
    in_progress.waits_for_another_repair,
    in_progress.at_work,
    in_progress.waits_for_approval,
    # Ended.
    ended.dry_run,
    ended.denied,
    ended.not_answered,
    ended.refused_by_guard,
    ended.outcome_is_not_known,
    ended.did_not_help,
    ended.attempts_used_up,
    ended.could_not_look,
    ended.nothing_allowed,
    ended.handed_over,
    ended.nothing_to_do,
    ended.repaired,
)


def explain(facts: Facts) -> Explanation:
    """Why it stands as it does, and what would change that.

    Raises:
        LookupError: no case holds, which the constraints of the ledger's tables exclude.
    """
    answer = next((answer for case in CASES if (answer := case(facts)) is not None), None)
    if answer is None:
        raise LookupError("no case holds for these facts")
    changes: dict[Change, None] = dict.fromkeys(answer.changes)
    return Explanation(answer, around.story(facts), around.also(facts), around.told(facts), tuple(changes))
