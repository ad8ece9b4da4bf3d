"""Fleets and maintenance as people meet them: on the command line, from the doctor, in the gateway's watch."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from sqlalchemy import text

from lab.notebook import TARGET, line, plan
from lab.ports import free_port
from lab.prometheus import PrometheusProcess
from nightshift.catalogue import Catalogue
from nightshift.gateway.fleets import watch_fleets
from nightshift.gateway.metrics import Metrics
from nightshift.remediation.decisions import Decision
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.models import Severity

Command = Callable[..., Any]
PAGE = "".join(f'node_known{{node="n{n}"}} 1\nnode_ready{{node="n{n}"}} {int(n > 2)}\n' for n in range(1, 6))
WATCHED = {"kind": "node", "prometheus": "prometheus", "members": "node_known", "healthy": "node_ready"}
STORM = {**WATCHED, "storm": {"more_than": "30%", "cooldown": "30m"}}


@pytest.fixture(scope="module")
def prometheus() -> Iterator[PrometheusProcess]:
    """A cluster of five, of which two are sick."""
    with PrometheusProcess(PAGE, every_ms=500) as process:
        yield process


@pytest.fixture
def shop(runbooks: Path, prometheus: PrometheusProcess) -> Callable[..., Catalogue]:
    """The catalogue of a shop with these fleets."""

    def write(**fleets: Any) -> Catalogue:
        connections = {
            "prometheus": {"type": "http", "url": prometheus.url},
            "nobody": {"type": "http", "url": f"http://127.0.0.1:{free_port()}"},
            "web1": {"type": "local"},
        }
        severities: dict[str, Any] = {"critical": {}, "warning": {}, "info": {}}
        system = {"id": "shop", "display": "Shop", "title": "A shop", "severities": severities}
        (runbooks / "shop.yaml").write_text(json.dumps({**system, "connections": connections, "fleets": fleets}))
        return Catalogue.load(runbooks)

    return write


def test_the_gateway_sees_a_storm_although_nothing_is_repaired_and_stops_tells_it(
    nightshift: Command, ledger: Ledger, shop: Callable[..., Catalogue]
) -> None:
    catalogue = shop(nodes=STORM, calm={**WATCHED, "at_most_changed": 1}, dark={**STORM, "prometheus": "nobody"})

    assert watch_fleets(ledger, catalogue) == 0

    found = {fleet["fleet"]: fleet for fleet in nightshift("stops", "--json").json["fleets"]}
    assert {name: fleet["state"] for name, fleet in found.items()} == {
        "calm": "well",
        "dark": "unknown",
        "nodes": "storm",
    }
    assert (found["nodes"]["members"], found["nodes"]["unhealthy"]) == (5, ["n1", "n2"])
    assert found["dark"]["unknown"] == "nobody did not answer: ConnectError"
    shown = " ".join(nightshift("stops").out.split())
    assert "Everything needs an approval, in any mode" in shown
    assert "storm: 2 of 5 unhealthy (n1, n2)" in shown
    assert "health not known: nobody did not answer: ConnectError" in shown
    assert "calm" not in shown


def test_stops_tells_when_a_cool_down_ends(nightshift: Command, ledger: Ledger, shop: Callable[..., Catalogue]) -> None:
    watch_fleets(ledger, shop(nodes=STORM))
    # The same nodes, seen by a query that calls all of them healthy: the storm is over.
    watch_fleets(ledger, shop(nodes={**STORM, "healthy": "node_known"}))

    (fleet,) = nightshift("stops", "--json").json["fleets"]

    assert fleet["state"] == "cool-down"
    left = datetime.fromisoformat(fleet["until"]) - datetime.now(UTC)
    assert timedelta(minutes=29) < left <= timedelta(minutes=30)
    assert "cool-down after a storm" in " ".join(nightshift("stops").out.split())


def test_maintenance_is_announced_shown_and_ended_and_all_of_it_is_on_record(
    nightshift: Command, ledger: Ledger, shop: Callable[..., Catalogue]
) -> None:
    shop()

    assert nightshift("maintenance", "start", "shop", "--for", "2h", "--reason", "new [red]kernel").code == 0

    (entry,) = nightshift("maintenance", "list", "--json").json
    left = datetime.fromisoformat(entry["until"]) - datetime.now(UTC)
    assert timedelta(minutes=119) < left <= timedelta(hours=2)
    assert (entry["number"], entry["system"], entry["reason"]) == (1, "shop", "new [red]kernel")
    assert nightshift("stops", "--json").json["maintenance"] == [entry]
    assert "maintenance 1" in nightshift("stops").out
    assert "kernel" in nightshift("maintenance", "list").out
    assert nightshift("maintenance", "end", "1").code == 0
    again = nightshift("maintenance", "end", "1")
    assert (again.code, "is not under way" in again.err) == (1, True)
    assert "No maintenance is under way." in nightshift("maintenance", "list").out
    with ledger.engine.connect() as connection:
        rows = connection.execute(text("select kind from journal order by sequence")).scalars().all()
    assert rows == ["maintenance_started", "maintenance_ended"]
    assert ledger.journal.first_broken_link() is None


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("shpo", "--for", "2h", "--reason", "x"), 1, "There is no system 'shpo'"),
        (("shop", "--reason", "x"), 2, "--for"),
        (("shop", "--for", "2h"), 2, "--reason"),
        (("shop", "--for", "for ever", "--reason", "x"), 2, "duration"),
    ],
)
def test_maintenance_needs_a_system_that_exists_an_end_and_a_reason(
    nightshift: Command, shop: Callable[..., Catalogue], arguments: tuple[str, ...], code: int, said: str
) -> None:
    shop()

    answer = nightshift("maintenance", "start", *arguments)

    assert answer.code == code
    assert said in " ".join(answer.err.split())


def test_the_doctor_tells_of_fleets_whose_queries_do_not_answer(
    nightshift: Command, shop: Callable[..., Catalogue]
) -> None:
    shop(
        well={**WATCHED, "at_least_healthy": "60%"},
        empty={**STORM, "healthy": "no_such_metric"},
        dark={**STORM, "prometheus": "nobody", "planned_upgrade": "up"},
        tight={**WATCHED, "at_least_healthy": "90%"},
    )

    symptoms = json.loads(nightshift("doctor", "--system", "shop", "--json").out)["symptoms"]

    found: dict[str, list[tuple[str, str]]] = {}
    for symptom in symptoms:
        if symptom["subject"].startswith("fleet "):
            found.setdefault(symptom["subject"][6:], []).append((symptom["level"], symptom["what"]))
    assert found == {
        "well": [("ok", "Fleet well: 5 members, 2 measured unhealthy.")],
        "empty": [("error", "Its health cannot be told: the query 'healthy' has an empty answer.")],
        "dark": [
            ("error", "Whether an upgrade is under way cannot be told: nobody did not answer: ConnectError."),
            ("error", "Its health cannot be told: nobody did not answer: ConnectError."),
        ],
        "tight": [
            (
                "warning",
                "Fleet tight: nothing can ever be done, of 5 none may ever be missing, with at least 90 % healthy.",
            )
        ],
    }


def test_status_and_metrics_tell_how_fleets_are_and_how_far_approvals_are(
    nightshift: Command, ledger: Ledger, shop: Callable[..., Catalogue]
) -> None:
    watch_fleets(ledger, shop(nodes=STORM, dark={**STORM, "prometheus": "nobody"}))
    trouble = Trouble("shop", "X", "f", TARGET, Severity.WARNING, "t")
    with ledger.engine.begin() as connection:
        incident, _ = ledger.incidents.open(connection, trouble)
    ledger.approvals.ask(incident, plan(line("one")), None, 600, needed=2)
    assert ledger.approvals.decide(incident, plan(line("one")).digest, Decision("Ana", "test", approve=True)) is None

    said = " ".join(nightshift("status").out.split())
    work = json.loads(nightshift("status", "--json").out)["work"]

    assert f"Incident {incident} waits: 1 of 2 people have approved (Ana), 1 more is needed." in said
    assert "Fleet nodes of shop: 2 of 5 unhealthy; storm or its cool-down for" in said
    assert "Fleet dark of shop: 0 of 0 unhealthy; health not known for" in said
    (waiting,) = work["approvals"]
    assert (waiting["incident"], waiting["approved_by"], waiting["needed"]) == (incident, ["Ana"], 2)
    told = generate_latest(Metrics(ledger).registry).decode()
    assert 'nightshift_fleet_unhealthy{fleet="nodes",system="shop"} 2.0' in told
    assert 'nightshift_fleet_unknown_seconds{fleet="nodes",system="shop"} 0.0' in told
    dark = re.search(r'nightshift_fleet_unknown_seconds\{fleet="dark",system="shop"\} (\S+)', told)
    assert dark is not None
    assert float(dark[1]) > 0
