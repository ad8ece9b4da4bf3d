"""Signed requests that are refused: signatures, replay protection, secrets and clocks."""
