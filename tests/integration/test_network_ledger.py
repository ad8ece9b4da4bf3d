"""The network between us and the ledger breaks: nothing waits for ever, and nobody holds up everybody."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from lab.flaky_network import FlakyNetwork, Weather
from lab.gateway_process import GatewayProcess
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.errors import LeaseLostError, LedgerUnavailableError
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Claim, Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.sessions import answers_within
from nightshift.remediation.models import Severity, Target

BROKEN = [Weather.STALL, Weather.STALL_ANSWERS, Weather.RESET, Weather.GONE]


@pytest.fixture
def network(database_url: str) -> Iterator[FlakyNetwork]:
    with FlakyNetwork.before(database_url) as network:
        yield network


@pytest.fixture
def far(network: FlakyNetwork, database_url: str) -> Iterator[Ledger]:
    """The ledger, seen through the network."""
    ledger = Ledger.connect(network.url(database_url), pool_size=3)
    yield ledger
    ledger.close()


def incident_of(ledger: Ledger) -> int:
    target = Target(system="shop", path=("host", uuid4().hex))
    with ledger.engine.begin() as connection:
        return ledger.incidents.open(connection, Trouble("shop", "X", "f", target, Severity.INFO, "t"))[0]


def claim_of(ledger: Ledger, seconds: float) -> Claim:
    claim = ledger.incidents.claim(incident_of(ledger), 1, uuid4(), seconds)
    assert claim is not None
    return claim


@pytest.mark.parametrize("weather", BROKEN)
def test_a_question_is_answered_in_time_or_fails_and_the_next_one_after_the_storm_works(
    far: Ledger, network: FlakyNetwork, weather: Weather
) -> None:
    far.ping()
    network.become(weather)
    asked = time.monotonic()

    with pytest.raises(LedgerUnavailableError), answers_within(1):
        far.ping()

    assert time.monotonic() - asked < 5
    network.become(Weather.PASS)
    network.reset()
    far.ping()


def test_who_is_cut_off_in_a_transaction_does_not_hold_the_journal_for_longer_than_others_wait(
    ledger: Ledger, far: Ledger, network: FlakyNetwork
) -> None:
    incident = incident_of(ledger)
    cut_off = far.engine.connect()
    far.journal.append(cut_off, incident, Kind.ALERT, {"number": 1})
    network.become(Weather.STALL)
    asked = time.monotonic()

    ledger.journal.record(incident, Kind.ALERT, {"number": 2})

    assert time.monotonic() - asked < 6
    assert [row.entry for row in ledger.journal.of(incident) if row.kind is Kind.ALERT] == [{"number": 2}]
    assert ledger.journal.first_broken_link() is None
    cut_off.invalidate()


def test_a_commit_that_nobody_answers_is_an_error_and_may_have_happened(
    ledger: Ledger, far: Ledger, network: FlakyNetwork
) -> None:
    incident = incident_of(ledger)

    def cut(said: bytes) -> None:
        if b"COMMIT" in said:
            network.become(Weather.STALL_ANSWERS)

    network.watch = cut

    with pytest.raises(OperationalError), answers_within(2):
        far.journal.record(incident, Kind.ALERT, {"number": 1})

    assert [row.entry for row in ledger.journal.of(incident) if row.kind is Kind.ALERT] == [{"number": 1}]


def test_a_claim_outlives_a_storm_that_is_shorter_than_it(ledger: Ledger, database_url: str) -> None:
    def outlives(weather: Weather) -> None:
        with FlakyNetwork.before(database_url) as network:
            far = Ledger.connect(network.url(database_url), pool_size=1)
            with ClaimKeeper(far, claim_of(ledger, 6), 6) as keeper:
                network.become(weather)
                time.sleep(2.5)  # a renewal is due after 2 s, and hangs or fails
                network.become(Weather.PASS)
                network.reset()
                time.sleep(6)
                keeper.check()
            far.close()

    with ThreadPoolExecutor(len(BROKEN)) as threads:
        list(threads.map(outlives, BROKEN))


def test_a_keeper_that_is_cut_off_stops_trusting_its_claim_before_anyone_else_may_have_it(
    ledger: Ledger, far: Ledger, network: FlakyNetwork
) -> None:
    claim = claim_of(ledger, 2)
    with ClaimKeeper(far, claim, 2) as keeper:
        network.become(Weather.STALL)
        while ledger.incidents.claim(claim.incident_id, 1, claim.flow_run_id, 30) is None:
            time.sleep(0.005)

        with pytest.raises(LeaseLostError):
            keeper.check()


def test_who_claims_over_a_slow_network_does_not_trust_the_claim_from_its_answer_on(
    ledger: Ledger,
) -> None:
    claim = claim_of(ledger, 0.5)
    time.sleep(0.6)  # that long was the answer on its way

    with pytest.raises(LeaseLostError), ClaimKeeper(ledger, claim, 0.5):
        pytest.fail("the claim had run out")


ALERT = {
    "status": "firing",
    "labels": {"alertname": "HighDiskUsage", "job": "shop", "instance": "web1:9100", "mountpoint": "/data"},
    "annotations": {},
    "startsAt": "2026-01-01T00:00:00Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "",
    "fingerprint": "0123456789abcdef",
}
BODY = {
    "version": "4",
    "groupKey": "{}",
    "status": "firing",
    "receiver": "nightshift",
    "groupLabels": {},
    "commonLabels": {},
    "commonAnnotations": {},
    "externalURL": "",
    "truncatedAlerts": 0,
    "alerts": [ALERT],
}


@pytest.fixture
def gateway(database_url: str, network: FlakyNetwork, runbooks: Path) -> Iterator[GatewayProcess]:
    with GatewayProcess(
        database_url=network.url(database_url), prefect_api_url="http://127.0.0.1:1/api", runbooks=runbooks
    ) as gateway:
        yield gateway


def ready(gateway: GatewayProcess) -> int:
    return httpx.get(f"{gateway.url}/readyz", timeout=10, trust_env=False).status_code


def test_a_gateway_cut_off_from_its_ledger_says_so_in_time_and_takes_alerts_in_again_afterwards(
    gateway: GatewayProcess, network: FlakyNetwork, ledger: Ledger
) -> None:
    assert ready(gateway) == 200
    for weather in BROKEN:
        network.become(weather)
        asked = time.monotonic()
        with ThreadPoolExecutor(4) as threads:
            answers = [*threads.map(lambda _: gateway.post(BODY).status_code, range(3)), ready(gateway)]

        assert answers == [503] * 4, weather
        assert time.monotonic() - asked < 20, weather
        network.become(Weather.PASS)
        network.reset()

    give_up_at = time.monotonic() + 30
    while gateway.post(BODY).status_code != 202 and time.monotonic() < give_up_at:
        time.sleep(0.2)
    assert ready(gateway) == 200
    while not ledger.incidents.list() and time.monotonic() < give_up_at:
        time.sleep(0.2)
    assert [row.target for row in ledger.incidents.list()] == ["shop/host/web1/filesystem/%2Fdata"]
    assert ledger.journal.first_broken_link() is None
