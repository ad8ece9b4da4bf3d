"""What a person does and sees in the Prefect UI, in a real browser."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pyotp
import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import text

from lab import troubles
from lab.alertmanager import AlertmanagerProcess
from lab.installation import Installation
from lab.patient_host import MIB, PatientHost
from lab.prefect_ui import PrefectUi, chromium
from nightshift.flows.approval import TYPED_VIA
from nightshift.remediation.ledger.journal import Kind

HOSTILE_LOGS = (
    "<img src=x onerror=alert(1)>.log.1",
    "{{ 7*7 }}[click](javascript:alert(2)).log.2",
    "| a | **b** `c`\n# heading.log.3",
    "<script>alert(3)<script>.log.4",
)
HOSTILE_COMMENT = "{{ 7*7 }} <img src=x onerror=alert(4)> [x](javascript:alert(5)) | **b** `c` $(reboot)\n# heading"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def ui(browser: Browser, installation: Installation) -> Iterator[PrefectUi]:
    """A fresh tab; whatever a test shows in it, no foreign script may run."""
    tab = PrefectUi(browser, installation.prefect_ui)
    yield tab
    scripts = tab.scripts_run
    tab.page.close()
    assert scripts == []


def waiting_incident(installation: Installation, alertmanager: AlertmanagerProcess, mount: str) -> int:
    """Fire the alert that asks; the incident once its flow run waits for an answer."""
    alertmanager.fire({"alertname": "DiskAsks", "system": "shop", "instance": "web1", "mountpoint": mount})
    incident = int(installation.incident("DiskAsks", mount.replace("/", "%2F")).id)
    installation.wait_for(incident, Kind.ASKED)
    installation.wait(lambda: installation.flow_run(incident)["state"]["name"] == "Suspended", "suspension")
    return incident


def full_disk(patient: PatientHost, mount: str) -> list[str]:
    """Old logs on a disk that is 90 % full."""
    logs = troubles.old_rotated_logs(patient, f"{mount}/log/shop.log", count=6, size=3 * MIB)
    troubles.fill_to(patient, mount, 90)
    return logs


def decisions(installation: Installation, incident: int) -> list[dict[str, Any]]:
    return [row.entry for row in installation.ledger.journal.of(incident) if row.kind is Kind.DECIDED]


def log_of_run(installation: Installation, incident: int) -> str:
    wanted = {"logs": {"flow_run_id": {"any_": [installation.flow_run(incident)["id"]]}}, "limit": 200}
    answer = httpx.post(f"{installation.settings.prefect_api_url}/logs/filter", json=wanted, trust_env=False)
    return "\n".join(line["message"] for line in answer.raise_for_status().json())


def test_a_person_reads_the_plan_and_approves_it_in_the_form(
    installation: Installation, alertmanager: AlertmanagerProcess, patient: PatientHost, ui: PrefectUi
) -> None:
    logs = full_disk(patient, "/data11")
    incident = waiting_incident(installation, alertmanager, "/data11")

    ui.open_run(installation.flow_run(incident)["id"])
    form = ui.open_form()
    expect(form).to_contain_text("A filesystem is nearly full (Shop, web1 /data11)")
    expect(form).to_contain_text("rotated logs older than 7 days below /data11/log")
    expect(form).to_contain_text("Low risk; at most 12.0 MiB; cannot be undone.")
    expect(form).to_contain_text(f"Touches {logs[-1]}")
    ui.submit(decision="approve", name="Ada Lovelace", comment="space is needed")

    assert installation.ended(incident).outcome == "resolved", installation.report(incident)
    assert not patient.path(logs[-1]).exists()
    [decision] = decisions(installation, incident)
    assert (decision["approve"], decision["person"], decision["via"]) == (True, "Ada Lovelace", TYPED_VIA)
    report = ui.open_report(incident)
    expect(report).to_contain_text(f"approved by Ada Lovelace ({TYPED_VIA}): “space is needed”")


def test_the_form_refuses_an_incomplete_answer_and_takes_a_no(
    installation: Installation, alertmanager: AlertmanagerProcess, patient: PatientHost, ui: PrefectUi
) -> None:
    logs = full_disk(patient, "/data12")
    incident = waiting_incident(installation, alertmanager, "/data12")
    ui.open_run(installation.flow_run(incident)["id"])
    form = ui.open_form()

    for decision, name, field in (("approve", "", "name"), ("approve", "  ", "name"), ("perhaps", "Ada", "decision")):
        ui.fill(decision=decision, name=name)
        form.get_by_role("button", name="Submit").click()
        complaint = re.compile(f"'{field}' is a required property|Validation failed for field '{field}'")
        expect(ui.page.get_by_text(complaint).first).to_be_visible()
        assert installation.flow_run(incident)["state"]["name"] == "Suspended"
        ui.page.reload()
        ui.open_form()
    assert decisions(installation, incident) == []

    ui.submit(decision="deny", name="Ada Lovelace", comment="not tonight")

    assert installation.ended(incident).outcome == "not_approved"
    assert all(patient.path(log).exists() for log in logs)
    [decided] = decisions(installation, incident)
    assert (decided["approve"], decided["person"], decided["via"]) == (False, "Ada Lovelace", TYPED_VIA)


def test_a_form_that_was_answered_after_the_command_line_does_not_count(
    installation: Installation, alertmanager: AlertmanagerProcess, patient: PatientHost, ui: PrefectUi
) -> None:
    logs = full_disk(patient, "/data10")
    incident = waiting_incident(installation, alertmanager, "/data10")
    ui.open_run(installation.flow_run(incident)["id"])
    ui.open_form()

    gateway = installation.pid("gateway")
    os.kill(gateway, signal.SIGSTOP)  # it would tell the run before a person can press the button
    try:
        installation.cli("deny", str(incident), "--yes", "--comment", "I was first")
        ui.submit(decision="approve", name="Too Late")
    finally:
        os.kill(gateway, signal.SIGCONT)

    assert installation.ended(incident).outcome == "not_approved"
    assert all(patient.path(log).exists() for log in logs)
    assert [decision["comment"] for decision in decisions(installation, incident)] == ["I was first"]
    said = "The answer in the form does not count: This plan was denied already."
    installation.wait(lambda: said in log_of_run(installation, incident), "refusal in the log of the run")


def test_hostile_names_and_comments_are_only_shown(
    installation: Installation, alertmanager: AlertmanagerProcess, patient: PatientHost, ui: PrefectUi
) -> None:
    full_disk(patient, "/data9")
    for days, name in enumerate(HOSTILE_LOGS, 20):
        log = patient.path("/data9/log") / name
        log.write_bytes(os.urandom(64 * 1024))
        os.utime(log, (time.time() - days * troubles.DAY,) * 2)
    incident = waiting_incident(installation, alertmanager, "/data9")
    run = installation.flow_run(incident)["id"]

    ui.open_run(run)
    form = ui.open_form()
    expect(form).to_contain_text(r"\x3cscript\x3ealert(3)\x3cscript\x3e.log.4")
    assert form.locator("article img, article script, article a").count() == 0
    ui.submit(decision="approve", name="Ada <b>Lovelace</b>", comment=HOSTILE_COMMENT)

    assert installation.ended(incident).outcome == "resolved", installation.report(incident)
    [decision] = decisions(installation, incident)
    assert (decision["person"], decision["comment"]) == ("Ada <b>Lovelace</b>", HOSTILE_COMMENT)
    report = ui.open_report(incident)
    expect(report).to_contain_text(r"\x7b\x7b 7\x2a7 \x7d\x7d \x3cimg src=x onerror=alert(4)\x3e")
    assert report.locator("img, script, a").count() == 0
    assert not report.get_by_role("heading", name="heading", exact=True).is_visible()


def test_a_template_chosen_in_the_forms_menu_reaches_nothing(
    installation: Installation, alertmanager: AlertmanagerProcess, patient: PatientHost
) -> None:
    full_disk(patient, "/data8")
    incident = waiting_incident(installation, alertmanager, "/data8")

    template = "{{ 6*7 }}{{ cycler.__init__.__globals__.os.environ }}{{ self._TemplateReference__context }}"
    form = {"decision": "deny", "name": "Mallory", "comment": {"__prefect_kind": "jinja", "template": template}}
    url = f"{installation.settings.prefect_api_url}/flow_runs/{installation.flow_run(incident)['id']}/resume"
    assert httpx.post(url, json={"run_input": form}, trust_env=False).json()["status"] == "ACCEPT"

    assert installation.ended(incident).outcome == "not_approved"
    assert [decision["comment"] for decision in decisions(installation, incident)] == ["42"]


def code_now(installation: Installation, app: pyotp.TOTP) -> str:
    """What the app shows by the database's clock."""
    with installation.ledger.engine.connect() as connection:
        at = connection.execute(text("select extract(epoch from clock_timestamp())")).scalar_one()
    return app.at(int(at))


