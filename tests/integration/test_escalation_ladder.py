"""Escalation: who is called when, whatever dies meanwhile, and that a person can stop it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from lab.gateway_process import GatewayProcess
from lab.prefect_double import PrefectDouble
from lab.sinks import HttpSink, MailServer
from nightshift.catalogue import Catalogue
from nightshift.gateway.escalation import escalate
from nightshift.gateway.intake import take_in
from nightshift.gateway.metrics import Metrics
from nightshift.gateway.notify import Notifier
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Claim, Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.reports import report_of
from nightshift.remediation.models import Alert, Outcome, Plan, Severity, Target

LADDER = """
id: shop
display: Shop
title: A shop
match:
  - { job: shop }
severities:
  critical: { notify: [pager, chat] }
  warning: { notify: [chat] }
  info: {}
channels:
  pager: { kind: pagerduty, title: PagerDuty, url: { env: SHOP_PAGER } }
  chat: { kind: slack, title: "#chat", url: { env: SHOP_CHAT } }
  mail: { kind: email, title: boss@example.com, url: { env: SHOP_MAIL } }
roles:
  on-call: { title: on-call engineer }
  senior: { title: senior engineer, contact: "Slack @senior" }
  boss: { title: the boss }
escalation:
  - { after: 0, severities: [critical], roles: [on-call] }
  - { after: 15m, severities: [critical], roles: [senior], instruction: join the response }
  - { after: 30m, severities: [critical], roles: [boss], channels: [mail] }
  - { after: 30m, severities: [critical], roles: [on-call], channels: [mail, chat] }
  - { after: 2h, severities: [warning], roles: [senior] }
  - { when: customers are affected, severities: [critical], roles: [boss] }
connections:
  web1: { type: local, instances: ["web1:9100"] }
runbooks:
  HighDiskUsage:
    summary: a disk is nearly full
    severity: critical
    flow: disk-space-reclaim
    target: { host: { label: instance }, filesystem: { label: mountpoint } }
    policy: {}
  ManyDisks:
    summary: a disk is nearly full, with conditions of its own
    severity: critical
    flow: disk-space-reclaim
    target: { host: { label: instance }, filesystem: { label: mountpoint } }
    policy: {}
    escalation:
      - { when: cleaning up did not help, seen: repair_failed, roles: [senior], channels: [mail] }
      - { when: it stays full, seen: not_repaired, roles: [boss], channels: [chat] }
      - { when: several disks are full at once, seen: several_targets, roles: [boss], channels: [mail] }
  QueueBacklog:
    summary: a queue grows
    severity: critical
    planned_flow: queue-backlog
"""
TARGET = Target(system="shop", path=("host", "web1", "filesystem", "/data"))


@pytest.fixture
def runbooks(tmp_path: Path) -> Path:
    folder = tmp_path / "runbooks"
    folder.mkdir()
    (folder / "shop.yaml").write_text(LADDER)
    return folder


class Night:
    """Incidents, and the time that passes for them."""

    def __init__(self, ledger: Ledger, catalogue: Catalogue) -> None:
        self.ledger, self.catalogue = ledger, catalogue

    def open(
        self,
        severity: Severity = Severity.CRITICAL,
        options: dict[str, Any] | None = None,
        *,
        alert: str = "HighDiskUsage",
        target: Target = TARGET,
    ) -> int:
        trouble = Trouble("shop", alert, "disk-space-reclaim", target, severity, "A disk is full")
        with self.ledger.engine.begin() as connection:
            return self.ledger.incidents.open(connection, trouble, options=options)[0]

    def claim(self, incident: int) -> Claim:
        claim = self.ledger.incidents.claim(incident, 1, uuid4(), 3600)
        assert claim is not None
        return claim

    def end(self, incident: int, outcome: Outcome) -> None:
        with self.ledger.engine.begin() as connection:
            self.ledger.incidents.end(connection, incident, outcome, "for the test")

    def pass_minutes(self, minutes: float) -> None:
        """As if everything so far had happened earlier; the database's clock cannot be turned."""
        with self.ledger.engine.begin() as connection:
            moved = [f"{name} = {name} - interval '{minutes} minutes'" for name in ("opened_at", "next_step_at")]
            connection.execute(text(f"update incident set {', '.join(moved)}"))  # noqa: S608 - our own number
        self.climb()

    def climb(self) -> int:
        return escalate(self.ledger, self.catalogue)

    def told(self, incident: int) -> list[tuple[str, str]]:
        """Step and channel of each message of the ladder."""
        return [(row.step, row.channel) for row in self.ledger.deliveries.of(incident) if row.step]

    def steps(self, incident: int) -> list[float]:
        """The steps in the journal, by their time in minutes."""
        return [row.entry["after"] / 60 for row in self.ledger.journal.of(incident) if row.kind is Kind.ESCALATED]


