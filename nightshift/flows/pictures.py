"""Pictures for people who look at a flow run in the Prefect UI; the report has the same in letters."""

from __future__ import annotations

import httpx
from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.exceptions import PrefectException

from nightshift.flows.incident import Incident


def show_picture(incident: Incident, name: str, markdown: str, description: str) -> None:
    """Keep a picture as an artifact of the run; where Prefect does not take it, the work goes on without."""
    try:
        create_markdown_artifact(key=f"incident-{incident.id}-{name}", markdown=markdown, description=description)
    except (httpx.HTTPError, PrefectException) as error:
        get_run_logger().warning("The picture could not be kept as an artifact: %s", type(error).__name__)
