"""Backups of a database: whether a proven one exists, here and at the far end, and what may be done if not."""
