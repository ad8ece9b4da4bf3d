"""The annotations by which Nightshift knows its own work again."""

from __future__ import annotations

CORDONED_BY = "nightshift.dev/cordoned-by"
"""On a node: the incident that cordoned it. A node cordoned without it was cordoned by somebody else."""
HEALTHY_REVISIONS = "nightshift.dev/healthy-revisions"
"""On a Deployment: digests of pod templates that were seen complete and healthy for long enough, newest first."""
DEPLOYMENTS_BLOCKED = "nightshift.dev/deployments-blocked"
"""On a workload: why pipelines should leave it alone; the default of what the policies may name instead."""
RESTARTED_FROM = "nightshift.dev/restarted-from"
"""On a pod template: digest of the template that our restart replaced."""
MADE_FOR = "nightshift.dev/made-for"
"""On an object that Nightshift made: the action that made it."""
OF_CONTROLLERS = ("pv.kubernetes.io", "volume.kubernetes.io", "volume.beta.kubernetes.io")
"""Prefixes of the annotations that the controllers of volumes write on a claim."""
