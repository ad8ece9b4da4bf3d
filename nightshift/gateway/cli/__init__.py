"""The command line ``nightshift``."""

from nightshift.gateway.cli.main import app, main

__all__ = ["app", "main"]
