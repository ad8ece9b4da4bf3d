"""A Docker engine, limited to one project of Docker Compose."""
