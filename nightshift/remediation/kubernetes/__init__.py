"""Kubernetes as planners see it: objects as values, and the rules that decide about them; no client here."""
