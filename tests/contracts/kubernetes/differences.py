"""Every recorded step that the fake does not reproduce, and why. A step that starts to pass must leave this list."""

from __future__ import annotations

_LOG = "The laboratory had no kubelet to ask for logs and answered 500; the fake has logs."
_GO = "The recorded message ends in a comparison of Go structures; the fake's ends before it."
_TABLE = "kubectl's table: the fake has only the columns Name and Age."

DIFFERENCES: dict[str, dict[int, str]] = {
    "04-pods": {82: _LOG, 86: _LOG, 90: _GO, 91: _GO},
    "06-storage-quota": {32: _GO, 33: _GO},
    "07-cert-manager": {37: _TABLE},
    "10-protocol": {82: _TABLE},
}
"""Transcript → step → reason."""

_STARTED = tuple(f"/items/{i}/status" for i in range(3))

ALWAYS_MOMENTARY = "/terminatingReplicas"
"""How many pods are just ending when somebody looks depends on the moment."""

MOMENTS: dict[str, dict[int, tuple[str, ...]]] = {
    # The controller had seen the newest generation, or had not.
    "03-deployment": {42: ("/status/observedGeneration",), 46: ("/status/observedGeneration",)},
    # Two pods became ready one after the other, or together.
    "05-config-service": {31: ("/items/0/metadata/generation",)},
    # The pod had been started before it was deleted, or had not.
    "10-protocol": {102: ("/status",)},
    # The pods had been started when they were listed or deleted, or had not.
    "11-python-client": {12: _STARTED, 13: _STARTED, 14: _STARTED, 22: ("/status",), 24: ("/status",)},
    "11-python-client-33": {12: _STARTED, 13: _STARTED, 14: _STARTED, 21: ("/status",), 23: ("/status",)},
}
"""Transcript → step → paths that depend on the moment, beyond those that the recorder saw differ (``unstable``)."""
