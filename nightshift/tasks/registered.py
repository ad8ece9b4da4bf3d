"""Importing this registers every action kind."""

import nightshift.tasks.database_volume_actions
import nightshift.tasks.disk_space_actions  # noqa: F401
