"""``make demo``: the main job on a disk that is really full, from the alert to the report."""
