"""The arguments of the actions on backups, as the diagnosis saw the world.

The file that is made has no name yet, so they name the newest one before it: what is newer is the result.
"""

from __future__ import annotations

from typing import ClassVar

from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.backups.policy import BackupSet
from nightshift.remediation.inventory import serves


@serves("bybit_strategy_tester.BackupFailed: r1.1 r3.2")
class MakeBackup(ActionArguments):
    """Make one backup with the tool of the policy, alone, and only with enough room on its filesystem."""

    KIND: ClassVar[str] = "make_backup"

    name: str
    rule: BackupSet
    newer_than_ns: int
    """When the newest backup was written that the diagnosis saw; 0: there was none."""
    room: int
    """Bytes that must be free."""


class ProveBackup(ActionArguments):
    """Restore the newest backup into a scratch database, count its rows, drop it, and mark the backup."""

    KIND: ClassVar[str] = "prove_backup"

    name: str
    rule: BackupSet
    newer_than_ns: int
    """Only a backup written after this is proven."""


@serves("bybit_strategy_tester.BackupFailed: r2.2")
class UploadBackup(ActionArguments):
    """Copy the newest proven backup into the bucket under its own name, which nothing else may have."""

    KIND: ClassVar[str] = "upload_backup"

    name: str
    rule: BackupSet
    newer_than_ns: int
    retries: int
    first_pause: float
