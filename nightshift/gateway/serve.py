"""The gateway as a process: ``python -m nightshift.gateway.serve``.

Any number of them may run on one ledger.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvicorn
from sqlalchemy.engine import make_url

from nightshift.catalogue import Catalogue
from nightshift.gateway import approvals, logs
from nightshift.gateway.alertmanagers import INTERVAL_SECONDS, AlertmanagerReconciler
from nightshift.gateway.app import create_app
from nightshift.gateway.attempts import Attempts
from nightshift.gateway.causes import correlate, end_overtaken_runs
from nightshift.gateway.contradictions import page_contradictions
from nightshift.gateway.dead_runs import mark_dead_runs
from nightshift.gateway.dispatch import dispatch
from nightshift.gateway.escalation import escalate, page_unclaimed
from nightshift.gateway.fleets import INTERVAL_SECONDS as LOOK_SECONDS
from nightshift.gateway.fleets import watch_fleets
from nightshift.gateway.intake import take_in
from nightshift.gateway.loops import Listener, Loop
from nightshift.gateway.metrics import Metrics
from nightshift.gateway.notify import Notifier
from nightshift.gateway.prefect_api import PrefectApi
from nightshift.gateway.reconcile import Reconciler
from nightshift.remediation.errors import ConfigurationError, NightshiftError
from nightshift.remediation.ledger import Ledger
from nightshift.settings import Settings, settings

_STOP_SECONDS = 10.0
_SWITCH_SECONDS = 0.0005
"""So long who answers a POST waits for the interpreter, at each step, while background work computes; not 5 ms."""
_MOST_CONNECTIONS = 100


@dataclass
class Gateway:
    """Everything of one gateway beside its HTTP side."""

    settings: Settings
    ledger: Ledger
    catalogue: Catalogue
    metrics: Metrics
    prefect: PrefectApi
    notifier: Notifier
    alertmanagers: AlertmanagerReconciler
    listener: Listener
    loops: dict[str, Loop] = field(default_factory=dict)

    @classmethod
    def build(cls, config: Settings) -> Gateway:
        """Put together from the settings.

        Raises:
            CatalogueError: with every mistake in the catalogue.
        """
        catalogue = Catalogue.load(config.runbooks)
        url = config.ledger_url()
        ledger = Ledger.connect(url, pool_size=10)
        metrics = Metrics(ledger)
        prefect = PrefectApi(_prefect_url(config))
        notifier = Notifier(ledger, catalogue, metrics, config.page_url)
        plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        alertmanagers = AlertmanagerReconciler(ledger, metrics, config.alertmanagers, max_bytes=config.max_body_bytes)
        listener = Listener(plain, lambda: gateway.wake())
        gateway = cls(config, ledger, catalogue, metrics, prefect, notifier, alertmanagers, listener)
        gateway._plan()
        return gateway

    def wake(self) -> None:
        """New alerts are there."""
        self.loops["intake"].wake()

    def _plan(self) -> None:
        attempts = Attempts(self.ledger, self.catalogue, self.metrics, self.settings.max_attempts)
        reconciler = Reconciler(self.ledger, self.prefect, attempts)
        work = {
            "listen": (self.listener.listen, 1.0),
            "intake": (self._take_in, 1.0),
            "causes": (lambda: correlate(self.ledger, self.catalogue), 2.0),
            "overtaken": (lambda: end_overtaken_runs(self.ledger, self.prefect), 2.0),
            "dispatch": (self._dispatch, 1.0),
            "expire": (lambda: approvals.expire(self.ledger), 2.0),
            "approvals": (lambda: approvals.deliver(self.ledger, self.prefect, attempts), 1.0),
            "reconcile": (reconciler.reconcile, 5.0),
            "dead runs": (self._mark_dead_runs, 10.0),
            "leases": (self.ledger.leases.end_silent, 1.0),
            "alertmanagers": (self.alertmanagers.reconcile, INTERVAL_SECONDS),
            "ways back": (self._open_ways_back, 5.0),
            "escalate": (self._escalate, 1.0),
            "unclaimed": (self._page_unclaimed, 5.0),
            "contradictions": (self._page_contradictions, 30.0),
            "fleets": (lambda: watch_fleets(self.ledger, self.catalogue), LOOK_SECONDS),
            "notify": (self.notifier.send_due, 1.0),
        }
        self.loops = {name: Loop(name, step, interval, self.metrics) for name, (step, interval) in work.items()}

    def _take_in(self) -> int:
        taken = take_in(self.ledger, self.catalogue, self.metrics)
        if taken:
            self.loops["causes"].wake()
            self.loops["dispatch"].wake()
            self.loops["notify"].wake()
        return taken

    def _dispatch(self) -> int:
        return dispatch(self.ledger, self.prefect, self.metrics, self.settings.dispatch_in_flight)

    def _mark_dead_runs(self) -> int:
        return mark_dead_runs(self.ledger, self.prefect, self.settings.work_pool)

    def _escalate(self) -> int:
        return self._then_notify(escalate(self.ledger, self.catalogue))

    def _page_unclaimed(self) -> int:
        limits = self.settings.unclaimed_critical_seconds, self.settings.unclaimed_seconds
        return self._then_notify(page_unclaimed(self.ledger, self.catalogue, *limits))

    def _page_contradictions(self) -> int:
        return self._then_notify(page_contradictions(self.ledger, self.catalogue))

    def _open_ways_back(self) -> int:
        with self.ledger.engine.begin() as connection:
            opened = self.ledger.ways_back.open_due(connection)
        if opened:
            self.loops["dispatch"].wake()
        return len(opened)

    def _then_notify(self, done: int) -> int:
        if done:
            self.loops["notify"].wake()
        return done

    @contextmanager
    def working(self) -> Iterator[None]:
        """The background work runs inside this context; at its end it has stopped."""
        for loop in self.loops.values():
            loop.start()
        try:
            yield
        finally:
            for loop in self.loops.values():
                loop.stop()
            for loop in self.loops.values():
                loop.join(_STOP_SECONDS)
            self.notifier.close()
            self.listener.close()
            self.alertmanagers.close()
            self.prefect.close()
            self.ledger.close()


def _prefect_url(config: Settings) -> str:
    if config.prefect_api_url is None:
        raise ConfigurationError(
            "No Prefect server is configured.", remedy="Run `nightshift up`, or set NIGHTSHIFT_PREFECT_API_URL."
        )
    return config.prefect_api_url


def _spare_what_stays() -> None:
    """Let the garbage collector pass over what is there for good: looking through it stops all threads for 0.1 s."""
    gc.collect()
    gc.freeze()


def main() -> int:
    """Serve until SIGTERM or SIGINT."""
    logs.configure()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        config = settings()
        # Secrets kept in Prefect blocks are read through Prefect's own client, which knows the server by this name.
        os.environ.setdefault("PREFECT_API_URL", _prefect_url(config))
        gateway = Gateway.build(config)
        app = create_app(config, gateway.ledger, gateway.catalogue, gateway.metrics)
    except NightshiftError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    server = uvicorn.Config(
        app,
        host=config.gateway_host,
        port=config.gateway_port,
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(_STOP_SECONDS),
    )
    # The server ends by these signals itself and then raises them again, which would kill us before our own end.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    _spare_what_stays()
    with gateway.working():
        uvicorn.Server(server).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
