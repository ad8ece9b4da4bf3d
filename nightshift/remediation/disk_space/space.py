"""Bytes and inodes: what is missing, what an action brings. A filesystem is full when either runs out."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nightshift.remediation.disk_space.diagnosis import FilesystemUsage
from nightshift.remediation.disk_space.policy import DiskSpacePolicy
from nightshift.remediation.models import Quantity, format_bytes
from nightshift.remediation.text import counted

MARGIN = 0.005
"""Share of the filesystem freed beyond the target, so that a few writes meanwhile do not make the repair fail."""


@dataclass(frozen=True)
class Space:
    """An amount of bytes and of inodes; never negative."""

    bytes: int = 0
    inodes: int = 0

    def __add__(self, other: Space) -> Space:
        return Space(self.bytes + other.bytes, self.inodes + other.inodes)

    def __sub__(self, other: Space) -> Space:
        return Space(max(0, self.bytes - other.bytes), max(0, self.inodes - other.inodes))

    def __bool__(self) -> bool:
        return self.bytes > 0 or self.inodes > 0

    def helps(self, need: Space) -> bool:
        """Whether this brings anything that is needed."""
        return (need.bytes > 0 and self.bytes > 0) or (need.inodes > 0 and self.inodes > 0)

    def quantity(self, need: Space) -> Quantity:
        """In the unit that is short; bytes when both are."""
        if need.inodes and not need.bytes:
            return Quantity(amount=self.inodes, unit="inodes")
        return Quantity(amount=self.bytes, unit="bytes")

    def __str__(self) -> str:
        amounts = ((self.bytes, format_bytes(self.bytes)), (self.inodes, counted(self.inodes, "inode")))
        return " and ".join(words for amount, words in amounts if amount) or "nothing"


def in_trouble(usage: FilesystemUsage, policy: DiskSpacePolicy) -> bool:
    """Whether the symptom is there, by bytes or by inodes."""
    return usage.used_percent > policy.alert_used_percent or usage.inodes_used_percent > inodes_alert_percent(policy)


def inodes_alert_percent(policy: DiskSpacePolicy) -> float:
    """Inode usage above this is trouble: the alert's threshold, never below the target for inodes."""
    return max(policy.alert_used_percent, policy.target_used_inodes_percent)


def missing(usage: FilesystemUsage, policy: DiskSpacePolicy, margin: float = MARGIN) -> Space:
    """What must be freed to be at both targets and a margin below; nothing when both are reached."""
    need_bytes = need_inodes = 0
    if usage.used_percent > policy.target_used_percent:
        usable = usage.used_bytes + usage.available_bytes
        need_bytes = usage.bytes_above(policy.target_used_percent) + math.ceil(usable * margin)
    if usage.inodes_used_percent > policy.target_used_inodes_percent:
        allowed = math.floor(usage.inodes_total * policy.target_used_inodes_percent / 100)
        need_inodes = usage.inodes_used - allowed + math.ceil(usage.inodes_total * margin)
    return Space(need_bytes, need_inodes)


def percent_after(usage: FilesystemUsage, gain: Space) -> float:
    """Usage in percent of bytes once this much is free."""
    usable = usage.used_bytes + usage.available_bytes
    return 100 * max(0, usage.used_bytes - gain.bytes) / usable if usable > 0 else 100.0


def inodes_percent_after(usage: FilesystemUsage, gain: Space) -> float:
    """Usage in percent of inodes once this many are free; 0 on filesystems without fixed inodes."""
    if usage.inodes_total <= 0:
        return 0.0
    return 100 * max(0, usage.inodes_used - gain.inodes) / usage.inodes_total