@pytest.fixture
def night(ledger: Ledger, catalogue: Catalogue) -> Night:
    return Night(ledger, catalogue)


def test_each_step_is_taken_at_its_time_once_and_told_to_its_channels_once(night: Night) -> None:
    incident = night.open()
    night.climb()
    assert night.told(incident) == [("ladder 0s", "pager"), ("ladder 0s", "chat")]

    night.pass_minutes(14)
    assert night.steps(incident) == [0]
    night.pass_minutes(2)
    night.climb()
    assert night.steps(incident) == [0, 15]
    night.pass_minutes(60)
    for _ in range(3):
        night.climb()

    assert night.steps(incident) == [0, 15, 30]
    assert night.told(incident)[2:] == [
        ("ladder 900s", "pager"),
        ("ladder 900s", "chat"),
        ("ladder 1800s", "mail"),
        ("ladder 1800s", "chat"),
    ]
    assert night.ledger.escalations.due(10) == []
    assert night.ledger.journal.first_broken_link() is None


def _working(night: Night, incident: int) -> None:
    night.claim(incident)


def _verifying(night: Night, incident: int) -> None:
    night.ledger.incidents.move(night.claim(incident), "verifying")


def _waiting(night: Night, incident: int) -> None:
    claim = night.claim(incident)
    night.ledger.approvals.ask(incident, Plan(goal="space", target=TARGET), claim.flow_run_id, 3600)
    night.ledger.incidents.move(claim, "waiting")


def _escalated(night: Night, incident: int) -> None:
    night.end(incident, Outcome.ESCALATED)


def _not_approved(night: Night, incident: int) -> None:
    night.end(incident, Outcome.NOT_APPROVED)


@pytest.mark.parametrize("state", [_working, _verifying, _waiting, _escalated, _not_approved])
def test_neither_a_flow_at_work_nor_verification_nor_an_open_approval_delays_a_step(
    night: Night, state: Callable[[Night, int], None]
) -> None:
    incident = night.open()
    night.climb()
    state(night, incident)

    night.pass_minutes(16)

    assert night.steps(incident) == [0, 15]


@pytest.mark.parametrize("outcome", [Outcome.RESOLVED, Outcome.EXPECTED])
def test_an_end_that_needs_nobody_stops_the_ladder_and_withdraws_what_was_not_told_yet(
    night: Night, outcome: Outcome
) -> None:
    incident = night.open()
    night.climb()
    assert night.ledger.deliveries.undelivered() == 2

    night.end(incident, outcome)
    night.pass_minutes(60)

    assert night.steps(incident) == [0]
    assert night.ledger.deliveries.undelivered() == 0
    assert list(night.ledger.deliveries.take(10, 60)) == []


@pytest.mark.parametrize("end", [None, Outcome.ESCALATED])
def test_an_acknowledgement_stops_the_ladder_and_is_in_the_journal_once(night: Night, end: Outcome | None) -> None:
    incident = night.open()
    night.climb()
    if end:
        night.end(incident, end)

    assert night.ledger.incidents.acknowledge(incident, "ada")
    assert not night.ledger.incidents.acknowledge(incident, "bob")
    night.pass_minutes(60)

    assert night.steps(incident) == [0]
    assert night.ledger.deliveries.undelivered() == 0
    people = [row.entry for row in night.ledger.journal.of(incident) if row.kind is Kind.ACKNOWLEDGED]
    assert people == [{"person": "ada"}]


def test_after_an_acknowledgement_a_more_urgent_alert_does_not_start_the_ladder_again(night: Night) -> None:
    incident = night.open(Severity.WARNING)
    night.ledger.incidents.acknowledge(incident, "ada")
    row = night.ledger.incidents.get(incident)
    with night.ledger.engine.begin() as connection:
        assert row is not None
        night.ledger.incidents.raise_severity(connection, row, Severity.CRITICAL)

    night.pass_minutes(60)

    assert night.steps(incident) == []


