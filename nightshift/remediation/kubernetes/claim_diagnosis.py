"""What is known of a claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from nightshift.remediation.kubernetes.objects import Claim, Event, PersistentVolume, Pod, StorageClass

NO_PROVISIONER = "kubernetes.io/no-provisioner"
"""Of classes whose volumes are made by hand."""


@dataclass(frozen=True, kw_only=True)
class ClaimDiagnosis:
    """Everything the planner gets to know."""

    claim: Claim
    classes: Sequence[StorageClass] = ()
    volumes: Sequence[PersistentVolume] = ()
    consumers: Sequence[Pod] = ()
    """Pods that name the claim."""
    events: Sequence[Event] = ()
    """About the claim."""
    stateful_set: str = ""
    """Whose template the claim was made from, by its name; empty: none."""
    now: datetime

    @property
    def storage_class(self) -> StorageClass | None:
        """The class that serves it: the named one, else the newest default; None when there is none."""
        if self.claim.storage_class is not None:
            return next((c for c in self.classes if c.name == self.claim.storage_class), None)
        defaults = [c for c in self.classes if c.is_default]
        return max(defaults, key=lambda c: (c.meta.created_at or self.now, c.name), default=None)

    @property
    def age(self) -> float:
        """Seconds since it was made; 0 where that is not known."""
        made = self.claim.meta.created_at
        return max(0.0, (self.now - made).total_seconds()) if made is not None else 0.0
