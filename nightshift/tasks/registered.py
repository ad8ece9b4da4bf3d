"""Importing this registers every action kind."""

import nightshift.tasks.disk_space_actions  # noqa: F401
