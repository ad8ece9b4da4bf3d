"""Whole services killed while flow runs stand at every step of the gate; what really happened is counted outside."""
