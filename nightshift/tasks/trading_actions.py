"""Pausing new entries: the one change to trading that is safe, with what makes it so."""

from __future__ import annotations

from collections.abc import Sequence

from nightshift.remediation.actions import Connections, Effect, Observation
from nightshift.remediation.clients import trading_api
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.errors import ConfigurationError, OutcomeUnknownError, TargetChangedError
from nightshift.remediation.models import Action, Quantity
from nightshift.remediation.privileges import Lack
from nightshift.remediation.trading.arguments import PauseEntries
from nightshift.remediation.trading.policy import PauseRule
from nightshift.tasks.steps import action


def _declared(action: Action, connections: Connections) -> tuple[HttpConnection, PauseRule]:
    rule = PauseEntries.from_json(action.arguments).rule
    connection = connections.get(rule.api)
    if not isinstance(connection, HttpConnection):
        raise ConfigurationError(f"There is no connection {rule.api!r} in the catalogue any more.")
    return connection, rule


def _is_not_paused(action: Action, connections: Connections) -> None:
    if trading_api.is_paused(*_declared(action, connections)):
        raise TargetChangedError("New entries are paused already.")


def _is_paused(action: Action, connections: Connections) -> Observation:
    """Pausing again does nothing, so what is not paused may be paused."""
    return Observation.DONE if trading_api.is_paused(*_declared(action, connections)) else Observation.NOT_DONE


def _lacks(action: Action, connections: Connections) -> Sequence[Lack]:
    """A token that is refused shows when the state is asked for; what else it may do shows only by pausing."""
    trading_api.is_paused(*_declared(action, connections))
    return ()


@action(
    kind=PauseEntries.KIND,
    name="pause new entries",
    timeout=60.0,
    precondition=_is_not_paused,
    observe=_is_paused,
    permitted=_lacks,
    undo=None,
)
def pause_entries(action: Action, connections: Connections) -> Effect:
    """Operation ``trading.pause``: cryptofunk.MaxDrawdownExceeded.r2.1, told by the state afterwards."""
    connection, rule = _declared(action, connections)
    trading_api.pause(connection, rule)
    if not trading_api.is_paused(connection, rule):
        raise OutcomeUnknownError(f"{rule.api} took the order, but says that entries are not paused.")
    return Effect(summary="new entries are paused", amount=Quantity(amount=1, unit="portfolios"))