def form_after_the_first(installation: Installation, incident: int, number: int) -> None:
    """Wait until the run has come back and waits with another form."""

    def waits() -> bool:
        approval = installation.ledger.approvals.open_one(incident)
        suspended = installation.flow_run(incident)["state"]["name"] == "Suspended"
        return approval is not None and approval.form == number and suspended

    installation.wait(waits, f"form {number}")


@pytest.fixture
def ana(installation: Installation) -> Iterator[pyotp.TOTP]:
    """Ana is enrolled, her app scanned what the command line printed; afterwards nobody is enrolled again."""
    installation.cli("people", "add", "Ana")
    uri = installation.cli("people", "code", "Ana").stdout.strip().splitlines()[-1]
    app = pyotp.parse_uri(uri)
    assert isinstance(app, pyotp.TOTP)
    yield app
    installation.cli("people", "remove", "Ana")


@pytest.mark.timeout(400)  # the run comes back twice
def test_once_somebody_is_enrolled_the_form_takes_a_code_and_says_why_an_answer_does_not_count(
    installation: Installation,
    alertmanager: AlertmanagerProcess,
    patient: PatientHost,
    ui: PrefectUi,
    ana: pyotp.TOTP,
) -> None:
    logs = full_disk(patient, "/data13")
    incident = waiting_incident(installation, alertmanager, "/data13")
    run = installation.flow_run(incident)["id"]
    right = code_now(installation, ana)
    wrong = f"{(int(right) + 500_000) % 1_000_000:06}"

    ui.open_run(run)
    ui.open_form()
    ui.submit(decision="approve", name="Ana", code=wrong)
    form_after_the_first(installation, incident, 2)
    ui.open_run(run)
    expect(ui.open_form()).to_contain_text("The last answer did not count. Name and code do not belong together.")
    assert all(patient.path(log).exists() for log in logs)
    assert decisions(installation, incident) == []

    ui.submit(decision="approve", name="ana", code=code_now(installation, ana), comment="space is needed")

    assert installation.ended(incident).outcome == "resolved", installation.report(incident)
    [decision] = decisions(installation, incident)
    assert (decision["person"], decision["via"]) == ("Ana", "Prefect form, one-time code")
