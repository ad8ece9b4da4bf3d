"""Requests of a service that fail or are slow: what is measured, what may be behind it, and what may be done. Pure."""
