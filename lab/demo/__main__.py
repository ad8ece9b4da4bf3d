"""Run the demo: ``python -m lab.demo [--yes] [--keep]``."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType

from lab.alertmanager import AlertmanagerProcess
from lab.demo.catalogue import ALERT, SYSTEM, post_as_alertmanager, write_catalogue
from lab.demo.patients import Patient, patient
from lab.demo.screen import Screen
from lab.installation import Installation
from lab.patient_host import CannotStartError
from nightshift.remediation.decisions import Decision
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.reports import report_of
from nightshift.settings import Settings

PATIENCE_SECONDS = 180.0
Fire = Callable[[dict[str, str]], None]
Answer = Callable[[Installation, int, str, Screen], None]
"""Gives or awaits the answer to a plan: of which incident, and its digest."""
SHOWN = ("What was done", "Approval", "Left for people")
"""Sections of the report that are worth reading after having seen it all happen."""


def main() -> int:
    """The whole demo; 0 when the incident ended as resolved."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--yes", action="store_true", help="approve the plan without asking")
    parser.add_argument("--keep", action="store_true", help="leave everything running until Enter or Ctrl-C")
    options = parser.parse_args()
    screen = Screen()
    screen.rule("Nightshift demo: a disk is full at three in the morning")
    ended_well = False
    try:
        with _ended_by_signals(), patient() as sick, Installation(prefix="nightshift-demo-") as lab, _undisturbed_end():
            start(lab, sick, screen)
            ended_well = show(lab, sick, screen, partial(_answer, yes=options.yes))
            if options.keep:
                _wait_for_a_person(lab, screen)
    except KeyboardInterrupt:
        screen.line("⏹", "interrupted", "", "yellow")
    except (AssertionError, CannotStartError, TimeoutError) as error:
        screen.line("✘", "failed", str(error), "red")
    screen.line("🧹", "done", "Everything the demo started is stopped and removed.")
    if "NIGHTSHIFT_DATABASE_URL" in os.environ:
        screen.line("📦", "kept", "Your PostgreSQL still has the tables of the ledger and the database of Prefect.")
    return 0 if ended_well else 1


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and a closed terminal end the demo as Ctrl-C does: it takes everything down."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    yield


@contextlib.contextmanager
def _undisturbed_end() -> Iterator[None]:
    """From its end on, nobody interrupts: a second Ctrl-C would leave something behind."""
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)


def start(installation: Installation, sick: Patient, screen: Screen) -> None:
    """`nightshift up` with a catalogue about the patient."""
    screen.rule("The patient")
    for trouble in sick.troubles:
        screen.line("🩹", "made", trouble)
    for missing in sick.left_out:
        screen.line("🚫", "left out", missing, "yellow")
    write_catalogue(installation.catalogue, sick)
    screen.rule("nightshift up")
    screen.line("⏳", "starting", "PostgreSQL, Prefect server, gateway, worker …")
    for line in installation.up().splitlines():
        if line.strip():
            screen.line("✔", "up", line.strip(), "dim")


def show(installation: Installation, sick: Patient, screen: Screen, answer: Answer) -> bool:
    """Fire the alert and follow its incident to the end; whether it was resolved."""
    config, ledger = installation.settings, installation.ledger
    before = _used(sick)
    labels = {
        "alertname": ALERT,
        "system": SYSTEM,
        "instance": "web1",
        "mountpoint": sick.mount,
        "severity": "critical",
    }
    with _alertmanager(config, screen) as fire:
        screen.rule("The alert, and what comes of it")
        earlier = {row.id for row in ledger.incidents.list(system=SYSTEM)}
        fire(labels)
        incident = _incident(ledger, earlier)
        _follow(installation, incident, screen, answer)
    screen.rule("The report")
    screen.report(_in_short(report_of(ledger, incident)))
    screen.usage(before, _used(sick))
    screen.links(_links(installation, incident))
    row = ledger.incidents.get(incident)
    return row is not None and row.outcome == "resolved"


