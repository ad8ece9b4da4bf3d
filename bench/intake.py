"""How fast alerts are taken in: 202 means that they are committed in the ledger."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.figures import Spread, percentile
from bench.floor import ASKED, EFFECT, Floor, labels
from bench.posting import Sender, body, post_all, resolved
from bench.runs import Records, wait_for
from lab.installation import Installation

_CONNECTIONS = 4
_PER_BODY, _BODIES, _WARM_UP, _SINGLES = 50, 300, 20, 200


@dataclass
class Intake:
    """What it needs."""

    installation: Installation
    records: Records
    floor: Floor
    say: Callable[[str], None]

    def measure(self, name: str) -> tuple[dict[str, Any], Spread, Spread]:
        """15,000 alerts in bodies of 50 over four connections, then 200 alone; each is a new alert.

        They are effects of a cause that waits for its approval, so that intake has its usual work with them beside.
        Returns the figures, and the seconds of bodies and of single alerts.

        Raises:
            TookTooLongError: they were not dealt with.
            LookupError: an alert was refused, or is not in the ledger although it was accepted.
        """
        mount = self.floor.disk()
        with Sender(self.installation.settings) as sender:
            sender.post(body([labels(ASKED, mount)]))
            wait_for("the question", 60, lambda: self._waits(mount))
            for number in range(_WARM_UP):
                sender.post(self._body(mount, f"{name}-warm-up", number))
        wait_for("the warm-up", 30, lambda: self._settled(f"{name}-warm-up", _WARM_UP * _PER_BODY))
        bodies = [self._body(mount, name, number) for number in range(_BODIES)]
        begun = time.perf_counter()
        posted = post_all(self.installation.settings, bodies, connections=_CONNECTIONS)
        seconds = time.perf_counter() - begun
        accepted = sum(each.accepted for each in posted) * _PER_BODY
        begun = time.perf_counter()
        wait_for("the end of intake", 120, lambda: self._settled(name, accepted), every=0.2)
        dealt_with = time.perf_counter() - begun
        kept = self.records.alerts("load", name).kept
        if kept != len(bodies) * _PER_BODY or accepted != kept:
            raise LookupError(f"sent {len(bodies) * _PER_BODY}, accepted {accepted}, in the ledger {kept}")
        of_bodies = Spread.of([each.seconds for each in posted])
        singles = self._singles(mount, name)
        self._all_over(mount, bodies)
        figures = {
            "alerts_per_s": round(accepted / seconds),
            "p99_ms": round(percentile(of_bodies.values, 99) * 1000, 1),
            "single_p50_ms": round(singles.median * 1000, 2),
            "dealt_with_after_s": round(dealt_with, 1),
        }
        return figures, of_bodies, singles

    def _all_over(self, mount: str, bodies: list[bytes]) -> None:
        """The alerts end, and a person says no to the cause's plan: the next part finds nothing of it."""
        settings = self.installation.settings
        post_all(settings, [resolved(content) for content in bodies], connections=_CONNECTIONS)
        incident = self.records.incidents(ASKED, [mount])[mount].id
        self.installation.cli("deny", str(incident), "--yes", "--comment", "the bench goes on")
        wait_for("the end of the cause", 60, lambda: self._ended(mount))

    def _ended(self, mount: str) -> bool | None:
        return self.records.incidents(ASKED, [mount])[mount].status == "ended" or None

    def _singles(self, mount: str, name: str) -> Spread:
        with Sender(self.installation.settings) as sender:
            bodies = [body([labels(EFFECT, mount, load=f"{name}-single", order=str(n))]) for n in range(_SINGLES)]
            posted = [sender.timed(content) for content in bodies]
        if (refused := sum(not each.accepted for each in posted)) > 0:
            raise LookupError(f"{refused} single alerts were not answered with 202")
        return Spread.of([each.seconds for each in posted])

    @staticmethod
    def _body(mount: str, name: str, number: int) -> bytes:
        orders = (str(number * _PER_BODY + each) for each in range(_PER_BODY))
        more = {"job": "orders", "namespace": "shop", "severity": "warning", "prometheus": "monitoring/k8s"}
        return body([labels(EFFECT, mount, load=name, order=order, **more) for order in orders])

    def _waits(self, mount: str) -> bool | None:
        row = self.records.incidents(ASKED, [mount]).get(mount)
        return (row is not None and row.status == "waiting") or None

    def _settled(self, name: str, wanted: int) -> bool | None:
        return self.records.alerts("load", name).taken_in >= wanted or None
