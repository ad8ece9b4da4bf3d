"""A filesystem is filling up: what fills it, what may go, and whether it stays below its ceiling."""
