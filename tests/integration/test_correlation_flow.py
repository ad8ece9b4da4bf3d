"""A flow run on a real Prefect server that is in the middle of a repair when the cause of its trouble shows up."""

from __future__ import annotations

import os
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from lab import preloaded
from lab.prefect_server import PrefectServer
from nightshift.catalogue import Catalogue
from nightshift.gateway.causes import correlate
from nightshift.gateway.intake import take_in
from nightshift.gateway.metrics import Metrics
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.models import Alert, Outcome

LOG_DISK = """\
  LogDiskUsage:
    summary: the disk of the logs is nearly full
    severity: warning
    mode: auto
    flow: disk-space-reclaim
    target: { host: { label: instance }, filesystem: { label: mountpoint } }
    policy: {}
"""
RULES = """
settle: 0s
causes:
  - name: disk-and-its-logs
    systems: [shop]
    cause: { alerts: [HighDiskUsage] }
    effects: [{ alerts: [LogDiskUsage], labels: { instance: instance } }]
    why: the logs are written by what stands still
"""
_RUN = """
import sys, time
from pathlib import Path
from prefect import flow
from lab.notebook import Notebook, line, plan
from nightshift.flows.incident import Conclusion
from nightshift.flows.runbook import Request, answer
from nightshift.remediation.actions import ACTION_KINDS
from nightshift.remediation.models import Outcome

folder, incident, attempt = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])

def until_told(action):
    while not (folder / "go").exists():
        time.sleep(0.02)

Notebook(folder / "notebook", fail=until_told, kinds=ACTION_KINDS)

def procedure(incident):
    incident.carry_out(plan(*(line(t, target=incident.target) for t in ("one", "two")), target=incident.target),
                       enough=lambda: False)
    return Conclusion(Outcome.RESOLVED, "Both lines are there.")

@flow
def repair():
    return answer(Request("disk-space-reclaim", "shop", "", incident, attempt, False), procedure)

print("state:", repair(return_state=True).name)
"""


class Shop:
    """The ledger, and flow runs in processes of their own."""

    def __init__(self, ledger: Ledger, url: str, runbooks: Path, prefect: PrefectServer) -> None:
        with (runbooks / "shop.yaml").open("a") as file:
            file.write(LOG_DISK)
        (runbooks / "correlation.yaml").write_text(RULES)
        self.ledger, self.catalogue = ledger, Catalogue.load(runbooks)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("NIGHTSHIFT_", "PREFECT_"))}
        self._environment = kept | {
            "NIGHTSHIFT_HOME": "/nonexistent",
            "NIGHTSHIFT_DATABASE_URL": url,
            "NIGHTSHIFT_RUNBOOKS": str(runbooks),
            "PREFECT_API_URL": prefect.url,
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }

    def fire(self, name: str, mountpoint: str) -> int:
        labels = {"alertname": name, "job": "shop", "instance": "web1:9100", "mountpoint": mountpoint}
        alert = Alert(source="am", fingerprint=name, status="firing", labels=labels, starts_at=datetime.now(UTC))
        self.ledger.inbox.accept([alert])
        self.work()
        return next(row.id for row in self.ledger.incidents.list() if row.runbook == name)

    def work(self) -> None:
        while take_in(self.ledger, self.catalogue, Metrics(self.ledger)) + correlate(self.ledger, self.catalogue):
            pass

    def start(self, folder: Path, incident: int, attempt: int) -> subprocess.Popen[str]:
        return preloaded.start(_RUN, str(folder), str(incident), str(attempt), environment=self._environment)


def state_of(run: subprocess.Popen[str]) -> str:
    out, _ = run.communicate(timeout=90)
    return next((line.removeprefix("state: ") for line in out.splitlines() if line.startswith("state: ")), out)


def test_a_repair_stops_quietly_at_the_gate_for_its_cause_and_a_later_run_goes_on(
    ledger: Ledger, database_url: str, runbooks: Path, prefect: PrefectServer, tmp_path: Path
) -> None:
    shop = Shop(ledger, database_url, runbooks, prefect)
    effect = shop.fire("LogDiskUsage", "/logs")
    notebook = tmp_path / "notebook"

    run = shop.start(tmp_path, effect, 1)
    give_up_at = time.monotonic() + 60
    while not notebook.exists():
        assert run.poll() is None, state_of(run)
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
    cause = shop.fire("HighDiskUsage", "/data")
    (tmp_path / "go").touch()

    assert state_of(run) == f"Waits for incident {cause}"
    assert notebook.read_text().splitlines() == ["one"]
    row = ledger.incidents.get(effect)
    assert row is not None
    assert (row.status, row.attempt, row.claim_token, row.cause_id) == ("open", 2, None, cause)
    assert ledger.deliveries.of(effect) == []
    # One that was on its way already finds that it may not begin.
    assert state_of(shop.start(tmp_path, effect, 2)) == f"Waits for incident {cause}"

    with ledger.engine.begin() as connection:
        ledger.incidents.end(connection, cause, Outcome.RESOLVED, "for the test")
    shop.work()

    assert state_of(shop.start(tmp_path, effect, 2)) == "Resolved"
    assert notebook.read_text().splitlines() == ["one", "two"]
