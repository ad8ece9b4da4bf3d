"""The tags of a flow run in the Prefect UI, put on beside the work: no repair waits for them."""

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
def tagged(tags: Sequence[str]) -> Iterator[None]:
    """Give this flow run these tags while the work inside is done."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or not isinstance(context.client, SyncPrefectClient):
        raise RuntimeError("only a flow run that works can be tagged")
    given = contextvars.copy_context()
    tagging = threading.Thread(
        target=given.run, args=(_tag, context.client, context.flow_run, tags), name="tags", daemon=True
    )
    tagging.start()
    try:
        yield
    finally:
        tagging.join(_LONGEST_SECONDS)


def _tag(client: SyncPrefectClient, run: FlowRun, tags: Sequence[str]) -> None:
    if set(tags) <= set(run.tags):
        return  # it was suspended, and goes on
    try:
        client.update_flow_run(run.id, tags=tags)
    except (httpx.HTTPError, PrefectException, RuntimeError) as error:
        # RuntimeError: the work was done long ago, and the client is closed.
        get_run_logger().warning("The flow run could not be tagged: %s", type(error).__name__)
