"""People, their tokens and codes, and quorums: on a real database, raced, replayed, revoked, guessed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pyotp
import pytest
from cryptography.fernet import Fernet
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import MetaData, Table, select, text

from nightshift.catalogue import Catalogue
from nightshift.catalogue.deciding import decide
from nightshift.gateway.app import create_app
from nightshift.remediation.decisions import Decision, Identity, NotTaken, Vouched, Why
from nightshift.remediation.identity import CodeKey, Identification, NotIdentifiedError, hash_of, subject_of_codes
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.models import Action, Plan, Quantity, Risk, Severity, Target
from nightshift.remediation.people import Token
from nightshift.settings import Settings

TARGET = Target(system="shop", path=("host", "web1", "filesystem", "/data"))
KEY = CodeKey(Fernet.generate_key().decode())
PEOPLE = [f"person {number}" for number in range(20)]


def plan(amount: int = 100) -> Plan:
    action = Action(
        kind="delete_files",
        target=TARGET,
        title="Delete old logs",
        reason="old",
        risk=Risk.HIGH,
        bound=Quantity(amount=amount, unit="bytes"),
        undo="cannot be undone",
        arguments={"amount": amount},
    )
    return Plan(goal="space", target=TARGET, actions=(action,))


def asked(ledger: Ledger, *, needed: int = 1, seconds: float = 600, requester: str | None = None) -> int:
    """An incident whose run has asked."""
    trouble = Trouble("shop", "HighDiskUsage", "disk-space-reclaim", TARGET, Severity.WARNING, "t")
    with ledger.engine.begin() as connection:
        incident, _ = ledger.incidents.open(connection, trouble)
    ledger.approvals.ask(incident, plan(), uuid4(), seconds, needed=needed, requester=requester)
    return incident


def enrol(ledger: Ledger, name: str) -> str:
    """Somebody new, and their token."""
    token = Token.new()
    ledger.people.add(name, author="root")
    ledger.people.add_token(name, token.id, hash_of(token), author="root")
    return token.text


def codes_of(ledger: Ledger, name: str) -> pyotp.TOTP:
    """The authenticator app of somebody who is enrolled."""
    secret = pyotp.random_base32()
    ledger.people.set_code(name, KEY.encrypted(secret), author="root", subject=subject_of_codes(name))
    return pyotp.TOTP(secret)


def now(ledger: Ledger) -> float:
    with ledger.engine.connect() as connection:
        return float(connection.execute(text("select extract(epoch from clock_timestamp())")).scalar_one())


def yes(who: Identity) -> Decision:
    return Decision.of(who, approve=True, comment="")


def kinds(ledger: Ledger, incident: int) -> list[Kind]:
    return [row.kind for row in ledger.journal.of(incident)]


def test_twenty_people_at_once_make_one_quorum_of_two(ledger: Ledger) -> None:
    incident = asked(ledger, needed=2)
    barrier = threading.Barrier(len(PEOPLE))

    def approve(name: str) -> NotTaken | None:
        barrier.wait()
        return ledger.approvals.decide(incident, plan().digest, Decision(name, "test", approve=True))

    with ThreadPoolExecutor(len(PEOPLE)) as threads:
        answers = list(threads.map(approve, PEOPLE))

    assert answers.count(None) == 2
    assert {refused.why for refused in answers if refused is not None} == {Why.DECIDED}
    (row,) = ledger.approvals.of(incident)
    assert (row.status, len(ledger.approvals.progress(row).approved_by)) == ("approved", 2)
    assert kinds(ledger, incident).count(Kind.DECIDED) == 2


def test_one_person_twenty_times_is_no_quorum(ledger: Ledger) -> None:
    incident = asked(ledger, needed=2)
    barrier = threading.Barrier(20)

    def approve(number: int) -> NotTaken | None:
        barrier.wait()
        name = ("Ana", "ana ", "ANA", "\uff21na")[number % 4]
        return ledger.approvals.decide(incident, plan().digest, Decision(name, "test", approve=True))

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(approve, range(20)))

    assert answers.count(None) == 1
    assert {refused.why for refused in answers if refused is not None} == {Why.SAID_ALREADY}
    still_open = ledger.approvals.open_one(incident)
    assert still_open is not None
    assert ledger.approvals.progress(still_open).missing == 1


def test_one_no_ends_it_also_from_who_had_approved(ledger: Ledger) -> None:
    incident = asked(ledger, needed=3)
    ledger.approvals.decide(incident, plan().digest, Decision("Ana", "test", approve=True))

    assert ledger.approvals.decide(incident, plan().digest, Decision("ana", "test", approve=False)) is None

    assert [row.status for row in ledger.approvals.of(incident)] == ["denied"]
    assert ledger.approvals.approved_plans(incident) == []


def test_half_a_quorum_expires_into_a_no_and_says_how_far_it_came(ledger: Ledger) -> None:
    incident = asked(ledger, needed=2)
    ledger.approvals.decide(incident, plan().digest, Decision("Ana", "test", approve=True))
    with ledger.engine.begin() as connection:
        connection.execute(text("update approval set expires_at = clock_timestamp()"))

    late = ledger.approvals.decide(incident, plan().digest, Decision("Bo", "test", approve=True))

    assert late is not None
    assert (late.why, "1 of 2 people have approved (Ana)" in late.text) == (Why.TOO_LATE, True)
    assert ledger.approvals.expire() == [incident]
    assert ledger.approvals.approved_plans(incident) == []
    assert ledger.journal.of(incident)[-1].entry["approvals"] == 1


def test_another_plan_needs_a_fresh_quorum_and_a_smaller_one_does_not(ledger: Ledger) -> None:
    incident = asked(ledger, needed=2)
    ledger.approvals.decide(incident, plan().digest, Decision("Ana", "test", approve=True))

    assert ledger.approvals.begun(incident, plan(50)) == plan()
    assert ledger.approvals.begun(incident, plan(200)) == plan(200)

    row = ledger.approvals.ask(incident, plan(200), uuid4(), 600, needed=2)
    assert ledger.approvals.progress(row).approved_by == ()
    replaced = ledger.approvals.decide(incident, plan().digest, Decision("Bo", "test", approve=True))
    assert replaced is not None
    assert replaced.why is Why.REPLACED


@pytest.mark.usefixtures("settings_of_test")
def test_two_terminals_race_for_the_last_approval(ledger: Ledger) -> None:
    """Two real processes with two people's tokens, and one that comes with the same person again."""
    incident = asked(ledger, needed=2)
    ana, bo = enrol(ledger, "Ana"), enrol(ledger, "Bo")
    command = [sys.executable, "-c", "from nightshift.gateway.cli import main; main()"]

    def terminal(token: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "NIGHTSHIFT_TOKEN": token}
        arguments = [*command, "approve", str(incident), "--yes"]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            arguments, env=environment, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True
        )

    racing = [terminal(token) for token in (ana, bo, ana)]
    said = [process.communicate(timeout=120) for process in racing]

    assert sorted(process.returncode for process in racing) == [0, 0, 1], said
    (row,) = ledger.approvals.of(incident)
    assert (row.status, set(ledger.approvals.progress(row).approved_by)) == ("approved", {"Ana", "Bo"})


