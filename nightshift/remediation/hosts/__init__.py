"""Services of a host under systemd or supervisor: what is seen of them, and what may be done about them. Pure."""
