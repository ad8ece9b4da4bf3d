"""Services of others that a system calls: how they fail, and what may be done about it."""
