"""Ways to reach real things; each opened from a typed connection, used, and closed again."""
