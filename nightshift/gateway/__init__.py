"""Ways in: HTTP for alerts, background work around the ledger, and the command line."""
