"""What a night costs in which everything dies: alerts are accepted while random parts are killed and started again.

Run ``python bench/kill.py`` as root. The last line printed is JSON; see ``bench/README.md`` for what its fields mean.
Exits with 1 unless everything accepted has ended, and nothing was lost, doubled or outside the plan.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from bench.accounts import Account, account, unended
from bench.shop import FIRING, SIZE, Filesystem, labels, witness_of, write_catalogue
from bench.victims import Killer
from lab.alertmanager import AlertmanagerProcess
from lab.installation import Installation
from lab.patient_host import PatientHost
from lab.ports import free_port
from lab.sinks import HttpSink
from lab.webhook_relay import Labels, WebhookRelay
from lab.witness import Witness

_LONGEST_END_SECONDS = 600.0
_SETTINGS = {"NIGHTSHIFT_ACTIONS_PER_HOUR": "100000", "NIGHTSHIFT_CLAIM_SECONDS": "10"}


@dataclass
class Night:
    """Everything that is there while the parts are killed."""

    installation: Installation
    filesystems: list[Filesystem]
    alertmanager: AlertmanagerProcess
    relay: WebhookRelay
    witness: Witness
    killer: Killer
    alerts: int
    fired: int = 0

    def say(self, what: str) -> None:
        """Progress, with the time since the start."""
        print(f"{time.monotonic() - _STARTED:6.1f} s  {what}", flush=True)

    def fire(self, up_to: int) -> None:
        """Let alerts fire until so many have, those of one filesystem together."""
        while self.fired < min(up_to, self.alerts):
            for replica, trouble in enumerate(FIRING[: self.alerts - self.fired]):
                self.alertmanager.fire(labels(self._next_mount, trouble, replica), since_seconds=60)
            self.fired += min(len(FIRING), self.alerts - self.fired)

    @property
    def _next_mount(self) -> str:
        return self.filesystems[self.fired // len(FIRING)].mount

    @property
    def accepted(self) -> set[Labels]:
        """Alerts that the gateway answered with 2xx, as the relay in front of it saw."""
        return set(self.relay.accepted)

    def kill(self, kills: int) -> None:
        """Kill and restart, while the alerts fire: half of them before a kill, half while the part is down."""
        chance = self.killer.chance
        for number, victim in enumerate(self.killer.deck(kills), 1):
            share = self.alerts * number / kills
            self.fire(round(share - self.alerts / kills / 2))
            time.sleep(chance.uniform(0.2, 3))
            killed = self.killer.kill(victim)
            self.fire(round(share))
            time.sleep(chance.uniform(0, 1.5))
            self.killer.restart(killed)
            open_ones = len(unended(self.installation.ledger, self.accepted))
            self.say(f"kill {number}/{kills}: {killed}; accepted {len(self.accepted)}, of them not ended {open_ones}")
        self.fire(self.alerts)

    def wait_for_the_end(self) -> None:
        """Until every alert is accepted and its incident has ended, or it takes too long."""
        give_up_at, last = time.monotonic() + _LONGEST_END_SECONDS, -1
        while time.monotonic() < give_up_at:
            left = len(unended(self.installation.ledger, self.accepted)) + self.alerts - len(self.accepted)
            if left == 0:
                break
            if left != last:
                self.say(f"{left} alerts have not come to their end yet")
            last = left
            time.sleep(2)
        time.sleep(2)  # what is still under way to the patient shows now

    def result(self) -> Account:
        """The account; who was not accepted in all this time is missing in it."""
        self.witness.check()
        return account(self.installation.ledger, self.accepted, self.filesystems, self.witness.seen)


def night(stack: ExitStack, arguments: argparse.Namespace) -> Night:
    """Start everything."""
    targets = -(-arguments.alerts // len(FIRING))
    host = stack.enter_context(PatientHost({f"/data{number}": SIZE for number in range(targets)}))
    filesystems = [Filesystem(host, mount) for mount in host.filesystems]
    for filesystem in filesystems:
        filesystem.fill()
    oncall = stack.enter_context(HttpSink())
    gateway = free_port()
    relay = WebhookRelay(f"http://127.0.0.1:{gateway}/alerts", repeat_every=5)
    stack.enter_context(relay)
    installation = Installation("nightshift-bench-", NIGHTSHIFT_GATEWAY_PORT=str(gateway))
    stack.enter_context(installation)
    write_catalogue(installation.catalogue, host, oncall)
    token = "bench" * 8
    alertmanager = stack.enter_context(AlertmanagerProcess(relay.url, token))
    asked = json.dumps({"alertmanager": alertmanager.url})
    secrets = {"NIGHTSHIFT_WEBHOOK_TOKEN": token, "NIGHTSHIFT_PAGE_URL": oncall.apprise_url}
    installation.up(**_SETTINGS, **secrets, NIGHTSHIFT_ALERTMANAGERS=asked)
    installation.forget()
    witness = stack.enter_context(witness_of(filesystems))
    killer = Killer(installation, random.Random(arguments.seed))  # noqa: S311 - to be repeatable, not secret
    return Night(installation, filesystems, alertmanager, relay, witness, killer, arguments.alerts)


def last_line(result: Account, night: Night, arguments: argparse.Namespace) -> str:
    """The measured figures as JSON."""
    return json.dumps(
        {
            "accepted": result.accepted,
            "ended": result.ended,
            "lost": len(result.lost),
            "doubled": len(result.doubled),
            "outside_plan": len(result.outside_plan),
            "paged": result.paged,
            "kills": night.killer.killed.total(),
            "seed": arguments.seed,
            "alerts": arguments.alerts,
            "targets": len(night.filesystems),
            "incidents": result.incidents,
            "outcomes": result.outcomes,
            "attempts": result.attempts,
            "files_deleted": result.deleted,
            "deliveries_refused": night.relay.refused,
            "deliveries_repeated": night.relay.repeated,
            "killed": night.killer.killed,
            "seconds": round(time.monotonic() - _STARTED),
        }
    )


def parsed() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--alerts", type=int, default=200, help="alerts, five for each target")
    parser.add_argument("--kills", type=int, default=50, help="SIGKILLs, each followed by a restart")
    parser.add_argument("--seed", type=int, default=None, help="of the order and the moments of the kills")
    arguments = parser.parse_args()
    if arguments.alerts < 1 or arguments.kills < 1:
        parser.error("at least one alert and one kill")
    if arguments.seed is None:
        arguments.seed = random.randrange(10**6)  # noqa: S311 - printed, not secret
    return arguments


def for_people(result: Account) -> Iterator[str]:
    """Everything that a person has to know, a line each."""
    for what in ("to_people", "pages", "paged_in_vain", "lost", "doubled", "outside_plan"):
        yield from (f"{what}: {line}" for line in getattr(result, what))


def main() -> int:
    """Run it; the exit code."""
    arguments = parsed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # whoever ends it early leaves nothing running
    print(f"Seed {arguments.seed}. Limits raised for the bench: {_SETTINGS}, no cool-down, 100000 actions per hour.")
    with ExitStack() as stack:
        night_ = night(stack, arguments)
        night_.say(f"up, with {len(night_.filesystems)} full filesystems")
        night_.kill(arguments.kills)
        night_.wait_for_the_end()
        night_.say("adding up")
        result = night_.result()
        night_.say("added up")
        for line in for_people(result):
            print(line)
        if not result.is_well:
            print(night_.installation.logs())
        print(last_line(result, night_, arguments), flush=True)
    return 0 if result.is_well and result.accepted == arguments.alerts else 1


_STARTED = time.monotonic()

if __name__ == "__main__":
    sys.exit(main())
