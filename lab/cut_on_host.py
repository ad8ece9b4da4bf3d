"""Runs that die together with what they do on a host: the probe there is killed at each call that changes something.

What the probe began (pg_dump, pgBackRest, aws) goes on by itself, as on a host that was not harmed; a test that wants
a machine to lose its power kills that, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from nightshift.remediation.clients.host import Completed
from nightshift.remediation.clients.host_probe import asking
from nightshift.remediation.clients.ssh_host import SshHost
from nightshift.remediation.errors import OutcomeUnknownError

_KILLED = 137
_COUNTED = re.compile(rb"counted: (\d+)$")
_PRELUDE = """
def cut_short(calls, left, during):
    import atexit, os, subprocess, sys, threading, time
    done, inside = [0], [False]

    def die():
        os.kill(os.getpid(), 9)

    def counted(owner, name):
        original = getattr(owner, name)

        def call(*given, **options):
            programs = name in ("run", "Popen")
            words = {{os.path.basename(os.fsdecode(word)) for word in given[0]}} if programs else {{name}}
            if inside[0] or not words & set(calls):
                return original(*given, **options)
            if during and done[0] == left:
                threading.Timer({seconds}, die).start()
            inside[0] = True
            try:
                found = original(*given, **options)
            finally:
                inside[0] = False
            done[0] += 1
            if not during and done[0] == left:
                die()
            while during and done[0] > left:
                time.sleep(1)
            return found

        setattr(owner, name, call)

    for name in ("mkdir", "rename", "unlink"):
        counted(os, name)
    for name in ("run", "Popen"):
        counted(subprocess, name)
    atexit.register(lambda: sys.stderr.write("counted: %d" % done[0]))

cut_short({calls!r}, {left}, {during})
"""


def count_on_hosts(calls: Sequence[str], after: int, during: bool, seconds: float, die: Callable[[], None]) -> None:
    """Let the probe, and with it this process, die by the calls that count.

    Args:
        calls: ``mkdir``, ``rename`` and ``unlink`` of the probe, and words by which the programs that it starts are
            known: their names, or one of their arguments.
        after: so many of them come to their end before.
        during: whether it dies while the next one is under way.
        seconds: so long after that has begun.
        die: ends this process.
    """
    left, program, run = after, asking.program, SshHost.run

    def prepared() -> bytes:
        prelude = _PRELUDE.format(calls=tuple(calls), left=left, during=during, seconds=seconds)
        return prelude.encode() + program()

    def counting(host: SshHost, argv: Sequence[str], *, timeout: float, stdin: bytes = b"") -> Completed:
        nonlocal left
        try:
            done = run(host, argv, timeout=timeout, stdin=stdin)
        except OutcomeUnknownError:
            die()
            raise
        if done.returncode == _KILLED:
            die()
        if (found := _COUNTED.search(done.stderr)) is not None:
            left -= int(found[1])
        return done

    asking.program = prepared  # type: ignore[assignment]
    SshHost.run = counting  # type: ignore[assignment, method-assign]
