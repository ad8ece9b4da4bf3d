"""Wait until a real Prometheus itself answers what a test needs to be measured, asked as the flow under test asks it.

How long that takes depends on how busy the machine is: scrapes come late, and what counts is late as well.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from nightshift.remediation.clients.prometheus import query_range
from nightshift.remediation.clients.request_quality import Service, expression, measure_requests, trouble_since
from nightshift.remediation.connections import HttpConnection
from nightshift.remediation.errors import NightshiftError
from nightshift.remediation.requests.policy import MeasuredRequests

T = TypeVar("T")

LIMIT_SECONDS = 60.0
_LOOK_EVERY = 0.1
_LOOK_BACK = 3600.0
"""Seconds that the flows look back where no release may be taken back."""
_POINTS = 2000
"""Of the time that they look back over."""


def connection_to(url: str) -> HttpConnection:
    """As the catalogue would declare it."""
    return HttpConnection.model_validate({"type": "http", "url": url})


def until_measured(
    measure: Callable[[], T], is_so: Callable[[T], object], what: str, seconds: float = LIMIT_SECONDS
) -> T:
    """The first value that is as the test needs it; what cannot be told yet is asked again.

    Raises:
        AssertionError: it was not, all that time.
    """
    give_up_at = time.monotonic() + seconds
    while True:
        found: object
        try:
            found = value = measure()
            if is_so(value):
                return value
        except NightshiftError as error:
            found = error
        if time.monotonic() > give_up_at:
            raise AssertionError(f"Prometheus did not measure {what} within {seconds:g} s, but: {found}")
        time.sleep(_LOOK_EVERY)


class RequestsMeasured:
    """What the flows about failing and slow requests are told of one service by a Prometheus.

    Args:
        url: of Prometheus.
        policy: as the runbook has it; what is not about measuring is left out.
        name: of the service.
        namespace: empty where it runs in no cluster.
    """

    def __init__(self, url: str, policy: Mapping[str, Any], name: str = "web", namespace: str = "") -> None:
        known = {key: value for key, value in policy.items() if key in MeasuredRequests.model_fields}
        self.policy = MeasuredRequests.model_validate(known)
        self.service = Service("metrics", connection_to(url), namespace, name)
        rollback = self.policy.rollback
        self._look_back = 2 * rollback.within if rollback is not None else _LOOK_BACK
        self._step = max(1, math.ceil(self._look_back / _POINTS))

    def value(self) -> float:
        """Of this moment."""
        return measure_requests(self.service, self.policy)[0]

    def until_calm(self) -> None:
        """Until it was within its limit for so long that a flow which looks back later finds how it was before."""
        limit = self.policy.measure.at_most
        until_measured(self._calm_for, lambda known: known > self._step, f"{limit:g} or less for {self._step} s")

    def until_trouble(self) -> None:
        """Until it is above its limit; since when is not asked, for it may always have been."""
        limit = self.policy.measure.at_most
        until_measured(self.value, lambda value: value > limit, f"more than {limit:g}")

    def until_trouble_began(self) -> None:
        """Until the flow finds since when it is above its limit."""
        until_measured(self._since, lambda since: since is not None, "when the trouble began")

    def _since(self) -> object:
        value, at = measure_requests(self.service, self.policy)
        if value <= self.policy.measure.at_most:
            return None
        return trouble_since(self.service, self.policy, at, self._look_back)

    def _calm_for(self) -> float:
        """Seconds, at the end of what is known."""
        now, asked = time.time(), expression(self.service, self.policy)
        points = query_range("metrics", self.service.connection, asked, now - 2 * LIMIT_SECONDS, now, 1)
        calm = [at for at, value in points if math.isfinite(value) and value <= self.policy.measure.at_most]
        return calm[-1] - calm[0] if calm else 0.0
