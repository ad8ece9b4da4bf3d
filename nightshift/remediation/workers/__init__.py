"""Celery workers that are services of Docker Compose, and the queues they work off. Pure."""