def test_a_raised_severity_is_climbed_from_the_opening_on(night: Night) -> None:
    incident = night.open(Severity.WARNING)
    night.climb()
    night.pass_minutes(20)
    assert night.steps(incident) == []
    row = night.ledger.incidents.get(incident)
    with night.ledger.engine.begin() as connection:
        assert row is not None
        night.ledger.incidents.raise_severity(connection, row, Severity.CRITICAL)

    night.climb()

    assert night.steps(incident) == [0, 15]


def test_steps_that_came_due_while_no_gateway_ran_are_taken_by_the_next_one(night: Night) -> None:
    incident = night.open()

    night.pass_minutes(50)

    assert night.steps(incident) == [0, 15, 30]


def test_what_a_person_started_by_hand_calls_nobody(night: Night) -> None:
    incident = night.open(options={"by": "command line, login ada"})

    night.pass_minutes(60)

    assert night.told(incident) == []


def test_conditions_are_shown_to_people_and_never_run_by_the_clock(night: Night) -> None:
    incident = night.open()

    night.pass_minutes(1000)

    bodies = [row.body for row in night.ledger.deliveries.of(incident)]
    assert all("Call also:\n- if customers are affected: the boss" in body for body in bodies)
    assert "senior engineer (Slack @senior): join the response" in bodies[2]
    assert f"nightshift incidents acknowledge {incident}" in bodies[0]


def _seen(night: Night, incident: int) -> list[tuple[str, str]]:
    return [told for told in night.told(incident) if told[0].startswith("seen ")]


@pytest.mark.parametrize("changed", [True, False])
def test_who_is_to_be_called_when_a_repair_did_not_help_is_called_once_it_did_not(night: Night, changed: bool) -> None:
    incident = night.open(alert="ManyDisks")
    night.pass_minutes(2)
    if changed:
        night.ledger.journal.record(incident, Kind.INTENT, {"action": {"title": "remove old logs"}})
    night.pass_minutes(2)
    assert _seen(night, incident) == [], "the flow is at work"

    night.end(incident, Outcome.ESCALATED)
    for _ in range(3):
        night.pass_minutes(2)

    told = [("seen repair_failed", "mail"), ("seen not_repaired", "chat")]
    assert _seen(night, incident) == (told if changed else told[1:])
    page = next(row for row in night.ledger.deliveries.of(incident) if row.step == "seen not_repaired")
    assert page.subject == "[shop] It stays full: A disk is full"
    assert "Called: the boss" in page.body
    assert "escalated after 6m: the boss in chat" in report_of(night.ledger, incident)
    night.pass_minutes(60)
    assert night.ledger.escalations.due(10) == [], "what was not seen at its end is not waited for"


def test_nobody_is_called_about_a_repair_that_helped_or_was_taken_over(night: Night) -> None:
    resolved, taken = (
        night.open(alert="ManyDisks"),
        night.open(alert="ManyDisks", target=Target(system="shop", path=("host", "web1", "filesystem", "/taken"))),
    )
    assert night.ledger.incidents.acknowledge(taken, "ada")
    night.end(resolved, Outcome.RESOLVED)
    night.end(taken, Outcome.ESCALATED)

    night.pass_minutes(5)

    assert _seen(night, resolved) == _seen(night, taken) == []


def test_the_same_trouble_on_several_targets_calls_who_is_to_be_called_then(night: Night) -> None:
    first = night.open(alert="ManyDisks")
    night.open()  # another alert
    night.pass_minutes(2)
    assert _seen(night, first) == []

    second = night.open(alert="ManyDisks", target=Target(system="shop", path=("host", "web2", "filesystem", "/data")))
    night.pass_minutes(2)
    night.pass_minutes(2)

    assert _seen(night, first) == _seen(night, second) == [("seen several_targets", "mail")]


def test_gateways_racing_for_the_same_step_take_it_once(night: Night, ledger: Ledger, catalogue: Catalogue) -> None:
    incidents = []
    for number in range(6):
        target = Target(system="shop", path=("host", "web1", "filesystem", f"/m{number}"))
        trouble = Trouble("shop", "HighDiskUsage", "disk-space-reclaim", target, Severity.CRITICAL, "full")
        with ledger.engine.begin() as connection:
            incidents.append(ledger.incidents.open(connection, trouble)[0])
    with ThreadPoolExecutor(6) as threads:
        for _ in range(3):
            list(threads.map(lambda _: escalate(ledger, catalogue), range(6)))

    for incident in incidents:
        assert night.told(incident) == [("ladder 0s", "pager"), ("ladder 0s", "chat")]
        assert night.steps(incident) == [0]


