"""Causes and effects on a real ledger: one incident per cause, every alert accounted for, and nobody called twice."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Row, func, select, update

from lab.notebook import Notebook, line, plan
from lab.prefect_double import PrefectDouble
from nightshift.catalogue import Catalogue
from nightshift.gateway.causes import correlate
from nightshift.gateway.dispatch import dispatch
from nightshift.gateway.escalation import escalate
from nightshift.gateway.intake import take_in
from nightshift.gateway.metrics import Metrics
from nightshift.gateway.prefect_api import PrefectApi
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.errors import WaitsForCauseError
from nightshift.remediation.gate import Gate
from nightshift.remediation.joined_effects import joined_effects
from nightshift.remediation.ledger import Ledger, schema
from nightshift.remediation.ledger.incidents import Claim, Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Action, Alert, Mode, Outcome, Plan, Severity, Target

NOW = datetime.now(UTC) - timedelta(minutes=30)
Command = Callable[..., Any]
MORE_RUNBOOKS = """\
  LogDiskUsage:
    summary: the disk of the logs is nearly full
    severity: warning
    flow: disk-space-reclaim
    target: { host: { label: instance }, filesystem: { label: mountpoint } }
    policy: {}
  PodDown:
    summary: a pod is down
    severity: critical
    planned_flow: pod-crash-loop
  Errors: { summary: requests fail, severity: warning, planned_flow: http-error-rate-response }
  Slow: { summary: requests are slow, severity: warning, planned_flow: request-latency-response }
"""
RULES = """
settle: {settle}
hold: {hold}
causes:
  - name: disk-and-what-is-on-it
    systems: [shop]
    cause: {{ alerts: [HighDiskUsage], kind: filesystem }}
    effects:
      - {{ alerts: [LogDiskUsage, PodDown, Slow], labels: {{ instance: instance }} }}
    wait_for_cause: {wait}
    why: nothing can be written there any more
  - name: pods-and-their-callers
    systems: [shop]
    cause: {{ alerts: [PodDown] }}
    effects: [{{ alerts: [Errors], anywhere: true }}]
    why: calls of a pod that is down fail
same:
  - {{ name: workload, systems: [shop], alerts: [PodDown], workload: [deployment], why: one deployment }}
