"""Name and tags of a flow run that a person started, given beside the work: those of the gateway are made with them.

Prefect's own ``flow_run_name`` would tell the server the name of every run once more, before its first task.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException

_LONGEST_SECONDS = 5.0
"""For what is left to do when the work is done. Prefect's server may be away, and its client has much patience."""


@contextmanager
def named(name: str, tags: Sequence[str]) -> Iterator[None]:
    """Give this flow run this name and these tags while the work inside is done, where it has others."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or not isinstance(context.client, SyncPrefectClient):
        raise RuntimeError("only a flow run that works can be named")
    if set(tags) <= set(context.flow_run.tags) and context.flow_run.name == name:
        yield
        return
    given = contextvars.copy_context()
    naming = threading.Thread(
        target=given.run, args=(_name, context.client, context.flow_run, name, tags), name="naming", daemon=True
    )
    naming.start()
    try:
        yield
    finally:
        naming.join(_LONGEST_SECONDS)


def _name(client: SyncPrefectClient, run: FlowRun, name: str, tags: Sequence[str]) -> None:
    try:
        client.update_flow_run(run.id, name=name, tags=tags)
    except (httpx.HTTPError, PrefectException, RuntimeError) as error:
        # RuntimeError: the work was done long ago, and the client is closed.
        get_run_logger().warning("The flow run could not be named: %s", type(error).__name__)