def test_a_system_that_left_the_catalogue_ends_its_ladders(night: Night, ledger: Ledger) -> None:
    incident = night.open()

    assert escalate(ledger, Catalogue({})) == 1

    assert night.told(incident) == []
    assert ledger.escalations.due(10) == []


def test_an_alert_without_flow_pages_at_once_as_the_first_step_and_climbs_on(
    night: Night, ledger: Ledger, catalogue: Catalogue
) -> None:
    labels = {"alertname": "QueueBacklog", "job": "shop"}
    ledger.inbox.accept(
        [Alert(source="am", fingerprint="a1", status="firing", labels=labels, starts_at=datetime.now(UTC))]
    )
    take_in(ledger, catalogue, Metrics(ledger))
    (incident,) = ledger.incidents.list()

    night.climb()
    assert len(ledger.deliveries.of(incident.id)) == 2  # not the same twice
    assert "customers are affected" in ledger.deliveries.of(incident.id)[0].body
    night.pass_minutes(16)

    assert night.told(incident.id) == [
        ("ladder 0s", "pager"),
        ("ladder 0s", "chat"),
        ("ladder 900s", "pager"),
        ("ladder 900s", "chat"),
    ]


def test_the_report_tells_who_was_called_what_arrived_and_who_took_it(night: Night) -> None:
    incident = night.open()
    night.climb()
    first, _ = night.ledger.deliveries.of(incident)
    night.ledger.deliveries.delivered(first.id)
    night.ledger.deliveries.delivered(first.id)
    night.ledger.incidents.acknowledge(incident, "ada")

    report = report_of(night.ledger, incident)

    told = report.split("## Who was told")[1].split("##")[0]
    assert "pager: Critical: A disk is full — delivered" in told
    assert "chat: Critical: A disk is full — **not delivered yet**" in told
    assert "\\x5b" not in told, "people are not shown escapes of our own brackets"
    assert "escalated at once: on-call engineer in pager, chat" in told
    assert "taken over by ada" in told
    assert [row.kind for row in night.ledger.journal.of(incident)].count(Kind.DELIVERED) == 1


# --- channels, as they are


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpSink]:
    with HttpSink() as sink:
        monkeypatch.setenv("SHOP_PAGER", sink.pagerduty_url)
        monkeypatch.setenv("SHOP_CHAT", sink.slack_url)
        yield sink


@pytest.fixture
def mail(monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServer]:
    with MailServer() as server:
        monkeypatch.setenv("SHOP_MAIL", server.url)
        yield server


@pytest.fixture
def notifier(ledger: Ledger, catalogue: Catalogue) -> Iterator[Notifier]:
    notifier = Notifier(ledger, catalogue, Metrics(ledger), default_url=None)
    yield notifier
    notifier.close()


def _page(ledger: Ledger, channel: str, subject: str = "A subject", body: str = "A body") -> int:
    trouble = Trouble("shop", "X", None, TARGET, Severity.CRITICAL, "t")
    with ledger.engine.begin() as connection:
        incident, _ = ledger.incidents.open(connection, trouble)
        ledger.deliveries.page(connection, incident, channel, subject, body)
    return incident


def test_slack_gets_an_attachment_in_which_nothing_is_interpreted(
    ledger: Ledger, notifier: Notifier, sink: HttpSink
) -> None:
    _page(ledger, "chat", subject="Full & broken", body="line\n<!channel> *b* <http://x|y>")

    notifier.send_due()

    (body,) = sink.slack
    (attachment,) = body["attachments"]
    assert set(attachment) <= {"title", "title_link", "text", "fallback", "callback_id", "footer", "color", "mrkdwn_in"}
    assert (attachment["title"], attachment["color"], attachment["mrkdwn_in"]) == ("Full &amp; broken", "danger", [])
    assert "<" not in attachment["text"]
    assert ledger.deliveries.undelivered() == 0


