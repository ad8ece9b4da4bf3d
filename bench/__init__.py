"""Measurements of the whole, on a real installation. Not shipped, not part of the tests."""