def test_a_token_names_its_person_until_it_is_revoked(ledger: Ledger) -> None:
    token = enrol(ledger, "Ana")
    identification = Identification(ledger, KEY)

    who = identification.by_token(token, "test")
    assert (who.name, who.vouched) == ("Ana", Vouched.TOKEN)

    ledger.people.revoke("ANA", author="root")
    with pytest.raises(NotIdentifiedError, match="was revoked"):
        identification.by_token(token, "test")


def test_a_decision_under_way_loses_to_the_revocation_of_its_token(ledger: Ledger) -> None:
    incident, token = asked(ledger), enrol(ledger, "Ana")
    who = Identification(ledger, KEY).by_token(token, "test")
    ledger.people.remove("Ana", author="root")

    refused = ledger.approvals.decide(incident, plan().digest, yes(who))

    assert refused is not None
    assert refused.why is Why.NOT_IDENTIFIED


def test_a_decision_under_way_loses_to_new_codes(ledger: Ledger) -> None:
    incident = asked(ledger)
    ledger.people.add("Ana", author="root")
    code = codes_of(ledger, "Ana").at(int(now(ledger)))
    who = Identification(ledger, KEY).by_code("Ana", code, "test")
    codes_of(ledger, "Ana")

    refused = ledger.approvals.decide(incident, plan().digest, yes(who))

    assert refused is not None
    assert refused.why is Why.NOT_IDENTIFIED


def test_a_revoked_token_takes_its_half_of_a_quorum_along(ledger: Ledger) -> None:
    incident, token = asked(ledger, needed=2), enrol(ledger, "Ana")
    who = Identification(ledger, KEY).by_token(token, "test")
    assert ledger.approvals.decide(incident, plan().digest, yes(who)) is None

    ledger.people.revoke("Ana", author="root")

    row = ledger.approvals.open_one(incident)
    assert row is not None
    assert ledger.approvals.progress(row).approved_by == ()
    assert kinds(ledger, incident)[-1] is Kind.WITHDRAWN


