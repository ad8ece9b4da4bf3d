"""Where the time of a small storm goes: the Python parts of an installation, sampled by py-spy meanwhile."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.flame import flame
from bench.runs import TookTooLongError
from bench.speed import Speed
from bench.stacks import Stacks, parsed, together, widest
from bench.storms import Storms
from nightshift.running.up import GATEWAY, PREFECT_SERVER, WORKER

_SPY = Path(sys.executable).parent / "py-spy"
_PARTS = {PREFECT_SERVER: "Prefect server", GATEWAY: "gateway", WORKER: "worker"}
_PER_SECOND = 100
_WARM_UP, ALERTS = 2, 20
_BEGIN_SECONDS, _END_SECONDS = 3.0, 60.0
_WIDEST = 10


@contextmanager
def sampled(pid: int, raw: Path) -> Iterator[None]:
    """While this lasts, note the stacks of a process and of all that it starts, into a file.

    Raises:
        OSError: py-spy could not; with what it said.
    """
    log = raw.with_suffix(".log")
    # Not stopped for a sample: a thread of a stopped process seems to run although it waits.
    kind = ["--nonblocking", "--subprocesses", "--function", "--format", "raw"]
    with log.open("wb") as output:
        spy = subprocess.Popen(
            [str(_SPY), "record", "--pid", str(pid), *kind, "--rate", str(_PER_SECOND), "--output", str(raw)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield
        if spy.poll() is None:
            spy.send_signal(signal.SIGINT)  # it writes what it has
        spy.wait(_END_SECONDS)
    finally:
        if spy.poll() is None:
            spy.kill()
            spy.wait()
    if not raw.exists():
        raise OSError(f"py-spy noted nothing of process {pid}: {log.read_text(errors='replace')[-1000:]}")


def flames(speed: Speed, results: Path) -> list[Path]:
    """A flame graph of each part, and one of all together; the files.

    Raises:
        OSError: py-spy could not sample.
        TookTooLongError: the alerts before it were not dealt with.
    """
    storms = Storms(speed.installation, speed.records, speed.floor, speed.screen.say)
    if storms.many_targets(_WARM_UP)["lost"]:
        raise TookTooLongError("The first alerts were not dealt with.")
    folder = speed.installation.home
    with ExitStack() as all_of_them:
        for part in _PARTS:
            all_of_them.enter_context(sampled(speed.installation.pid(part), folder / f"{part}.raw"))
        time.sleep(_BEGIN_SECONDS)
        speed.screen.say(f"— {ALERTS} alerts about {ALERTS} targets at once, sampled {_PER_SECOND} times a second")
        if lost := storms.many_targets(ALERTS)["lost"]:
            speed.result["failures"].append(f"The storm that was sampled lost {lost} alerts.")
    stacks: dict[str, Stacks] = {}
    for part, name in _PARTS.items():
        stacks |= parsed((folder / f"{part}.raw").read_text(errors="replace"), name)
    return _written(speed, stacks, results)


def _written(speed: Speed, stacks: dict[str, Stacks], results: Path) -> list[Path]:
    whole = together(stacks)
    graphs = {"flame": (whole, f"{ALERTS} alerts, all Python parts")}
    for name, some in stacks.items():
        graphs[f"flame-{name.lower().replace(' ', '-')}"] = (some, f"{ALERTS} alerts, {name}")
        speed.screen.say(f"{name}: {some.total() / whole.total():.0%} of {whole.total():,} samples, of these")
        for call, share in widest(some, _WIDEST):
            speed.screen.say(f"    {share:5.1%}  {call}")
    results.mkdir(exist_ok=True)
    for stem, (some, title) in graphs.items():
        (results / f"{stem}.svg").write_text(flame(some, title))
    return [results / f"{stem}.svg" for stem in graphs]
