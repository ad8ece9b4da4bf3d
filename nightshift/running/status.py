"""How the parts of an installation are right now."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any

import psycopg
from pydantic import BaseModel
from sqlalchemy import Row
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from nightshift.remediation.decisions import Progress, on_silence
from nightshift.remediation.durations import format_duration
from nightshift.remediation.errors import NightshiftError
from nightshift.remediation.ledger import Ledger
from nightshift.running.embedded_postgres import EmbeddedPostgres
from nightshift.running.installation import Installation
from nightshift.running.outside_postgres import connected
from nightshift.running.prefect_server import postgresql_url
from nightshift.running.up import (
    GATEWAY,
    POSTGRESQL,
    PREFECT_SERVER,
    WORKER,
    gateway_answers,
    prefect_api,
    worker_answers,
)


class State(StrEnum):
    """What can be said of a part."""

    RUNNING = "running"
    NOT_ANSWERING = "not answering"
    STOPPED = "stopped"
    DIED = "died"


class PartStatus(BaseModel):
    """One part; pid and uptime only of what we run ourselves."""

    part: str
    state: State
    pid: int | None = None
    port: int | None = None
    url: str | None = None
    uptime_seconds: float | None = None
    ours: bool = True
    """Whether ``up`` runs it; false for a server that the user gave."""


class WaitingApproval(BaseModel):
    """An approval that waits for people."""

    incident: int
    approved_by: tuple[str, ...]
    needed: int
    """How many different people must approve."""
    expires_at: datetime
    acts_unless_denied: bool

    @property
    def in_words(self) -> str:
        """How far it is, and what becomes of it in silence; not yet fit for a terminal."""
        silence = on_silence(f"{self.expires_at:%Y-%m-%d %H:%M} UTC", acts=self.acts_unless_denied)
        return f"Incident {self.incident} waits: {Progress(self.approved_by, self.needed).in_words}. {silence}"


class FleetStatus(BaseModel):
    """A fleet of the catalogue, as last seen."""

    system: str
    fleet: str
    members: int
    unhealthy: int
    storm_seconds: float
    """0: there is none, and no cool-down after one."""
    unknown_seconds: float
    """0: its health can be told."""
    upgrade_seconds: float

    @property
    def in_words(self) -> str:
        """How it is, and whether something is done by itself there; not yet fit for a terminal."""
        why = {
            "storm or its cool-down": self.storm_seconds,
            "health not known": self.unknown_seconds,
            "upgrade under way": self.upgrade_seconds,
        }
        held = ", ".join(f"{what} for {format_duration(seconds)}" for what, seconds in why.items() if seconds)
        seen = f"{self.unhealthy} of {self.members} unhealthy"
        return f"Fleet {self.fleet} of {self.system}: {seen}" + (f"; {held}: see `nightshift stops`." if held else ".")


class Work(BaseModel):
    """What the ledger has to do."""

    incidents: dict[str, int]
    """Number of incidents by status, ended ones by outcome."""
    oldest_undispatched_seconds: float
    """How long the oldest incident has been waiting for a flow run; 0 when none does."""
    approvals: list[WaitingApproval]
    """Those that wait, the one that waits least longer first."""
    fleets: list[FleetStatus]
    """As the gateways saw them last."""


class Status(BaseModel):
    """All parts, and the work if the ledger answers."""

    home: str
    parts: list[PartStatus]
    work: Work | None = None

    @property
    def is_well(self) -> bool:
        """Whether every part runs."""
        return all(part.state is State.RUNNING for part in self.parts)


def status_of(installation: Installation) -> Status:
    """Look at every part; takes a few seconds when parts hang."""
    api = prefect_api(installation)
    settings = installation.settings
    parts = [
        _postgresql(installation),
        _prefect_server(installation),
        _ours(
            installation, GATEWAY, lambda: gateway_answers(installation), settings.gateway_port, settings.gateway_url
        ),
        _ours(installation, WORKER, lambda: worker_answers(installation, api), None, None),
    ]
    work = _work(installation) if parts[0].state is State.RUNNING else None
    return Status(home=str(installation.home), parts=parts, work=work)


def _ours(
    installation: Installation, part: str, answers: Callable[[], bool], port: int | None, url: str | None
) -> PartStatus:
    process = installation.process(part)
    running = process.running
    if running is None:
        return PartStatus(part=part, state=State.DIED if process.record else State.STOPPED, port=port, url=url)
    return PartStatus(
        part=part,
        state=State.RUNNING if answers() else State.NOT_ANSWERING,
        pid=running.pid,
        port=port,
        url=url,
        uptime_seconds=time.time() - running.started,
    )


def _prefect_server(installation: Installation) -> PartStatus:
    api, settings = prefect_api(installation), installation.settings
    if installation.runs_prefect_server:
        return _ours(installation, PREFECT_SERVER, api.is_healthy, settings.prefect_port, api.url)
    state = State.RUNNING if api.is_healthy() else State.NOT_ANSWERING
    return PartStatus(part=PREFECT_SERVER, state=state, url=api.url, ours=False)


def _postgresql(installation: Installation) -> PartStatus:
    embedded = EmbeddedPostgres(installation.home)
    given = installation.settings.database_url
    if given and not embedded.owns(given.get_secret_value()):
        url = postgresql_url(given.get_secret_value())
        state = State.RUNNING if _lets_in(given.get_secret_value()) else State.NOT_ANSWERING
        return PartStatus(part=POSTGRESQL, state=state, port=url.port, url=_address(url), ours=False)
    postmaster = embedded.postmaster
    if postmaster is None or given is None:
        died = (embedded.cluster / "postmaster.pid").exists()
        return PartStatus(part=POSTGRESQL, state=State.DIED if died else State.STOPPED, port=embedded.port)
    return PartStatus(
        part=POSTGRESQL,
        state=State.RUNNING if _lets_in(given.get_secret_value()) else State.NOT_ANSWERING,
        pid=postmaster.pid,
        port=embedded.port,
        url=_address(postgresql_url(given.get_secret_value())),
        uptime_seconds=time.time() - postmaster.create_time(),
    )


def _address(url: URL) -> str:
    """Where a database is, without who we are there."""
    return f"postgresql://{url.host}:{url.port or 5432}/{url.database}"


def _lets_in(database_url: str) -> bool:
    try:
        connected(postgresql_url(database_url), timeout=2).close()
    except (NightshiftError, psycopg.Error):
        return False
    return True


def _work(installation: Installation) -> Work | None:
    ledger = Ledger.connect(installation.settings.ledger_url(), pool_size=1)
    try:
        return Work(
            incidents=ledger.incidents.counts(),
            oldest_undispatched_seconds=ledger.incidents.oldest_undispatched_seconds(),
            approvals=[_waiting(row) for row in ledger.approvals.all_open()],
            fleets=[_fleet(row) for row in ledger.fleets.health()],
        )
    except SQLAlchemyError:
        return None  # no tables yet, or gone just now: the parts tell
    finally:
        ledger.close()


def _waiting(row: Row[Any]) -> WaitingApproval:
    return WaitingApproval(
        incident=row.incident_id,
        approved_by=tuple(row.approved),
        needed=row.needed,
        expires_at=row.expires_at,
        acts_unless_denied=row.unless_denied,
    )


def _fleet(row: Row[Any]) -> FleetStatus:
    return FleetStatus(
        system=row.system,
        fleet=row.name,
        members=row.members,
        unhealthy=row.unhealthy,
        storm_seconds=row.storm_seconds,
        unknown_seconds=row.unknown_seconds,
        upgrade_seconds=row.upgrade_seconds,
    )
