"""Other programs of this host, as one of its accounts: arguments as a list, ended in time, and their last words."""

import os
import pwd
import subprocess
from typing import Any, Dict, List, Optional

from .wire import Clock, Refused, to_text

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin"
_MOST_OF_A_COMPLAINT = 400
_ENDED_BY_TIMEOUT = (124, 137)


class Account:
    """Who programs run as; an empty name is whoever runs the probe."""

    def __init__(self, name: Optional[str]) -> None:
        try:
            entry = pwd.getpwnam(name) if name else pwd.getpwuid(os.geteuid())
        except KeyError:
            raise Refused("failed", "there is no account %s" % name) from None
        self.uid, self.gid, self.home = entry.pw_uid, entry.pw_gid, entry.pw_dir
        self._become: List[str] = []
        if self.uid != os.geteuid():
            if os.geteuid() != 0:
                raise Refused("failed", "only root may run programs as %s" % name)
            self._become = ["runuser", "-u", entry.pw_name, "--"]

    def run(self, command: List[str], clock: Clock, **options: Any) -> Any:
        """A program to its end, within the time left; it ends by itself then, even when the probe is gone.

        ``environment`` adds to what it finds; ``keep`` are descriptors that it holds open.
        """
        seconds = clock.left()
        ended = subprocess.run(
            self.command(command, clock),
            stdin=subprocess.DEVNULL,
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=subprocess.PIPE,
            env=self.environment(options.pop("environment", {})),
            cwd=options.pop("cwd", "/"),
            pass_fds=options.pop("keep", ()),
        )
        if ended.returncode in _ENDED_BY_TIMEOUT and clock.is_over():
            raise Refused("failed", "%s took longer than %g s and was ended" % (os.path.basename(command[0]), seconds))
        if ended.returncode == 127:
            raise Refused("unsupported", "%s is not installed" % command[0])
        return ended

    def command(self, command: List[str], clock: Clock) -> List[str]:
        """A program as this account, ending by itself when the time left is used up."""
        seconds = clock.left()
        if seconds < 1:
            raise Refused("failed", "the time for this was used up before %s" % os.path.basename(command[0]))
        return ["timeout", "-k", "5", "%g" % seconds, *self._become, *command]

    def environment(self, more: Dict[str, str]) -> Dict[str, str]:
        """All that its programs find."""
        return dict({"PATH": _PATH, "LC_ALL": "C", "HOME": self.home, "PGCONNECT_TIMEOUT": "10"}, **more)


def complaint(ended: Any) -> str:
    """Why a program failed, in its own last words; empty when it did not."""
    if ended.returncode == 0:
        return ""
    lines = [line.strip() for line in ended.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    words = "; ".join(lines[-3:]) or "it ended with status %d" % ended.returncode
    return to_text(words[-_MOST_OF_A_COMPLAINT:].encode("utf-8", "replace"))


class Postgres:
    """The programs of PostgreSQL, for one server."""

    def __init__(self, account: Account, server: Dict[str, Any], programs: Optional[str]) -> None:
        self._account = account
        self._programs = programs
        self.database = server["database"]
        self._where = ["-h", server["host"], "-p", "%d" % server["port"], "-U", server["user"], "--no-password"]

    def command(self, program: str, *arguments: str) -> List[str]:
        """A program with what leads it to the server."""
        return [os.path.join(self._programs or "", program), *self._where, *arguments]

    def run(self, program: str, arguments: List[str], clock: Clock, **options: Any) -> Any:
        """Run one of them."""
        return self._account.run(self.command(program, *arguments), clock, **options)

    def sql(self, statement: str, clock: Clock, database: Optional[str] = None) -> Any:
        """What psql did with one statement; it never reads a start-up file."""
        arguments = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database or self.database, "-c", statement]
        return self.run("psql", arguments, clock)
