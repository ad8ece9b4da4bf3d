"""Options that come with a write: dry run, deletion."""

from __future__ import annotations

import json
from typing import Any

from tests.fakes.kubernetes import errors
from tests.fakes.kubernetes.lists import integer
from tests.fakes.kubernetes.messages import Request
from tests.fakes.kubernetes.objects import Obj
from tests.fakes.kubernetes.registry import DeleteOptions

_POLICIES = ("Foreground", "Background", "Orphan", "nil")


def dry_run(request: Request, kind: str) -> bool:
    """Raises: ApiError 422 for anything but ``All``."""
    value = request.query.get("dryRun", "")
    if value not in ("", "All"):
        cause = errors.unsupported("dryRun", json.dumps([value]), ["All"])
        raise errors.invalid(kind, "meta.k8s.io", "", [cause])
    return value == "All"


def _invalid(cause: errors.Cause) -> errors.ApiError:
    return errors.invalid("DeleteOptions", "meta.k8s.io", "", [cause])


def delete_options(request: Request, body: Any = None) -> DeleteOptions:
    """From the body; the query counts only where there is no body.

    Raises:
        ApiError: 422.
    """
    options: Obj = body if body is not None else json.loads(request.body or b"{}")
    query = request.query
    if not options:
        options = {k: query[k] for k in ("propagationPolicy", "orphanDependents") if k in query}
        if "gracePeriodSeconds" in query:
            options["gracePeriodSeconds"] = integer(query["gracePeriodSeconds"])
    policy = options.get("propagationPolicy")
    if policy is not None and policy not in _POLICIES:
        raise _invalid(errors.unsupported("propagationPolicy", f'"{policy}"', _POLICIES))
    if policy is not None and options.get("orphanDependents") is not None:
        why = "orphanDependents and deletionPropagation cannot be both set"
        raise _invalid(errors.invalid_value("propagationPolicy", f'"{policy}"', why))
    if options.get("orphanDependents"):
        policy = "Orphan"
    preconditions = options.get("preconditions") or {}
    return DeleteOptions(
        grace_seconds=options.get("gracePeriodSeconds"),
        propagation=policy,
        uid=preconditions.get("uid"),
        resource_version=preconditions.get("resourceVersion"),
        dry_run=dry_run(request, "DeleteOptions") or options.get("dryRun") == ["All"],
    )
