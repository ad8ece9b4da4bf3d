"""Errors in the log of a service: grouped by cause, and what each cause asks for. Pure."""
