"""Indexes of a PostgreSQL server: rebuilt, swapped and cleaned up, with what makes that safe to run unattended."""

from __future__ import annotations

from nightshift.remediation.actions import Connections, Effect, Observation
from nightshift.remediation.clients import indexes
from nightshift.remediation.databases.indexes import ONE, DropInvalidIndex, OnIndex, ReindexIndex, SwapIndex
from nightshift.remediation.errors import TargetChangedError
from nightshift.remediation.models import Action
from nightshift.remediation.privileges import Lack
from nightshift.remediation.text import printable
from nightshift.tasks.database_session_actions import session_of
from nightshift.tasks.steps import action

BUILD_SECONDS = 1800.0
"""A build that takes longer is cancelled, and what it leaves is removed."""
TIMEOUT_SECONDS = BUILD_SECONDS + 180
DROP_SECONDS = 60.0


def _arguments(action: Action) -> OnIndex:
    kinds = {kind.KIND: kind for kind in (ReindexIndex, SwapIndex, DropInvalidIndex)}
    return kinds[action.kind].from_json(action.arguments)


def _unchanged(action: Action, connections: Connections) -> None:
    arguments = _arguments(action)
    with session_of(action, connections) as session:
        if isinstance(arguments, SwapIndex) and indexes.parked_beside(session, arguments) is not None:
            return  # cut off when only the old one had to go
        state = indexes.check(session, arguments)
    if action.kind == DropInvalidIndex.KIND and state.valid:
        raise TargetChangedError("The index is valid by now.")


def _is_mine(action: Action, connections: Connections) -> list[Lack]:
    arguments = _arguments(action)
    with session_of(action, connections) as session:
        state = indexes.index_state(session, arguments.index_schema, arguments.index)
        may_create, account = indexes.may_create_in(session, arguments.index_schema)
    lacks = []
    if state is not None and not state.mine:
        grant = f"make {printable(account, 63)} a member of the role that owns it"
        lacks.append(Lack(what=f"change the index {state.label}", grant=grant))
    if not may_create and action.kind != DropInvalidIndex.KIND:
        schema = printable(arguments.index_schema, 63)
        grant = f"grant create on schema {schema} to {printable(account, 63)};"
        lacks.append(Lack(what=f"make an index in {schema}", grant=grant))
    return lacks


def _is_another(action: Action, connections: Connections) -> Observation:
    """A rebuilt index has another oid under its name; half a build has left the old one in place."""
    arguments = _arguments(action)
    with session_of(action, connections) as session:
        now = indexes.index_state(session, arguments.index_schema, arguments.index)
        parked = indexes.parked_beside(session, arguments) if isinstance(arguments, SwapIndex) else None
    if now is None:
        return Observation.UNKNOWN
    if parked is not None:
        return Observation.NOT_DONE
    return Observation.DONE if now.valid and now.oid != arguments.oid else Observation.NOT_DONE


def _is_gone(action: Action, connections: Connections) -> Observation:
    arguments = _arguments(action)
    with session_of(action, connections) as session:
        now = indexes.index_state(session, arguments.index_schema, arguments.index)
    return Observation.NOT_DONE if now is not None and now.oid == arguments.oid else Observation.DONE


@action(
    kind=ReindexIndex.KIND,
    name="rebuild an index",
    timeout=TIMEOUT_SECONDS,
    precondition=_unchanged,
    observe=_is_another,
    permitted=_is_mine,
    undo=None,
)
def reindex_index(action: Action, connections: Connections) -> Effect:
    """``postgres.reindex``: cryptofunk.VectorSearchHighLatency.r2.1, VectorSearchCriticalErrorRate.r2.1."""
    arguments = ReindexIndex.from_json(action.arguments)
    with session_of(action, connections) as session:
        indexes.reindex(session, arguments, BUILD_SECONDS)
    return Effect(summary=f"{printable(arguments.index, 63)} was rebuilt and is valid", amount=ONE)


@action(
    kind=SwapIndex.KIND,
    name="put another index in the place of one",
    timeout=TIMEOUT_SECONDS,
    precondition=_unchanged,
    observe=_is_another,
    permitted=_is_mine,
    undo=None,
)
def swap_vector_index(action: Action, connections: Connections) -> Effect:
    """``postgres.rebuild_vector_index``: cryptofunk.VectorSearchHighLatency.r4.1, without a moment without an index."""
    arguments = SwapIndex.from_json(action.arguments)
    with session_of(action, connections) as session:
        indexes.swap(session, arguments, BUILD_SECONDS)
    return Effect(summary=f"{printable(arguments.index, 63)} has {arguments.lists} lists now", amount=ONE)


@action(
    kind=DropInvalidIndex.KIND,
    name="drop an invalid index",
    timeout=DROP_SECONDS,
    precondition=_unchanged,
    observe=_is_gone,
    permitted=_is_mine,
    undo=None,
)
def drop_invalid_index(action: Action, connections: Connections) -> Effect:
    """What a failed ``REINDEX CONCURRENTLY`` leaves: the hazard of cryptofunk.VectorSearchHighLatency.r2.1."""
    arguments = DropInvalidIndex.from_json(action.arguments)
    with session_of(action, connections) as session:
        indexes.drop(session, arguments)
    return Effect(summary=f"{printable(arguments.index, 63)} is gone", amount=ONE)
