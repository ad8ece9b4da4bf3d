"""Warm starts: flow runs begin in a process that is forked from one which has everything loaded already."""
