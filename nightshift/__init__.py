"""Nightshift: on-call runbooks that run themselves, safely."""

__version__ = "0.1.0"