def test_unknown_and_wrong_tokens_get_the_same_answer_and_are_recorded_without_the_secret(ledger: Ledger) -> None:
    real = Token.parse(enrol(ledger, "Ana"))
    assert real is not None
    wrong = Token(real.id, Token.new().secret)

    answers = []
    for shown in (wrong.text, Token.new().text, "rubbish", ""):
        with pytest.raises(NotIdentifiedError) as refused:
            Identification(ledger, KEY).by_token(shown, "test")
        answers.append(str(refused.value))

    assert set(answers) == {"This token is not known."}
    with ledger.engine.connect() as connection:
        rows = connection.execute(text("select entry::text from journal where kind = 'not_identified'")).scalars().all()
    assert len(rows) == 4
    assert not any(wrong.secret in row for row in rows)


def test_a_code_counts_once_also_for_twenty_at_once(ledger: Ledger) -> None:
    enrol(ledger, "Ana")
    app = codes_of(ledger, "Ana")
    incident = asked(ledger, needed=20)
    who = Identification(ledger, KEY).by_code("ana", app.at(int(now(ledger))), "test")
    barrier = threading.Barrier(20)

    def approve(_number: int) -> NotTaken | None:
        barrier.wait()
        return ledger.approvals.decide(incident, plan().digest, yes(who))

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(approve, range(20)))

    assert answers.count(None) == 1
    assert {refused.why for refused in answers if refused is not None} == {Why.CODE_USED}


def test_a_code_is_used_up_by_an_answer_that_was_refused(ledger: Ledger) -> None:
    """It stood readable in Prefect: nobody else may take it from there for another plan."""
    enrol(ledger, "Ana")
    app, incident = codes_of(ledger, "Ana"), asked(ledger)
    who = Identification(ledger, KEY).by_code("Ana", app.at(int(now(ledger))), "test")

    first = ledger.approvals.decide(incident, "0" * 64, yes(who))
    second = ledger.approvals.decide(incident, plan().digest, yes(who))

    assert [refused.why for refused in (first, second) if refused is not None] == [Why.NEVER_ASKED, Why.CODE_USED]


def test_codes_of_a_clock_one_step_away_count_and_of_two_do_not(ledger: Ledger) -> None:
    enrol(ledger, "Ana")
    app = codes_of(ledger, "Ana")
    identification = Identification(ledger, KEY)
    # In the middle of a half minute, so that it does not end while the test looks.
    while not 5 < now(ledger) % 30 < 25:
        threading.Event().wait(0.5)
    at = int(now(ledger))

    for drift in (-30, 0, 30):
        assert identification.by_code("Ana", app.at(at + drift), "test").name == "Ana"
    for drift in (-90, 90):
        with pytest.raises(NotIdentifiedError):
            identification.by_code("Ana", app.at(at + drift), "test")


def test_codes_cannot_be_guessed_however_many_try_at_once(ledger: Ledger) -> None:
    enrol(ledger, "Ana")
    app = codes_of(ledger, "Ana")
    barrier = threading.Barrier(20)

    def guess(name: str) -> Why:
        barrier.wait()
        with pytest.raises(NotIdentifiedError) as refused:
            Identification(ledger, KEY).by_code(name, "x", "test")
        return refused.value.why

    with ThreadPoolExecutor(20) as threads:
        same = list(threads.map(guess, ["Ana"] * 20))
        others = list(threads.map(guess, PEOPLE))

    assert same.count(Why.NOT_IDENTIFIED) == 5
    assert others.count(Why.NOT_IDENTIFIED) == 15  # 20 over all names, known or not
    with pytest.raises(NotIdentifiedError, match="too many failures") as blocked:
        Identification(ledger, KEY).by_code("Ana", app.at(int(now(ledger))), "test")
    assert blocked.value.retry_after is not None
    assert Identification(ledger, KEY).by_token(enrol(ledger, "Bo"), "test").name == "Bo"  # tokens go on


