"""Requests that somebody sends too many of: who, how much, legitimate or not, and a narrow block with an end."""
