"""`nightshift why` on a real ledger: whatever happened, it is explained, and never against what the ledger says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from lab.notebook import Notebook, line, plan
from lab.postgres import PostgresServer
from nightshift.catalogue import Catalogue
from nightshift.catalogue.by_hand import trouble_by_hand
from nightshift.gateway import webhook
from nightshift.gateway.cli import why_facts
from nightshift.gateway.intake import take_in
from nightshift.gateway.metrics import Metrics
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.errors import LeaseLostError, OutcomeUnknownError
from nightshift.remediation.gate import Execution, Gate
from nightshift.remediation.ledger import Ledger, schema
from nightshift.remediation.ledger.approvals import Decision
from nightshift.remediation.ledger.evidence import Evidence
from nightshift.remediation.ledger.incidents import Claim
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.switches import Scope
from nightshift.remediation.models import Action, Mode, Outcome, Plan, Target
from nightshift.remediation.permission import Limits
from nightshift.remediation.why.answering import explain
from nightshift.remediation.why.explanation import Explanation
from nightshift.remediation.why.facts import Running
from nightshift.remediation.why.selector import Selector

Command = Callable[..., Any]
DISK = {"alertname": "HighDiskUsage", "job": "shop", "instance": "web1:9100", "mountpoint": "/data"}
HOSTILE = "\x1b[31m[red]x[/red] $(id) {{ 7*7 }} <script>\u202e\r\n| `x`"


def webhook_alert(status: str = "firing", fingerprint: str = "a1b2c3d4", **labels: Any) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {**DISK, **labels},
        "annotations": {},
        "startsAt": datetime.now(UTC).isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": fingerprint,
    }


def receive(ledger: Ledger, *alerts: dict[str, Any]) -> None:
    """What the gateway does with a body, without its HTTP side."""
    body = {"version": "4", "receiver": "nightshift", "groupKey": "{}", "alerts": list(alerts)}
    delivery = webhook.read(json.dumps(body).encode(), "alertmanager")
    ledger.inbox.accept(delivery.alerts)
    ledger.sources.refused([one.entry("alertmanager") for one in delivery.refused])


def intake(ledger: Ledger, catalogue: Catalogue) -> None:
    while take_in(ledger, catalogue, Metrics(ledger)):
        pass


def test_an_alert_is_found_by_its_name_its_fingerprint_its_labels_and_its_incident(
    nightshift: Command, ledger: Ledger, catalogue: Catalogue
) -> None:
    receive(ledger, webhook_alert(), webhook_alert(fingerprint="ffff0000", mountpoint="/backup"))
    intake(ledger, catalogue)
    backup = next(row for row in ledger.incidents.list() if row.target.endswith("backup"))

    for what in ("ffff", "HighDiskUsage{mountpoint=/backup}", '{mountpoint="/backup"}', str(backup.id)):
        told = nightshift("why", what, "--json").json
        assert (told["case"], told["incident"]["id"]) == ("not_sent_yet", backup.id), what
    assert len(nightshift("why", "HighDiskUsage", "--json").json["matches"]) == 2
    listed = nightshift("why", "HighDiskUsage").out
    assert "2 alerts match" in listed
    assert "mountpoint=/backup" in listed


def test_it_reads_as_a_short_story_with_the_command_that_changes_it(
    nightshift: Command, ledger: Ledger, catalogue: Catalogue
) -> None:
    receive(ledger, webhook_alert(instance="web9:9100"))
    intake(ledger, catalogue)

    told = nightshift("why", "HighDiskUsage")

    assert told.code == 0
    assert "the label instance='web9:9100' names no host of Shop" in told.out
    assert "known: web1, web1:9100, web2, web2:9100" in " ".join(told.out.split())
    assert "NOT delivered yet (0 tries)" in told.out


def test_a_refused_alert_is_explained_by_its_name_and_counted(nightshift: Command, ledger: Ledger) -> None:
    bad = webhook_alert(alertname="Broken", note="x\0y")
    receive(ledger, bad)
    receive(ledger, bad)

    told = nightshift("why", "Broken", "--json").json

    assert told["case"] == "refused_at_the_door"
    assert "a label holds a NUL character" in told["because"]
    assert told["matches"][0]["times"] == 2
    assert nightshift("why", "a1b2c3d4", "--json").json["case"] == "refused_at_the_door"


def test_what_never_came_is_said_so_and_where_to_look(nightshift: Command, ledger: Ledger) -> None:
    assert "NIGHTSHIFT_ALERTMANAGERS" in nightshift("why", "NeverHeardOf").out
    assert nightshift("why", "77").code == 1
    assert nightshift("why", "Disk{a=~x}").code == 2
    del ledger


def test_an_alertmanager_that_cannot_be_asked_is_named(
    nightshift: Command, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.sources.asked("am", "it did not answer")
    monkeypatch.setenv("NIGHTSHIFT_ALERTMANAGERS", '{"am": "http://127.0.0.1:1"}')

    told = nightshift("why", "NeverHeardOf", "--json").json

    assert told["case"] == "never_received"
    assert "http\\x3a//127.0.0.1:1 does not answer" in told["because"]


def test_it_answers_while_the_catalogue_is_broken(
    nightshift: Command, ledger: Ledger, catalogue: Catalogue, runbooks: Path
) -> None:
    receive(ledger, webhook_alert(), webhook_alert(fingerprint="beef0001", alertname="Unknown"))
    intake(ledger, catalogue)
    (runbooks / "shop.yaml").write_text("id: [")

    told = nightshift("why", "HighDiskUsage", "--json").json
    assert (told["case"], told["catalogue_read"]) == ("not_sent_yet", False)
    told = nightshift("why", "Unknown", "--json").json
    assert told["case"] == "not_covered"
    assert "has no runbook for the alert" in told["because"]


def test_hostile_text_of_alerts_and_people_stays_text(
    nightshift: Command, ledger: Ledger, catalogue: Catalogue
) -> None:
    receive(ledger, webhook_alert(alertname=HOSTILE, instance=HOSTILE))
    intake(ledger, catalogue)
    ledger.switches.stop(Scope(), reason=HOSTILE, author=HOSTILE, seconds=None)

    for arguments in (("a1b2c3d4",), ("a1b2c3d4", "--json"), (HOSTILE,), ("x\x1b[2J[red]never",)):
        told = nightshift("why", *arguments)
        raw = (told.out + told.err).replace("\n", "")
        assert raw.isprintable(), [c for c in raw if not c.isprintable()]
    assert "[red]" not in nightshift("why", "a1b2c3d4").out


class Suspended(Exception):  # noqa: N818 - how a waiting run ends
    """The process of a flow run that waits for an approval goes away."""


class World:
    """One ledger in which anything may happen, in any order, through the real parts."""

    def __init__(self, ledger: Ledger, catalogue: Catalogue, folder: Path) -> None:
        self.ledger, self.catalogue = ledger, catalogue
        self.notebook = Notebook(folder / "notebook", fail=self._fail)
        self.claims: dict[int, Claim] = {}

    def _fail(self, action: Action) -> None:
        if action.arguments["text"] == "doubtful":
            raise OutcomeUnknownError("the answer was lost")

    def do(self, verb: str, number: int) -> None:
        getattr(self, verb)(number)

    def fire(self, number: int) -> None:
        labels = ({}, {"mountpoint": "/b"}, {"instance": "web9"}, {"alertname": "QueueBacklog"}, {"system": "x"})
        status = "resolved" if number % 7 == 6 else "firing"
        receive(self.ledger, webhook_alert(status, f"{number % 5:04d}{'0' * 4}", **labels[number % 5]))

    def fire_badly(self, number: int) -> None:
        receive(self.ledger, webhook_alert(fingerprint=f"bad{number}", alertname=f"Bad{number}", x="\0"))

    def take_in(self, _number: int) -> None:
        intake(self.ledger, self.catalogue)

    def send(self, _number: int) -> None:
        with self.ledger.engine.begin() as connection:
            for row in self.ledger.dispatching.take(connection, 10):
                self.ledger.dispatching.sent(connection, [row])

    def claim(self, number: int) -> None:
        if (row := self._pick(number, "open")) is not None and row.flow:
            claim = self.ledger.incidents.claim(row.id, row.attempt, uuid4(), 60)
            assert claim is not None
            self.claims[row.id] = claim

    def resume(self, number: int) -> None:
        row = self._pick(number, "waiting")
        if row is not None and self.ledger.approvals.open_one(row.id) is None:
            claim = self.ledger.incidents.claim(row.id, row.attempt, row.flow_run_id, 60)
            assert claim is not None
            self.claims[row.id] = claim

    def lose(self, number: int) -> None:
        if (row := self._pick(number, "working")) is not None:
            table = schema.incident
            with self.ledger.engine.begin() as connection:
                past = datetime.now(UTC) - timedelta(minutes=1)
                connection.execute(update(table).where(table.c.id == row.id).values(claimed_until=past))
            with self.ledger.engine.begin() as connection:
                (lost,) = [one for one in self.ledger.incidents.lost(connection, 99) if one.id == row.id]
                self.ledger.incidents.try_again(connection, lost, "It was killed.", 5)

    def work(self, number: int) -> None:
        row = self._pick(number, "working")
        if row is None or (claim := self.claims.get(row.id)) is None or claim.attempt != row.attempt:
            return
        with suppress(Suspended, LeaseLostError):
            self._run(row, claim, number)

    def _run(self, row: Any, claim: Claim, number: int) -> None:
        kind, auto, unreachable, verdict = number % 4, number // 4 % 2, number // 8 % 6 == 5, number // 48 % 4
        target = Target.from_key(row.target)
        record = self.ledger.journal.record
        if unreachable:
            self.ledger.incidents.finish(claim, Outcome.ESCALATED, "web1 does not answer.")
            return
        record(row.id, Kind.DIAGNOSED, {"measured": "91 % used", "findings": [], "evidence": ""})
        texts = (("one",), (), ("changed",), ("one", "doubtful"))[kind]
        made = plan(*(line(text, target=target) for text in texts), target=target)
        record(row.id, Kind.PLANNED, {"plan": made.model_dump(mode="json"), "digest": made.digest})

        def ask(shown: Plan) -> None:
            self.ledger.approvals.ask(row.id, shown, claim.flow_run_id, 60)
            self.ledger.incidents.move(claim, "waiting")
            raise Suspended

        mode = (Mode.PROPOSE, Mode.AUTO)[auto]
        limits = Limits(dry_run=bool(row.options.get("dry_run")))
        with ClaimKeeper(self.ledger, claim, 60) as keeper:
            gate = Gate(self.ledger, keeper, row.runbook, self.notebook.kinds, {}, mode, ask, limits)
            self._finish(row, claim, made, gate.carry_out(made, enough=lambda: False), verdict)

    def _finish(self, row: Any, claim: Claim, made: Plan, execution: Execution, verdict: int) -> None:
        changed = any(one.kind is Kind.INTENT for one in self.ledger.journal.of(row.id))
        outcome, reason = execution.ended or Outcome.ESCALATED, execution.reason or "Nothing may be done by itself."
        if changed:
            healthy = verdict > 0
            self.ledger.incidents.move(claim, "verifying")
            if verdict == 3:
                return
            record = {"healthy": healthy, "reason": "as measured", "measured": "42 %", "chart": ""}
            self.ledger.journal.record(row.id, Kind.JUDGED, record)
            outcome = execution.ended or (Outcome.RESOLVED if healthy else Outcome.ESCALATED)
        elif execution.ended is None and (not made.actions or row.options.get("dry_run")):
            outcome, reason = Outcome.EXPECTED, "Nothing to do."
        self.ledger.incidents.finish(claim, outcome, reason, [("critical", "subject", "body")])

    def decide(self, number: int) -> None:
        if (row := self._pick(number, "waiting")) is None or (asked := self.ledger.approvals.open_one(row.id)) is None:
            return
        if number % 3 == 2:
            table = schema.approval
            with self.ledger.engine.begin() as connection:
                past = datetime.now(UTC) - timedelta(minutes=1)
                connection.execute(update(table).where(table.c.id == asked.id).values(expires_at=past))
            if number % 2:
                self.ledger.approvals.expire()
            return
        self.ledger.approvals.decide(row.id, asked.digest, Decision("ann", "test", number % 3 == 0))

    def acknowledge(self, number: int) -> None:
        if (rows := self.ledger.incidents.list()) and number % 2:
            self.ledger.incidents.acknowledge(rows[number % len(rows)].id, "ann")

    def stop(self, number: int) -> None:
        in_force = self.ledger.switches.in_force()
        if in_force and number % 2:
            self.ledger.switches.start(in_force[0].id, author="ann")
        else:
            self.ledger.switches.stop(Scope(system="shop"), reason="release", author="ann", seconds=None)

    def set_mode(self, number: int) -> None:
        self.ledger.modes.set(list(Mode)[number % 4], "shop", None, reason="care", author="ann")

    def let_time_pass(self, number: int) -> None:
        table = schema.incident
        hours = timedelta(hours=2 * (number % 2), minutes=20)
        with self.ledger.engine.begin() as connection:
            connection.execute(update(table).where(table.c.status == "ended").values(ended_at=table.c.ended_at - hours))

    def dry_run(self, number: int) -> None:
        trouble = trouble_by_hand(self.catalogue, "disk-space-reclaim", "shop", "web1:/data")
        with self.ledger.engine.begin() as connection:
            self.ledger.incidents.open(connection, trouble, options={"dry_run": bool(number % 2)})

    def send_messages(self, number: int) -> None:
        for row in self.ledger.deliveries.take(10, 60):
            if number % 2:
                self.ledger.deliveries.delivered(row.id)
            else:
                self.ledger.deliveries.failed(row.id, row.tries, "it answered with 503")

    def _pick(self, number: int, status: str) -> Any:
        rows = [row for row in self.ledger.incidents.list() if row.status == status]
        return rows[number % len(rows)] if rows else None


VERBS = (
    "fire",
    "fire_badly",
    "take_in",
    "send",
    "claim",
    "resume",
    "lose",
    "work",
    "decide",
    "acknowledge",
    "stop",
    "set_mode",
    "let_time_pass",
    "dry_run",
    "send_messages",
)
USUAL = ("fire", "take_in", "claim", "work", "decide", "resume", "work")
STEPS = st.tuples(st.sampled_from((*VERBS, *USUAL)), st.integers(0, 191))
NO_FLOW = {"unknown_system", "no_runbook", "label_unknown", "label_missing", "flow_is_planned", "no_flow"}
ESCALATED = {
    "outcome_is_not_known",
    "did_not_help",
    "attempts_used_up",
    "could_not_look",
    "nothing_allowed",
    "handed_over",
}


@pytest.fixture(scope="module")
def worlds(postgres: PostgresServer) -> Iterator[Callable[[], Ledger]]:
    """Ledgers, each new and empty."""
    made: list[tuple[str, Ledger]] = []

    def new() -> Ledger:
        while made:
            name, old = made.pop()
            old.close()
            postgres.drop_database(name)
        name = f"why_{uuid4().hex}"
        made.append((name, Ledger.connect(postgres.create_database(name, template="migrated"))))
        return made[-1][1]

    yield new
    for name, ledger in made:
        ledger.close()
        postgres.drop_database(name)


# Without shrinking: a failure prints its history, and every history takes a second.
@settings(
    max_examples=15,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
@given(history=st.lists(STEPS, min_size=10, max_size=30))
def test_whatever_happened_is_explained_and_never_against_the_ledger(
    settings_of_test: None,
    monkeypatch: pytest.MonkeyPatch,
    worlds: Callable[[], Ledger],
    catalogue: Catalogue,
    history: list[tuple[str, int]],
) -> None:
    del settings_of_test
    ledger = worlds()
    # Asking dead ports for every explanation costs seconds and says nothing here.
    monkeypatch.setattr(why_facts, "_running", lambda *_: Running())
    with TemporaryDirectory() as folder:
        world = World(ledger, catalogue, Path(folder))
        world.fire(0)
        for verb, number in history:
            world.do(verb, number)
        check_all(ledger)


def run(kind: int, *, auto: bool = False, unreachable: bool = False, verdict: int = 1) -> int:
    """The number that lets :meth:`World.work` go this way."""
    return kind + 4 * (auto + 2 * ((5 if unreachable else 0) + 6 * verdict))


TAKEN = [("take_in", 0), ("claim", 0)]
ASKED = [*TAKEN, ("work", run(0))]
DONE = [*TAKEN, ("work", run(0, auto=True))]


@pytest.mark.parametrize(
    ("history", "case"),
    [
        ([], "waits_for_intake"),
        ([("take_in", 0)], "not_sent_yet"),
        ([("take_in", 0), ("send", 0)], "waits_for_a_worker"),
        (TAKEN, "at_work"),
        ([*TAKEN, ("lose", 0)], "not_sent_yet"),
        (ASKED, "waits_for_approval"),
        ([*ASKED, ("decide", 0)], "decided_and_not_resumed"),
        ([*ASKED, ("decide", 0), ("resume", 0), ("work", run(0))], "repaired"),
        ([*ASKED, ("decide", 1), ("resume", 0), ("work", run(0))], "denied"),
        ([*ASKED, ("decide", 5), ("resume", 0), ("work", run(0))], "not_answered"),
        ([*TAKEN, ("stop", 0), ("work", run(0))], "refused_by_stop"),
        ([*TAKEN, ("set_mode", 0), ("work", run(0))], "refused_by_mode"),
        ([*TAKEN, ("work", run(2, auto=True))], "refused_by_target"),
        ([*TAKEN, ("work", run(1))], "nothing_to_do"),
        ([*TAKEN, ("work", run(0, unreachable=True))], "could_not_look"),
        ([*TAKEN, ("work", run(0, auto=True, verdict=0))], "did_not_help"),
        ([*TAKEN, ("work", run(0, auto=True, verdict=3))], "is_verified"),
        ([*DONE, ("fire", 0), ("take_in", 0)], "within_the_cool_down"),
        ([("dry_run", 1), *TAKEN, ("work", run(0))], "dry_run"),
    ],
)
def test_each_way_through_the_real_parts_is_told_as_what_it_was(
    settings_of_test: None,
    monkeypatch: pytest.MonkeyPatch,
    ledger: Ledger,
    catalogue: Catalogue,
    tmp_path: Path,
    history: list[tuple[str, int]],
    case: str,
) -> None:
    del settings_of_test
    monkeypatch.setattr(why_facts, "_running", lambda *_: Running())
    world = World(ledger, catalogue, tmp_path)
    world.fire(0)
    for verb, number in history:
        world.do(verb, number)

    newest = ledger.incidents.list(limit=1)
    told = explained(ledger, alert_of(ledger)) if case != "dry_run" else explained(ledger, None, newest[0].id)
    assert told.answer.case == case, told
    check_all(ledger)


def alert_of(ledger: Ledger) -> Any:
    with ledger.engine.connect() as connection:
        return connection.execute(select(schema.alert).order_by(schema.alert.c.last_seen.desc()).limit(1)).one()


def check_all(ledger: Ledger) -> None:
    """Explain everything that there is, and hold it against what the tables say."""
    with ledger.engine.connect() as connection:
        alerts = connection.execute(select(schema.alert)).all()
        refused = connection.execute(select(schema.refused_alert)).all()
    for row in alerts:
        check(ledger, explained(ledger, row), row, row.incident_id)
    for incident in ledger.incidents.list(limit=1000):
        joined = [row for row in alerts if row.incident_id == incident.id]
        newest = max(joined, key=lambda row: row.last_seen, default=None)
        check(ledger, explained(ledger, None, incident.id), newest, incident.id)
    for row in refused:
        with Evidence.of(ledger.engine) as evidence:
            # The same name may have been refused more than once, each time with another beginning.
            (seen,) = [one for one in evidence.refused(Selector(row.name)) if one.first_seen == row.first_seen]
            told = explain(why_facts.facts_about(ledger, evidence, query=row.name, refused=seen))
        assert told.answer.case == "refused_at_the_door"


def explained(ledger: Ledger, row: Any, incident_id: int | None = None) -> Explanation:
    with Evidence.of(ledger.engine) as evidence:
        if row is None:
            assert incident_id is not None
            alert, incident = evidence.newest_alert_of(incident_id), evidence.incident(incident_id)
            return explain(why_facts.facts_about(ledger, evidence, query="x", alert=alert, incident=incident))
        meant = Selector(None, row.fingerprint)
        (alert,) = [one for one in evidence.alerts(meant) if one.starts_at == row.starts_at]
        incident = evidence.incident(alert.incident_id) if alert.incident_id is not None else None
        return explain(why_facts.facts_about(ledger, evidence, query="x", alert=alert, incident=incident))


def check(ledger: Ledger, told: Explanation, alert: Any, incident_id: int | None) -> None:
    case = told.answer.case
    incident = ledger.incidents.get(incident_id) if incident_id is not None else None
    assert case in allowed(ledger, alert, incident), (told, alert, incident)
    assert told.answer.because
    assert told.changes
    for line_ in (told.answer.because, *told.told):
        assert line_.isprintable()


def allowed(ledger: Ledger, alert: Any, incident: Any) -> set[str]:
    """The cases that do not contradict the rows, by rules of the test's own."""
    if alert is not None and not alert.taken_in and (incident is None or incident.status == "ended"):
        return {"waits_for_intake"}
    if incident is None:
        return {"resolved_before_seen"} if alert.status == "resolved" else set()
    if incident.flow is None:
        return NO_FLOW
    match incident.status:
        case "open":
            return {"waits_for_a_worker"} if incident.sends else {"not_sent_yet"}
        case "working":
            return {"at_work", "waits_for_another_repair"}
        case "verifying":
            return {"is_verified"}
        case "waiting":
            asked = ledger.approvals.open_one(incident.id)
            is_open = asked is not None and asked.expires_at > datetime.now(UTC)
            return {"waits_for_approval"} if is_open else {"decided_and_not_resumed"}
    return after_the_end(ledger, alert, incident)


def after_the_end(ledger: Ledger, alert: Any, incident: Any) -> set[str]:
    journal = ledger.journal.of(incident.id)
    fires = alert is not None and alert.status == "firing" and alert.last_seen > incident.ended_at
    late = fires and alert.last_seen > incident.ended_at + timedelta(hours=1)
    if late and incident.acknowledged_by is not None:
        return {"held_by_a_person"}
    if incident.options.get("dry_run"):
        return {"dry_run"}
    if fires and incident.outcome in ("resolved", "expected"):
        return {"within_the_cool_down"}
    if incident.outcome == "not_approved":
        (last,) = [row for row in journal if row.kind is Kind.DECIDED][-1:]
        return {"not_answered"} if last.entry.get("expired") else {"denied"}
    if incident.outcome == "escalated":
        guards = {f"refused_by_{row.entry['guard'].replace('-', '_')}" for row in journal if row.kind is Kind.REFUSED}
        return ESCALATED | guards
    return {"repaired"} if incident.outcome == "resolved" else {"nothing_to_do"}
