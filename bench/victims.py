"""What is killed, how, and how it comes back."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field

from lab.installation import Installation

FLOW, EVERYTHING = "flow process", "everything at once"
PARTS = ("gateway", "worker", "prefect-server", "postgresql")
VICTIMS = (FLOW, *PARTS, EVERYTHING)
_LONGEST_WAIT_FOR_A_FLOW = 10.0


@dataclass
class Killer:
    """Kills with SIGKILL; what was killed is started again as a supervisor does it: by ``nightshift up``."""

    installation: Installation
    chance: random.Random
    killed: Counter[str] = field(default_factory=Counter)

    def deck(self, kills: int) -> list[str]:
        """The victims of so many kills: each equally often, in random order."""
        victims = [VICTIMS[number % len(VICTIMS)] for number in range(kills)]
        self.chance.shuffle(victims)
        return victims

    def kill(self, victim: str) -> str:
        """Kill it; what was killed. Where no flow runs, the worker is killed instead."""
        if victim == FLOW and not self._kill_a_flow():
            victim = "worker"
        if victim == EVERYTHING:
            self.installation.kill_everything()
        elif victim != FLOW:
            self.installation.kill(victim)
        self.killed[victim] += 1
        return victim

    def restart(self, victim: str) -> None:
        """Start again what does not run, with nothing in the environment that it would need."""
        if victim != FLOW:
            self.installation.up()

    def _kill_a_flow(self) -> bool:
        give_up_at = time.monotonic() + _LONGEST_WAIT_FOR_A_FLOW
        while not (running := self.installation.flow_processes()):
            if time.monotonic() > give_up_at:
                return False
            time.sleep(0.1)
        time.sleep(self.chance.uniform(0, 2))
        running = self.installation.flow_processes() or running
        self.chance.choice([running[run] for run in sorted(running)]).kill()
        return True
