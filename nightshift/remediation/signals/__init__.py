"""Signals that users approve or reject: how many, of what, and what whoever owns the strategy needs to know."""