def test_a_dump_of_the_database_holds_neither_token_nor_secret(ledger: Ledger) -> None:
    token = enrol(ledger, "Ana")
    app, incident = codes_of(ledger, "Ana"), asked(ledger, needed=2)
    code = app.at(int(now(ledger)))
    ledger.approvals.decide(incident, plan().digest, yes(Identification(ledger, KEY).by_code("Ana", code, "test")))
    Identification(ledger, KEY).by_token(token, "test")

    with ledger.engine.connect() as connection:
        names = connection.execute(text("select tablename from pg_tables where schemaname = 'public'")).scalars().all()
        rows = [connection.execute(select(Table(name, MetaData(), autoload_with=connection))).all() for name in names]
    dump = str(rows)
    parsed = Token.parse(token)
    assert parsed is not None
    assert parsed.id in dump
    assert parsed.secret not in dump
    assert app.secret not in dump
    assert f'"{code}"' not in dump


def test_the_rules_of_the_catalogue_hold_for_every_way_in(ledger: Ledger, runbooks: Path) -> None:
    rules = "roles:\n  dba: { title: dba, people: [Ana, Bo] }\napproval: { roles: [dba], high: { quorum: 2 } }\n"
    file = runbooks / "shop.yaml"
    file.write_text(file.read_text().replace("connections:\n", f"{rules}connections:\n"))
    system = Catalogue.load(runbooks).systems["shop"]
    runbook, incident = system.runbooks["HighDiskUsage"], asked(ledger, needed=2, requester="bo")

    def answer(name: str, vouched: Vouched = Vouched.TOKEN) -> Why | None:
        decision = Decision(name, "test", approve=True, vouched=vouched)
        refused = decide(ledger, system, runbook, incident, plan().digest, decision)
        return refused.why if refused else None

    assert answer("Eve") is Why.WRONG_ROLE
    assert answer("BO") is Why.REQUESTER
    assert answer("Ana", Vouched.TYPED) is Why.NOT_PROVEN
    assert answer("ana") is None
    ledger.people.add("Ana", author="root")
    assert answer("Bo", Vouched.LOGIN) is Why.NOT_PROVEN
    said = [row.entry["why"] for row in ledger.journal.of(incident) if row.kind is Kind.ANSWER_REFUSED]
    assert said == ["wrong_role", "requester", "not_proven", "not_proven"]


@pytest.fixture
def client(ledger: Ledger, catalogue: Catalogue) -> Iterator[TestClient]:
    settings = Settings(home=Path("/nonexistent"), webhook_token=SecretStr("s3cret"))
    with TestClient(create_app(settings, ledger, catalogue)) as client:
        yield client


def test_over_http_a_token_decides_and_everything_else_gets_its_own_status(ledger: Ledger, client: TestClient) -> None:
    incident, token = asked(ledger), enrol(ledger, "Ana")
    body = {"digest": plan().digest, "decision": "approve", "comment": "go"}

    def post(number: object = incident, bearer: str = token, **changes: object) -> int:
        headers = {"Authorization": f"Bearer {bearer}"}
        return client.post(f"/incidents/{number}/decision", json={**body, **changes}, headers=headers).status_code

    assert [post(bearer="s3cret"), post(bearer=""), post(number=99, bearer="x")] == [401, 401, 401]
    assert [post(number=99), post(number="x"), post(digest="0" * 64)] == [404, 404, 404]
    assert [post(decision="maybe"), post(comment="\0"), post(more=1)] == [422, 422, 422]
    assert [post(alternative=0), post(alternative="1"), post(alternative=1)] == [422, 422, 422]
    assert post(comment="x" * 20_000) == 413

    taken = client.post(f"/incidents/{incident}/decision", json=body, headers={"Authorization": f"Bearer {token}"})
    assert (taken.status_code, taken.json()) == (200, {"status": "approved", "approvals": 1, "needed": 1})
    assert post() == 409
    assert [row.entry["person"] for row in ledger.journal.of(incident) if row.kind is Kind.DECIDED] == ["Ana"]


def test_over_http_an_alternative_is_chosen_by_its_number(ledger: Ledger, client: TestClient) -> None:
    incident, token = asked(ledger), enrol(ledger, "Ana")
    low = plan().actions[0].model_copy(update={"risk": Risk.LOW, "title": "Clean a cache"})
    high = low.model_copy(update={"risk": Risk.HIGH, "title": "Delete a backup"})
    both = plan().model_copy(update={"actions": (low, high), "separable": True})
    ledger.approvals.ask(incident, both, uuid4(), 600)

    body = {"digest": both.digest, "decision": "approve", "alternative": 1}
    taken = client.post(f"/incidents/{incident}/decision", json=body, headers={"Authorization": f"Bearer {token}"})

    assert (taken.status_code, taken.json()) == (200, {"status": "approved", "approvals": 1, "needed": 1})
    assert [one.actions for one in ledger.approvals.approved_plans(incident)] == [(low,)]
