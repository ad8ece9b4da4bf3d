"""Kubernetes clusters: reads as typed objects, watches, and changes that are locked, tried dry first and attributed.

It stands on the configuration and connections of the official client, which is imported when a cluster is opened,
since it takes half a second. Objects are parsed by us: pages of five hundred pods need a twentieth of the memory.
"""
