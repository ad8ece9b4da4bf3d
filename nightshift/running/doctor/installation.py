"""The doctor looks at the installation itself: settings, ledger, Prefect, gateway."""

from __future__ import annotations

import importlib.metadata
import os
import time
from collections.abc import Collection, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import httpx
from sqlalchemy.exc import SQLAlchemyError

from nightshift.remediation.durations import format_duration
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.migrate import is_current
from nightshift.remediation.text import counted, listed
from nightshift.running.doctor.finding import Seen, error, in_words, ok, warning
from nightshift.running.installation import Installation
from nightshift.running.lent_variables import changed_since
from nightshift.running.prefect_api import PrefectApi
from nightshift.running.prefect_server import postgresql_url
from nightshift.running.up import GATEWAY, WORKER
from nightshift.settings import Settings

_LATE_DISPATCH_SECONDS = 120
_SCHEDULED_WITHIN_SECONDS = 30
"""Prefect's scheduler looks at what is new every few seconds."""
_SCHEDULER = (
    "See what the log of Prefect's server says of its scheduler; a server of your own needs SQLAlchemy below 2.1. "
    "If the schedule is over, remove it from its deployment."
)
UP = "Run `nightshift up`."
"""What brings back most parts of an installation."""


def look_at_settings(settings: Settings) -> Iterator[Seen]:
    """Whether the gateway can start, pages of no system reach somebody, and secrets are kept from others."""
    installation = Installation(settings)
    if settings.webhook_token is None:
        yield error("No webhook token is set, so the gateway takes no alerts.", UP)
    if settings.page_url is None:
        yield warning(
            "Alerts of no known system page nobody: there is no default channel.",
            "Set NIGHTSHIFT_PAGE_URL to an apprise URL.",
        )
    if installation.env_file.exists() and installation.env_file.stat().st_mode & 0o077:
        yield error(
            f"{installation.env_file} holds passwords and is open to other users.", f"chmod 600 {installation.env_file}"
        )
    if settings.home.exists() and not os.access(settings.home, os.W_OK):
        yield warning(f"The home folder {settings.home} cannot be written by this user.", "Use the user who ran `up`.")
    yield ok(f"Home folder {settings.home}.")


def look_at_ledger(settings: Settings) -> Iterator[Seen]:
    """Whether the ledger answers, has this version's tables, its journal is whole, and its messages go out."""
    url = settings.ledger_url()
    postgresql_url(url)
    with closing(Ledger.connect(url, pool_size=1)) as ledger:
        ledger.ping()
        yield ok("It answers.")
        try:
            yield from _look_into_ledger(ledger)
        except SQLAlchemyError as wrong:
            yield error(f"It stopped answering: {type(wrong).__name__}.", "See `nightshift status`.")


def _look_into_ledger(ledger: Ledger) -> Iterator[Seen]:
    if not is_current(ledger.engine):
        yield error("Its tables are not those of this version.", UP)
        return
    broken = ledger.journal.first_broken_link()
    if broken is None:
        yield ok("The journal is whole: every row fits to the one before it.")
    else:
        yield error(
            f"The journal was changed: row {broken} does not fit to the one before it.",
            "Find out who changed it; compare with a backup of the database.",
        )
    if pages := ledger.deliveries.undelivered():
        yield error(f"{counted(pages, 'message')} to people could not be delivered yet.", "Mend the channels below.")
    for stop in ledger.switches.in_force():
        covers = stop.target or " ".join(filter(None, (stop.system, stop.runbook))) or "everything"
        yield warning(f"{stop.author} stopped changes to {covers}: {stop.reason}.", "Lift the stop when it is over.")
    late = ledger.incidents.oldest_undispatched_seconds()
    if late > _LATE_DISPATCH_SECONDS:
        yield error(
            f"An incident waits for a flow run since {format_duration(late)}.", "See Prefect and gateway below."
        )


def look_at_gateway(settings: Settings) -> Iterator[Seen]:
    """Whether the gateway takes alerts."""
    place = settings.gateway_url
    try:
        answer = httpx.get(f"{place}/readyz", timeout=5, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL) as wrong:
        yield error(f"{place} does not answer: {in_words(wrong)}.", UP)
        return
    if answer.is_success:
        yield ok(f"{place} takes alerts.")
    else:
        yield error(f"{place} answers, but takes no alerts ({answer.status_code}).", "See the ledger, and its log.")


def look_at_variables(settings: Settings, names: Collection[str]) -> Iterator[Seen]:
    """Whether gateway and worker have the variables of the catalogue: the checks of connections only see our own."""
    installation = Installation(settings)
    for part in (GATEWAY, WORKER):
        process = installation.process(part)
        if process.running is None:
            continue
        if changed := changed_since(process, names):
            what = f"The {part} runs without {listed(changed)}, or with other values than are set here."
            yield error(what, "Run `nightshift up` here: it starts it anew with them.")
        else:
            yield ok(f"The {part} has every variable of the catalogue that is set here.")