"""


class Shop:
    """One ledger with the intake of a gateway, step by step."""

    def __init__(self, ledger: Ledger, runbooks: Path) -> None:
        self.ledger, self.metrics, self._folder = ledger, Metrics(ledger), runbooks
        with (runbooks / "shop.yaml").open("a") as file:
            file.write(MORE_RUNBOOKS)
        self.rules()

    def rules(self, settle: str = "0s", hold: str = "1h", wait: str = "0s") -> None:
        (self._folder / "correlation.yaml").write_text(RULES.format(settle=settle, hold=hold, wait=wait))
        self.catalogue = Catalogue.load(self._folder)

    def take(self, *alerts: Alert) -> None:
        self.ledger.inbox.accept(alerts)
        self.work()

    def work(self) -> None:
        while take_in(self.ledger, self.catalogue, self.metrics) + correlate(self.ledger, self.catalogue):
            pass

    def incidents(self) -> list[Row[Any]]:
        return self.ledger.incidents.list(limit=1000)[::-1]

    def live(self) -> list[Row[Any]]:
        return [row for row in self.incidents() if row.status != "ended"]

    def get(self, incident: int) -> Row[Any]:
        row = self.ledger.incidents.get(incident)
        assert row is not None
        return row

    def of(self, name: str) -> Row[Any]:
        (row,) = [row for row in self.incidents() if row.runbook == name]
        return row

    def alerts(self) -> list[Row[Any]]:
        with self.ledger.engine.connect() as connection:
            return list(connection.execute(select(schema.alert)))

    def kinds(self, incident: int) -> list[Kind]:
        return [row.kind for row in self.ledger.journal.of(incident)]

    def waiting_pages(self, incident: int) -> list[str]:
        return [row.subject for row in self.ledger.deliveries.of(incident) if row.withdrawn_at is None]

    def claim(self, incident: int) -> Claim:
        claim = self.ledger.incidents.claim(incident, self.get(incident).attempt, uuid4(), 30)
        assert claim is not None
        return claim

    def end(self, incident: int, outcome: Outcome = Outcome.RESOLVED) -> None:
        with self.ledger.engine.begin() as connection:
            assert self.ledger.incidents.end(connection, incident, outcome, "for the test")

    def earlier(self, incident: int, seconds: float) -> None:
        """Let the end of an incident lie further back."""
        table = schema.incident
        then = table.c.ended_at - timedelta(seconds=seconds)
        with self.ledger.engine.begin() as connection:
            connection.execute(update(table).where(table.c.id == incident).values(ended_at=then))


def alert(name: str, number: int = 0, *, status: str = "firing", minute: float = 0, **labels: str) -> Alert:
    return Alert.model_validate(
        {
            "source": "alertmanager",
            "fingerprint": f"{name}-{number}",
            "status": status,
            "labels": {"alertname": name, "job": "shop", "instance": "web1:9100", "number": str(number), **labels},
            "starts_at": NOW - timedelta(minutes=5) + timedelta(minutes=minute),
        }
    )


def disk(number: int = 0, **more: Any) -> Alert:
    return alert("HighDiskUsage", number, **{"mountpoint": "/data", **more})


def log_disk(**more: Any) -> Alert:
    return alert("LogDiskUsage", **{"mountpoint": "/logs", **more})


@pytest.fixture
def shop(ledger: Ledger, runbooks: Path) -> Shop:
    return Shop(ledger, runbooks)


def test_an_effect_of_an_open_cause_joins_it_and_gets_no_action_event_or_page_of_its_own(shop: Shop) -> None:
    shop.take(disk())
    shop.take(log_disk(), alert("PodDown"), alert("Errors"), alert("Slow"))

    (cause,) = shop.incidents()
    assert {row.incident_id for row in shop.alerts()} == {cause.id}
    notes = {row.labels["alertname"]: row.note for row in shop.alerts()}
    assert notes["LogDiskUsage"] == (
        f"Effect of incident {cause.id} by the rule disk-and-what-is-on-it: nothing can be written there any more. "
        "Nothing is done about it by itself."
    )
    assert "by the rule pods-and-their-callers" in notes["Errors"]
    assert shop.waiting_pages(cause.id) == []


def test_an_effect_elsewhere_is_a_trouble_of_its_own(shop: Shop) -> None:
    shop.take(disk(), log_disk(instance="web2:9100"))

    assert [row.runbook for row in shop.live()] == ["HighDiskUsage", "LogDiskUsage"]


def test_effects_that_came_first_go_over_to_the_cause_and_nobody_is_called_about_them(shop: Shop) -> None:
    shop.take(alert("Errors"), alert("PodDown"), log_disk())
    assert [row.runbook for row in shop.live()] == ["LogDiskUsage"]
    before = shop.of("PodDown")
    assert shop.waiting_pages(before.id)

    shop.take(disk(minute=1))

    (cause,) = shop.live()
    assert cause.runbook == "HighDiskUsage"
    assert {row.incident_id for row in shop.alerts()} == {cause.id}
    effect = shop.of("LogDiskUsage")
    assert (effect.outcome, effect.cause_id, effect.cause_rule) == ("joined", cause.id, "disk-and-what-is-on-it")
    assert shop.waiting_pages(before.id) == []
    assert (shop.get(before.id).outcome, shop.get(before.id).cause_id) == ("escalated", cause.id)
    assert escalate(shop.ledger, shop.catalogue) <= 1
    assert Kind.JOINED in shop.kinds(effect.id)


@pytest.mark.parametrize("seed", range(2))
def test_a_storm_in_any_order_is_one_incident_with_every_alert(shop: Shop, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same each time
    storm = [alert("PodDown", each, deployment=f"d{each % 7}") for each in range(150)]
    storm += [alert("Errors", each, service=f"s{each}") for each in range(60)]
    storm += [alert("Slow", each) for each in range(60)] + [log_disk(), disk(), disk(1, replica="b")]
    storm += [alert("PodDown", 1000 + each, instance="web2:9100", deployment="far") for each in range(20)]
    chance.shuffle(storm)

    while storm:
        batch, storm = storm[: (size := chance.randint(1, 120))], storm[size:]
        shop.take(*batch)

    (cause,) = shop.live()
    assert cause.runbook == "HighDiskUsage"
    others = Counter(row.labels["alertname"] for row in shop.alerts() if row.incident_id != cause.id)
    # Pods of another host are another trouble; errors have two causes then, and the first rule's counts.
    assert others == {"PodDown": 20}
    assert all(row.taken_in and row.note and row.incident_id for row in shop.alerts())
    assert sum(kind.alerts for kind in shop.ledger.causes.kinds_of(cause.id)) == 273


def test_two_gateways_at_once_lose_and_double_nothing(shop: Shop) -> None:
    storm = [alert("PodDown", each, deployment=f"d{each % 5}") for each in range(400)] + [disk()]
    random.Random(7).shuffle(storm)  # noqa: S311 - the same each time
    barrier = threading.Barrier(2)

    def gateway(mine: list[Alert]) -> None:
        barrier.wait()
        for start in range(0, len(mine), 40):
            shop.ledger.inbox.accept(mine[start : start + 40])
            take_in(shop.ledger, shop.catalogue, shop.metrics)
            correlate(shop.ledger, shop.catalogue)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(gateway, (storm[::2], storm[1::2])))
    shop.work()

    (cause,) = shop.live()
    assert Counter(row.incident_id for row in shop.alerts()) == {cause.id: 401}
    swallowed = [row.entry for row in shop.ledger.journal.of(cause.id) if row.kind is Kind.SWALLOWED]
    assert len(swallowed) < 60
    assert shop.ledger.journal.first_broken_link() is None


def test_a_cause_is_as_urgent_as_its_most_urgent_effect(shop: Shop) -> None:
    shop.take(disk())
    assert shop.of("HighDiskUsage").severity == "warning"

    shop.take(alert("PodDown"))

    assert shop.of("HighDiskUsage").severity == "critical"


# --- pausing


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    return Notebook(tmp_path / "notebook")


def never_asked(_plan: Plan) -> None:
    pytest.fail("nobody was to be asked")


def carry_out(shop: Shop, claim: Claim, notebook: Notebook, *lines: str) -> None:
    target = Target.from_key(shop.get(claim.incident_id).target)
    actions = plan(*(line(text, target=target) for text in lines), target=target)
    with ClaimKeeper(shop.ledger, claim, 30) as keeper:
        gate = Gate(shop.ledger, keeper, "LogDiskUsage", notebook.kinds, {}, Mode.AUTO, never_asked)
        gate.carry_out(actions, enough=lambda: False)


def test_a_repair_is_paused_before_its_next_action_and_goes_on_when_the_cause_is_over(
    shop: Shop, notebook: Notebook
) -> None:
    shop.take(log_disk())
    effect = shop.of("LogDiskUsage").id
    claim = shop.claim(effect)

    def the_cause_comes(action: Action) -> None:
        if action.arguments["text"] == "one":
            shop.take(disk(minute=1))

    notebook.fail = the_cause_comes
    with pytest.raises(WaitsForCauseError) as waits:
        carry_out(shop, claim, notebook, "one", "two")

    cause = shop.of("HighDiskUsage").id
    assert waits.value.cause == cause
    assert notebook.lines == ["one"]
    assert shop.ledger.causes.release(claim, cause)
    row = shop.get(effect)
    assert (row.status, row.claim_token, row.attempt, row.cause_id) == ("open", None, 2, cause)
    # The lease is free for the cause.
    with shop.ledger.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(schema.lease)).scalar() == 0
        assert [incident.id for incident in shop.ledger.dispatching.take(connection, 10)] == [cause]
    assert shop.ledger.incidents.claim(effect, 2, uuid4(), 30) is None

    shop.end(cause)
    shop.work()

    assert shop.get(effect).under_cause_since is None
    with shop.ledger.engine.connect() as connection:
        assert [incident.id for incident in shop.ledger.dispatching.take(connection, 10)] == [effect]
    notebook.fail = lambda _action: None
    carry_out(shop, shop.claim(effect), notebook, "one", "two")
    assert notebook.lines == ["one", "two"]
    kinds = shop.kinds(effect)
    assert [kind for kind in kinds if kind in (Kind.PAUSED, Kind.RELEASED, Kind.WENT_ON)] == [
        Kind.PAUSED,
        Kind.RELEASED,
        Kind.WENT_ON,
    ]


def test_an_effect_waits_for_the_settling_time_too(shop: Shop) -> None:
    shop.rules(settle="2m")
    shop.take(log_disk())
    effect = shop.of("LogDiskUsage").id
    shop.claim(effect)
    shop.take(disk(minute=1))
    cause = shop.of("HighDiskUsage").id
    shop.end(cause)

    shop.work()
    assert shop.get(effect).under_cause_since is not None

    shop.earlier(cause, 121)
    shop.work()
    assert shop.get(effect).under_cause_since is None


def test_a_cause_in_the_hands_of_a_person_holds_its_effects_while_its_own_alert_fires(shop: Shop) -> None:
    shop.take(log_disk())
    effect = shop.of("LogDiskUsage").id
    shop.claim(effect)
    shop.take(disk(minute=1), alert("PodDown"))
    cause = shop.of("HighDiskUsage").id
    shop.end(cause, Outcome.ESCALATED)

    shop.work()
    row = shop.get(effect)
    assert (row.under_cause_since is not None, row.next_step_at) == (True, None)
    shop.take(alert("PodDown", 1))
    assert {row.incident_id for row in shop.alerts() if row.labels["alertname"] == "PodDown"} == {cause}

    shop.take(disk(minute=1, status="resolved"))
    row = shop.get(effect)
    assert row.under_cause_since is None
    assert row.next_step_at is not None
    # What fired on is a trouble of its own, and somebody is called about it.
    pods = shop.of("PodDown")
    assert shop.waiting_pages(pods.id)
    assert {row.incident_id for row in shop.alerts() if row.labels["alertname"] == "PodDown"} == {pods.id}
    assert Kind.HANDED_BACK in shop.kinds(cause)


def test_nobody_holds_effects_for_ever(shop: Shop) -> None:
    shop.rules(hold="10m")
    shop.take(disk(), alert("PodDown"))
    cause = shop.of("HighDiskUsage").id
    shop.end(cause, Outcome.ESCALATED)
    shop.work()
    assert [row.runbook for row in shop.incidents()] == ["HighDiskUsage"]

    shop.earlier(cause, 601)
    shop.work()

    assert shop.of("PodDown").outcome == "escalated"


def test_an_approval_that_an_effect_waits_for_is_not_needed_any_more(shop: Shop) -> None:
    shop.take(log_disk())
    effect = shop.of("LogDiskUsage").id
    claim = shop.claim(effect)
    shop.ledger.approvals.ask(effect, plan(line("one")), claim.flow_run_id, 3600)
    shop.ledger.incidents.move(claim, "waiting")

    shop.take(disk(minute=1))

    (approval,) = shop.ledger.approvals.of(effect)
    assert approval.status == "superseded"
    assert [row.id for row in shop.ledger.approvals.overtaken()] == [approval.id]
    row = shop.get(effect)
    assert (row.status, row.attempt) == ("open", 2)


def test_what_becomes_an_effect_takes_its_own_effects_along(shop: Shop) -> None:
    shop.take(alert("PodDown"), alert("Errors"))
    pods = shop.of("PodDown").id
    assert {row.incident_id for row in shop.alerts()} == {pods}

    shop.take(disk(minute=1))

    cause = shop.of("HighDiskUsage").id
    assert {row.incident_id for row in shop.alerts()} == {cause}
    shop.take(alert("Errors", 1))
    assert {row.incident_id for row in shop.alerts()} == {cause}


def test_a_second_better_cause_gets_what_the_first_had_swallowed(shop: Shop) -> None:
    shop.take(alert("PodDown", instance="web2:9100"))
    shop.take(alert("Errors"))
    far = shop.of("PodDown").id
    shop.take(disk(minute=1), alert("PodDown", 1))

    # Errors have two causes now. The oldest counts among those of the same rule.
    assert {row.incident_id for row in shop.alerts() if row.labels["alertname"] == "Errors"} == {far}
    assert Counter(row.incident_id for row in shop.alerts()) == {far: 2, shop.of("HighDiskUsage").id: 2}


def test_what_a_person_started_by_hand_is_left_alone(shop: Shop) -> None:
    target = Target(system="shop", path=("host", "web1", "filesystem", "/logs"))
    trouble = Trouble("shop", "LogDiskUsage", "disk-space-reclaim", target, Severity.WARNING, "by hand")
    with shop.ledger.engine.begin() as connection:
        by_hand, _ = shop.ledger.incidents.open(connection, trouble, options={"dry_run": False})
    shop.take(log_disk())

    shop.take(disk(minute=1))

    row = shop.get(by_hand)
    assert (row.status, row.under_cause_since) == ("open", None)


# --- waiting for the cause


def test_effects_wait_a_moment_for_their_cause_and_then_open_nothing(shop: Shop) -> None:
    shop.rules(wait="5m")
    shop.take(*(alert("PodDown", each, deployment=f"d{each % 3}") for each in range(40)), log_disk())
    assert shop.incidents() == []
    assert {row.note for row in shop.alerts()} == {"Waits a moment for its cause."}

    shop.take(disk(minute=1))

    (cause,) = shop.incidents()
    assert {row.incident_id for row in shop.alerts()} == {cause.id}


def test_without_a_cause_effects_open_one_incident_per_alert_and_workload(shop: Shop) -> None:
    shop.rules(wait="1s")
    # Errors are effects of pods that are down, and follow them.
    shop.take(*(alert("PodDown", each, deployment="api") for each in range(80)), alert("Errors"))
    assert shop.incidents() == []

    with shop.ledger.engine.begin() as connection:
        earlier = schema.alert.c.held_until - timedelta(seconds=60)
        seen = schema.alert.c.first_seen - timedelta(seconds=60)
        connection.execute(update(schema.alert).values(held_until=earlier, first_seen=seen))
    shop.work()

    (pods,) = shop.incidents()
    assert Counter(row.incident_id for row in shop.alerts()) == {pods.id: 81}


def test_alerts_that_come_later_do_not_prolong_the_wait(shop: Shop) -> None:
    shop.rules(wait="5m")
    shop.take(alert("PodDown", deployment="api"))
    with shop.ledger.engine.begin() as connection:
        connection.execute(update(schema.alert).values(first_seen=schema.alert.c.first_seen - timedelta(minutes=4)))
    shop.take(alert("PodDown", 1, deployment="api"))

    first, second = sorted(shop.alerts(), key=lambda row: row.fingerprint)
    assert second.held_until == first.first_seen + timedelta(minutes=5)


# --- showing


def test_it_is_shown_without_a_line_for_each_alert(shop: Shop, nightshift: Command) -> None:
    shop.take(log_disk())
    effect = shop.of("LogDiskUsage").id
    shop.claim(effect)
    shop.take(disk(minute=1), *(alert("PodDown", each) for each in range(300)))
    cause = shop.of("HighDiskUsage").id

    report = report_of(shop.ledger, cause)
    assert "301 alerts, 2 kinds" in report
    assert "Swallowed: 300 alerts, which are effects" in report
    assert f"incident {effect}, " in report
    assert len(report.splitlines()) < 40
    assert f"Caused by incident {cause}, which stands for it (rule disk-and-what-is-on-it)." in report_of(
        shop.ledger, effect
    )
    page = nightshift("incidents", "show", str(cause)).out
    assert "301 alerts, 2 kinds" in page
    assert len(page.splitlines()) < 45
    assert f"incident {cause}, by the rule disk-and-what-is-on-it" in nightshift("incidents", "show", str(effect)).out
    details = nightshift("incidents", "show", str(cause), "--json").json
    assert len(details["alerts"]) == 301
    assert [row["id"] for row in details["effects"]] == [effect]


def test_effects_are_told_apart_by_when_they_began(shop: Shop) -> None:
    shop.take(disk(minute=10), *(alert("PodDown", each, minute=13) for each in range(3)), log_disk(minute=1))
    cause = shop.of("HighDiskUsage").id

    joined = shop.ledger.causes.joined(cause)
    began = shop.ledger.causes.began(cause)

    assert [(one.name, one.alerts) for one in joined] == [("PodDown", 3), ("LogDiskUsage", 1)]
    details = [finding.detail for finding in joined_effects(joined, began)]
    assert [words in detail for words, detail in zip(("3m after", "9m before"), details, strict=True)] == [True, True]


def test_one_flow_run_for_the_cause_and_none_for_what_it_swallowed(shop: Shop) -> None:
    with PrefectDouble() as double:
        prefect = PrefectApi(double.url)
        shop.take(log_disk(), disk(), alert("PodDown"))
        while dispatch(shop.ledger, prefect, shop.metrics, 10):
            pass
        prefect.close()

    assert [run["tags"][0] for run in double.made.values()] == ["HighDiskUsage"]