def test_pagerduty_gets_an_event_that_rings_and_a_repeat_of_it_is_the_same_page(
    ledger: Ledger, notifier: Notifier, sink: HttpSink
) -> None:
    incident = _page(ledger, "pager", subject="It is broken", body="Look.")
    sink.lose_answers = 1

    notifier.send_due()
    assert ledger.deliveries.undelivered() == 1
    time.sleep(1.1)
    notifier.send_due()

    assert ledger.deliveries.undelivered() == 0
    assert len(sink.events) == 2
    (event,) = sink.pages.values()
    assert (event["event_action"], event["payload"]["severity"], event["payload"]["summary"]) == (
        "trigger",
        "critical",
        "It is broken",
    )
    assert event["payload"]["custom_details"] == {"details": "Look."}

    _page(ledger, "pager", subject="It is worse")
    notifier.send_due()
    assert len(sink.pages) == 2  # another page of the same incident rings again
    assert ledger.deliveries.of(incident)[0].tries == 2


def test_mail_is_delivered(ledger: Ledger, notifier: Notifier, mail: MailServer) -> None:
    _page(ledger, "mail", subject="It is broken", body="Look.\nNow.")

    notifier.send_due()

    (received,) = mail.mails
    assert (received["Subject"], mail.recipients) == ("It is broken", ["oncall@example.com"])
    content = received.get_body(("plain", "html"))
    assert content is not None
    assert "Look." in content.get_content()


@pytest.mark.parametrize(
    ("channel", "variable", "secret", "error"),
    [
        ("pager", "SHOP_PAGER", "http://127.0.0.1:1/v2/enqueue", "no routing key"),
        ("pager", "SHOP_PAGER", "", "routing key is empty"),
        ("pager", "SHOP_PAGER", "http://hush@127.0.0.1:1/v2/enqueue", "sending failed: ConnectError"),
        ("chat", "SHOP_CHAT", "http://127.0.0.1:1/hush", "sending failed: ConnectError"),
        ("chat", "SHOP_CHAT", "https://hush:port/x", "cannot be read"),
    ],
)
def test_a_wrong_secret_is_named_and_never_shown(
    ledger: Ledger,
    notifier: Notifier,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    channel: str,
    variable: str,
    secret: str,
    error: str,
) -> None:
    monkeypatch.setenv(variable, secret)
    incident = _page(ledger, channel)

    notifier.send_due()

    (message,) = ledger.deliveries.of(incident)
    assert message.delivered_at is None
    assert error in message.last_error
    assert "hush" not in message.last_error + "".join(str(vars(record)) for record in caplog.records)


def _ended(ledger: Ledger, incident: int, outcome: Outcome) -> None:
    """As its run ends it."""
    claim = ledger.incidents.claim(incident, 1, uuid4(), 30)
    assert claim is not None
    clear = ("Resolved: it is broken", "It works again.") if outcome is Outcome.RESOLVED else None
    assert ledger.incidents.finish(claim, outcome, "measured", (), clear)


def test_who_was_called_is_told_that_it_is_over_and_a_pager_is_quiet_again(
    ledger: Ledger, notifier: Notifier, sink: HttpSink
) -> None:
    incident = _page(ledger, "pager", subject="It is broken")
    elsewhere = Trouble("shop", "X", None, Target(system="shop", path=("host", "web9")), Severity.CRITICAL, "t")
    with ledger.engine.begin() as connection:
        other, _ = ledger.incidents.open(connection, elsewhere)
        ledger.deliveries.page(connection, other, "pager", "Another", "Look.")
        ledger.deliveries.page(connection, incident, "chat", "It is broken", "Look.")
        ledger.deliveries.page(connection, incident, "pager", "It is still broken", "Look.", step="next")
    notifier.send_due()
    assert len(sink.pages) == 3

    _ended(ledger, incident, Outcome.RESOLVED)
    notifier.send_due()

    (left,) = sink.pages.values()
    assert left["payload"]["summary"] == "Another"
    told = [attachment for message in sink.slack for attachment in message["attachments"]]
    assert [(one["title"], one["color"]) for one in told] == [
        ("It is broken", "danger"),
        ("Resolved: it is broken", "good"),
    ]
    assert ledger.deliveries.undelivered() == 0
    _ended(ledger, other, Outcome.ESCALATED)
    notifier.send_due()
    assert len(sink.pages) == 1


