"""A flow run as the ledger sees it: it claims, acts through the real gate, and gives its claim back while it waits."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from lab.notebook import TARGET, Notebook
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.execution import Execution
from nightshift.remediation.gate import Gate
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Trouble
from nightshift.remediation.models import Mode, Plan, Severity

RUNBOOK = "HighDiskUsage"
_CLAIM_SECONDS = 30


class WaitingRun:
    """One incident of the shop, and its run."""

    def __init__(self, ledger: Ledger, notebook: Path) -> None:
        notebook.unlink(missing_ok=True)
        self.ledger, self.notebook, self.flow_run_id = ledger, Notebook(notebook), uuid4()
        self.asked: list[Plan] = []
        """What the gate wanted people to be asked about; nobody is."""
        trouble = Trouble("shop", RUNBOOK, "disk", TARGET, Severity.WARNING, "disk is full")
        with ledger.engine.begin() as connection:
            self.incident, _ = ledger.incidents.open(connection, trouble)

    def carry_out(self, plan: Plan) -> Execution:
        """Look again, as whoever comes back from waiting does, and do what may be done; in mode ``propose``."""
        claim = self.ledger.incidents.claim(self.incident, 1, self.flow_run_id, _CLAIM_SECONDS)
        assert claim is not None, "nobody else works on it"  # noqa: S101 - it cannot be used otherwise
        with ClaimKeeper(self.ledger, claim, _CLAIM_SECONDS) as keeper:
            gate = Gate(self.ledger, keeper, RUNBOOK, self.notebook.kinds, {}, Mode.PROPOSE, self.asked.append)
            execution = gate.carry_out(plan, enough=lambda: False)
        self.ledger.incidents.move(claim, "waiting")
        return execution
