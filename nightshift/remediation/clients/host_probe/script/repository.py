"""A restic repository as the place that backups go to: what it has, one backup more, and whether it is the same."""

import calendar
import hashlib
import json
import os
import re
import subprocess
import time
from typing import Any, Dict, List, Optional

from .commands import Account, complaint
from .wire import Clock, Refused

TAG = "nightshift"
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)")
_REFUSED = (
    "wrong password",
    "no key found",
    "Access Denied",
    "AccessDenied",
    "SignatureDoesNotMatch",
    "InvalidAccessKey",
)
_CHUNK = 1024 * 1024


class Restic:
    """One repository, through restic's own program and the host's own password file."""

    def __init__(self, account: Account, place: Dict[str, Any]) -> None:
        self._account = account
        self._where = ["restic", "-r", place["repository"], "--password-file", place["password_file"], "--no-cache"]
        self._environment = {"AWS_PROFILE": place["profile"]} if place["profile"] else {}

    def snapshots(self, clock: Clock) -> List[Dict[str, Any]]:
        """All of them, newest first."""
        asked = self._account.run(
            [*self._where, "--no-lock", "--json", "snapshots"], clock, environment=self._environment
        )
        words = complaint(asked)
        if words:
            raise Refused("credentials" if refused(words) else "failed", "restic said: %s" % words)
        return sorted(json.loads(asked.stdout.decode("utf-8")) or [], key=lambda one: -moment(one["time"]))

    def add(self, path: str, clock: Clock) -> None:
        """One file as a snapshot of its own. What is in the repository stays."""
        ended = self._account.run(
            [*self._where, "--quiet", "--tag", TAG, "backup", path], clock, environment=self._environment
        )
        words = complaint(ended)
        if words:
            raise Refused("credentials" if refused(words) else "failed", "restic said: %s" % words)

    def content(self, snapshot: str, path: str, clock: Clock) -> Dict[str, Any]:
        """Size and SHA-256 of a file, read back out of the repository."""
        command = self._account.command([*self._where, "--no-lock", "--quiet", "dump", snapshot, path], clock)
        digest, size = hashlib.sha256(), 0
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._account.environment(self._environment),
            cwd="/",
        ) as running:
            assert running.stdout is not None  # noqa: S101 - it was asked for
            for chunk in iter(lambda: running.stdout.read(_CHUNK), b""):  # type: ignore[union-attr]
                digest.update(chunk)
                size += len(chunk)
        if running.returncode != 0:
            raise Refused("failed", "restic could not read %s back" % snapshot[:8])
        return {"size": size, "sha256": digest.hexdigest()}


def facts(restic: Restic, newest: Optional[Dict[str, Any]], clock: Clock) -> Dict[str, Any]:
    """The repository as ``BucketFact``; the newest backup is read back and compared, if it is there."""
    try:
        found = restic.snapshots(clock)
        fact: Dict[str, Any] = {"objects": len(found)}
        if found:
            fact["newest"] = _stored(found[0], {"size": 0})
        path = newest["path"] if newest else None
        same = next((one for one in found if path in one["paths"]), None)
        if same is not None and path is not None:
            fact["same"] = _stored(same, restic.content(same["id"], path, clock))
    except Refused as refusal:
        if refusal.kind == "unsupported":
            raise
        return {"complaint": refusal.reason, "refused": refusal.kind == "credentials"}
    return fact


def newest(restic: Restic, clock: Clock) -> Dict[str, Any]:
    """How many snapshots there are and the newest one, as ``BucketFact``; nothing is read back."""
    try:
        found = restic.snapshots(clock)
        return dict({"objects": len(found)}, **({"newest": _stored(found[0], {"size": 0})} if found else {}))
    except Refused as refusal:
        if refusal.kind == "unsupported":
            raise
        return {"complaint": refusal.reason, "refused": refusal.kind == "credentials"}


def refused(words: str) -> bool:
    """Whether these words mean that the password or the keys are not accepted."""
    return any(sign in words for sign in _REFUSED)


def moment(text: str) -> float:
    """Seconds since 1970 of a time as restic writes it."""
    found = _MOMENT.match(text)
    if not found:
        raise Refused("failed", "that is not a time of restic")
    seconds = calendar.timegm(time.strptime(found.group(1), "%Y-%m-%dT%H:%M:%S"))
    zone = found.group(2)
    if zone == "Z":
        return float(seconds)
    offset = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
    return float(seconds - offset if zone[0] == "+" else seconds + offset)


def _stored(snapshot: Dict[str, Any], content: Dict[str, Any]) -> Dict[str, Any]:
    key = "%s:%s" % (str(snapshot["id"])[:8], os.path.basename(str(snapshot["paths"][0])))
    return dict(content, key=key, modified=moment(snapshot["time"]))
