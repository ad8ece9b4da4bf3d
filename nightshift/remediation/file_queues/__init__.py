"""Files that wait to be tested: whether somebody works on them, how fast, and whether the host has room for more."""