def test_where_nobody_was_called_nobody_is_told_that_it_is_over(
    ledger: Ledger, notifier: Notifier, sink: HttpSink
) -> None:
    with ledger.engine.begin() as connection:
        incident, _ = ledger.incidents.open(connection, Trouble("shop", "X", None, TARGET, Severity.CRITICAL, "t"))
        ledger.deliveries.notify(connection, incident, "chat", "An approval waits", "Look.")
    notifier.send_due()

    _ended(ledger, incident, Outcome.RESOLVED)
    notifier.send_due()

    assert len(sink.slack) == 1


def test_what_a_channel_refuses_is_told_with_its_code(ledger: Ledger, notifier: Notifier, sink: HttpSink) -> None:
    sink.down = True
    incident = _page(ledger, "chat")

    notifier.send_due()

    assert ledger.deliveries.of(incident)[0].last_error == "the channel answered with 503"


# --- the gateway as it runs


def eventually(what: Callable[[], Any], seconds: float = 40) -> Any:
    give_up_at = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < give_up_at, "it did not happen in time"
        time.sleep(0.05)
    return value


@pytest.fixture
def quick_ladder(runbooks: Path) -> None:
    """Seconds instead of minutes."""
    shop = runbooks / "shop.yaml"
    shop.write_text(shop.read_text().replace("15m", "4s").replace("30m", "8s"))


def test_a_ladder_is_climbed_and_delivered_over_the_deaths_of_gateway_and_channels(
    quick_ladder: None,  # noqa: ARG001 - it changes the catalogue
    database_url: str,
    runbooks: Path,
    ledger: Ledger,
    sink: HttpSink,
    mail: MailServer,
) -> None:
    sink.down = True
    channels = {"SHOP_PAGER": sink.pagerduty_url, "SHOP_CHAT": sink.slack_url, "SHOP_MAIL": mail.url}
    trouble = Trouble("shop", "HighDiskUsage", "disk-space-reclaim", TARGET, Severity.CRITICAL, "A disk is full")
    with (
        PrefectDouble() as prefect,
        GatewayProcess(
            database_url=database_url, prefect_api_url=prefect.url, runbooks=runbooks, **channels
        ) as gateway,
    ):
        with ledger.engine.begin() as connection:
            incident, _ = ledger.incidents.open(connection, trouble)
        eventually(lambda: sink.requests >= 2)
        gateway.kill()
        time.sleep(8)  # all steps come due while nobody is there; what was under way has been refused
        assert sink.slack == []
        sink.down = False
        with ledger.engine.begin() as connection:  # instead of waiting for a minute
            connection.execute(text("update delivery set due_at = now() where delivered_at is null"))
        gateway.start()

        eventually(lambda: len(mail.mails) == 1 and ledger.deliveries.undelivered() == 0, seconds=90)
        gateway.kill()
        gateway.start()
        time.sleep(3)  # what is sent twice would come now

        assert sorted(event["payload"]["summary"] for event in sink.pages.values()) == [
            "[shop] Critical: A disk is full",
            "[shop] Not over after 4.0s: A disk is full",
        ]
        assert len(sink.slack) == 3
        assert len(mail.mails) == 1
        assert "Traceback" not in gateway.log()
        assert gateway.stop() == 0
    kinds = [row.kind for row in ledger.journal.of(incident)]
    assert (kinds.count(Kind.ESCALATED), kinds.count(Kind.DELIVERED)) == (3, 6)
    assert ledger.journal.first_broken_link() is None


def test_a_gateway_killed_while_a_channel_was_slow_leaves_its_message_to_the_next_one(
    database_url: str, runbooks: Path, ledger: Ledger, sink: HttpSink
) -> None:
    sink.hang.clear()
    with (
        PrefectDouble() as prefect,
        GatewayProcess(
            database_url=database_url, prefect_api_url=prefect.url, runbooks=runbooks, SHOP_CHAT=sink.slack_url
        ) as gateway,
    ):
        incident = _page(ledger, "chat", subject="slow")
        eventually(lambda: sink.requests)
        gateway.kill()
        assert ledger.deliveries.of(incident)[0].delivered_at is None
        sink.hang.set()
        sink.slack.clear()
        with ledger.engine.begin() as connection:  # instead of waiting for a minute
            connection.execute(text("update delivery set due_at = now() where delivered_at is null"))
        gateway.start()

        eventually(lambda: ledger.deliveries.of(incident)[0].delivered_at)

    assert "slow" in [body["attachments"][0]["title"] for body in sink.slack]