class _PrefectQuestions(PrefectApi):
    """What only the doctor asks a Prefect server."""

    def version(self) -> str:
        """Of the server."""
        return str(self._ask("GET", "/admin/version"))

    def work_pool(self, name: str) -> dict[str, Any] | None:
        """The pool, None when there is none."""
        pool: dict[str, Any] = self._ask("GET", f"/work_pools/{name}", also=(404,))
        return pool if "name" in pool else None

    def workers(self, pool: str) -> list[dict[str, Any]]:
        """The workers of a pool that were ever heard of."""
        found: list[dict[str, Any]] = self._ask("POST", f"/work_pools/{pool}/workers/filter", {"limit": 200})
        return found

    def deployments_of(self, flow: str) -> list[dict[str, Any]]:
        """Deployments of a flow."""
        found: list[dict[str, Any]] = self._ask("POST", "/deployments/filter", {"flows": {"name": {"any_": [flow]}}})
        return found

    def flow_of(self, deployment: dict[str, Any]) -> str:
        """Name of the flow of a deployment."""
        return str(self._ask("GET", f"/flows/{deployment['flow_id']}")["name"])

    def runs_ahead(self, deployment: dict[str, Any]) -> int:
        """How many runs of a deployment wait for their time."""
        ahead = {"state": {"type": {"any_": ["SCHEDULED"]}}, "expected_start_time": {"after_": _now()}}
        of_it = {"deployments": {"id": {"any_": [deployment["id"]]}}, "flow_runs": ahead}
        return int(self._ask("POST", "/flow_runs/count", of_it))


def look_at_prefect(settings: Settings, flows: Collection[str]) -> Iterator[Seen]:
    """Whether the server answers, a worker is there, incidents of these flows start runs, and schedules do."""
    installation = Installation(settings)
    api = _PrefectQuestions(installation.prefect_api_url, own=installation.runs_prefect_server)
    yield _version(api)
    worker = installation.process(WORKER)
    if worker.record is not None and worker.running is None:
        # Prefect calls a worker online until it has missed several heartbeats.
        yield error("The worker of this machine has died.", UP)
    pool = api.work_pool(settings.work_pool)
    if pool is None:
        yield error(f"There is no work pool {settings.work_pool}.", UP)
    else:
        yield from _look_at_pool(api, pool)
    for flow in sorted(flows):
        yield _flow(api, settings.work_pool, flow)
    yield from _look_at_schedules(api, settings.work_pool)


def _version(api: _PrefectQuestions) -> Seen:
    theirs, ours = api.version(), importlib.metadata.version("prefect")
    if theirs == ours:
        return ok(f"{api.url} answers, version {theirs}.")
    return warning(f"{api.url} has version {theirs}, and we have {ours}.", "Bring both to the same version.")


def _look_at_pool(api: _PrefectQuestions, pool: dict[str, Any]) -> Iterator[Seen]:
    name = pool["name"]
    if pool["is_paused"]:
        yield error(f"The work pool {name} is paused: no flow run starts.", f"prefect work-pool resume {name}")
    workers = api.workers(name)
    online = sorted(worker["name"] for worker in workers if worker["status"] == "ONLINE")
    if online:
        yield ok(f"{counted(len(online), 'worker')} online: {', '.join(online)}.")
        return
    beats = sorted(worker["last_heartbeat_time"] for worker in workers if worker["last_heartbeat_time"])
    last = f"the last sign of one was at {beats[-1][:19].replace('T', ' ')} UTC" if beats else "there never was one"
    yield error(f"No worker of the pool {name} is online: {last}.", UP)


def _look_at_schedules(api: _PrefectQuestions, pool: str) -> Iterator[Seen]:
    """A sweep that never runs is missed by nobody."""
    for deployment in api.deployments(pool):
        since = time.time() - datetime.fromisoformat(deployment["updated"]).timestamp()
        if deployment["paused"] or not any(schedule["active"] for schedule in deployment["schedules"]):
            continue
        flow = api.flow_of(deployment)
        if api.runs_ahead(deployment):
            yield ok(f"{flow} has a schedule, and its next run is ahead.")
        elif since > _SCHEDULED_WITHIN_SECONDS:
            yield error(f"{flow} has a schedule, and no run of it is ahead.", _SCHEDULER)


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _flow(api: _PrefectQuestions, pool: str, flow: str) -> Seen:
    deployments = [one for one in api.deployments_of(flow) if one["work_pool_name"] == pool]
    if not deployments:
        return error(f"The flow {flow} is not deployed to the work pool {pool}.", UP)
    if all(one["paused"] for one in deployments):
        return error(f"The deployment of {flow} is paused: no incident starts it.", "Resume it in the Prefect UI.")
    return ok(f"{flow} is deployed, and incidents start it.")
