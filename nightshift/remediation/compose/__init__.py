"""Services of Docker Compose: what is seen of them, and what may be done about them. Pure."""