@contextlib.contextmanager
def _alertmanager(config: Settings, screen: Screen) -> Iterator[Fire]:
    """A real Alertmanager where its package is, else the same body posted by the command line."""
    assert config.webhook_token is not None  # noqa: S101 - `up` made one
    token = config.webhook_token.get_secret_value()
    if shutil.which("prometheus-alertmanager") is None:
        screen.line("🚫", "left out", "a real Alertmanager (package prometheus-alertmanager)", "yellow")
        yield lambda labels: post_as_alertmanager(config, token, labels)
        return
    with AlertmanagerProcess(f"{config.gateway_url}/alerts", token) as alertmanager:

        def fire(labels: dict[str, str]) -> None:
            alertmanager.fire(labels, {"summary": "a filesystem of a shop host is nearly full"})
            screen.line("🔔", "alert", f"{labels['alertname']} fired through a real Alertmanager", "bold")

        yield fire


def _incident(ledger: Ledger, earlier: set[int]) -> int:
    """The incident that the alert opened; a database of the user's may know earlier ones."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        for row in ledger.incidents.list(system=SYSTEM):
            if row.id not in earlier:
                return int(row.id)
        time.sleep(0.05)
    raise TimeoutError("The alert opened no incident.")


def _follow(installation: Installation, incident: int, screen: Screen, answer: Answer) -> None:
    """Show every row of the journal as it comes, and answer when the plan asks."""
    ledger = installation.ledger
    seen, until = 0, time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        for row in ledger.journal.of(incident, after=seen):
            seen = row.sequence
            screen.row(row)
            if row.kind is Kind.ENDED:
                return
            if row.kind is Kind.ASKED:
                started = time.monotonic()
                screen.plan(ledger.approvals.plan(incident, row.entry["digest"]))
                answer(installation, incident, row.entry["digest"], screen)
                until += time.monotonic() - started
        time.sleep(0.1)
    raise TimeoutError("The incident did not end in time.")


def _answer(installation: Installation, incident: int, digest: str, screen: Screen, *, yes: bool) -> None:
    by_itself = yes or not sys.stdin.isatty()
    if by_itself:
        why = "YES=1" if yes else "there is no terminal"
        screen.line("✋", "approval", f"{why}: approved as the demo's person", "yellow")
        decision = Decision("demo", "the demo, by itself", approve=True)
    else:
        answer = screen.console.input("[bold]Approve this plan? [y/N] [/bold]").strip().lower()
        decision = Decision(os.environ.get("USER", "demo"), "the demo's terminal", answer in ("y", "yes"))
    if refused := installation.ledger.approvals.decide(incident, digest, decision):
        screen.line("✋", "approval", str(refused), "red")


def _in_short(report: str) -> str:
    """The report without what was on the screen already; the Prefect UI and ``nightshift report`` show all of it."""
    head, *sections = report.split("\n## ")
    return "\n## ".join([head, *(section for section in sections if section.startswith(SHOWN))])


def _used(sick: Patient) -> tuple[int, int]:
    usage = sick.usage()
    used = (usage.f_blocks - usage.f_bfree) * usage.f_frsize
    return used, used + usage.f_bavail * usage.f_frsize


def _links(installation: Installation, incident: int) -> list[tuple[str, str]]:
    ui, run = installation.prefect_ui, installation.flow_run(incident)["id"]
    return [
        ("flow run", f"{ui}/runs/flow-run/{run}"),
        ("report", f"{ui}/artifacts/key/incident-{incident}"),
        ("deployments", f"{ui}/deployments"),
    ]


def _wait_for_a_person(installation: Installation, screen: Screen) -> None:
    screen.rule("Left up to play with")
    command = f"NIGHTSHIFT_HOME={installation.home} {Path(sys.prefix) / 'bin' / 'nightshift'}"
    screen.line("💡", "try", f"{command} incidents list", "cyan", whole=True)
    screen.line("💡", "try", f"{command} alert fire {ALERT} --system {SYSTEM}", "cyan", whole=True)
    if sys.stdin.isatty():
        screen.console.input("Enter stops and removes everything. ")
        return
    screen.line("⏳", "up", "until this process gets SIGINT (Ctrl-C) or SIGTERM")
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
