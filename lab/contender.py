"""A worker that writes lines into the notebook through the gate, as a process of its own.

Beside the notebook it leaves, as the patient's own record, who wrote which line when, and who was granted the lease
when, by the clock that all processes of a machine share and nobody can set.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from lab.notebook import Notebook, line, plan
from nightshift.remediation.claim_keeper import ClaimKeeper
from nightshift.remediation.gate import Gate
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.incidents import Claim
from nightshift.remediation.ledger.leases import Held, Lease, Leases
from nightshift.remediation.models import Mode, Target

CLAIM_SECONDS = 6.0
LEASE_MARGIN = 1.5
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["lab.contender"])


@dataclass(frozen=True)
class Contender:
    """What one worker is to do."""

    who: str
    database_url: str
    incident: int
    attempt: int
    target: str
    notebook: Path
    lines: tuple[str, ...]

    @property
    def record(self) -> Path:
        """The patient's own record: moment, who, what, which line."""
        return self.notebook.with_suffix(".record")

    def start(self) -> multiprocessing.process.BaseProcess:
        """Let it work in a process of its own, a fork of one that has everything loaded."""
        process = _PROCESSES.Process(target=work, kwargs=asdict(self), daemon=True)
        process.start()
        return process

    def tell(self, what: str, text: str = "") -> None:
        """One line of the record; appended at once, so that lines of several processes do not mix."""
        with self.record.open("a") as record:
            record.write(json.dumps([time.monotonic(), self.who, what, text]) + "\n")


class _Witnessed(Leases):
    """Leases whose grants are told to the witness."""

    contender: Contender

    def acquire(self, claim: Claim, target: Target, seconds: float) -> Lease | Held:
        answer = super().acquire(claim, target, seconds)
        if isinstance(answer, Lease):
            self.contender.tell("granted")
        return answer


def work(**arguments: Any) -> None:
    """Claim the incident and write its lines, as far as the gate lets it."""
    me = Contender(**arguments)
    ledger = Ledger.connect(me.database_url, pool_size=2)
    leases = _Witnessed(ledger.engine)
    leases.contender = me
    ledger.__dict__["leases"] = leases
    target = Target.from_key(me.target)
    notebook = Notebook(me.notebook, fail=lambda action: me.tell("wrote", str(action.arguments["text"])))
    claim = ledger.incidents.claim(me.incident, me.attempt, uuid4(), CLAIM_SECONDS)
    if claim is None:
        raise SystemExit("the incident is taken")
    with ClaimKeeper(ledger, claim, CLAIM_SECONDS) as keeper:
        lines = [line(text, target=target) for text in me.lines]
        gate = Gate(
            ledger, keeper, "HighDiskUsage", notebook.kinds, {}, Mode.AUTO, lambda _: None, lease_margin=LEASE_MARGIN
        )
        gate.carry_out(plan(*lines, target=target), enough=_slowly)
        me.tell("finished")


def _slowly() -> bool:
    """So that whatever breaks does so in the middle."""
    time.sleep(0.2)
    return False
