"""Certificates that are about to expire: why their renewal fails, and renewing one once the reason is gone."""
