"""Server-side apply: creation, conflicts with whoever else owns a field, and what is stated no more."""

from __future__ import annotations

import yaml

from tests.fakes.kubernetes import errors
from tests.fakes.kubernetes.managed import Writer, check_conflicts, fields_of, without_forgotten
from tests.fakes.kubernetes.messages import Request, truth
from tests.fakes.kubernetes.objects import Obj
from tests.fakes.kubernetes.patches import strategic_merge


def applied_by(request: Request, subresource: str) -> tuple[Writer, Obj]:
    """(who applies, the object applied).

    Raises:
        ApiError: 422 without a field manager.
    """
    manager = request.query.get("fieldManager", "")
    if not manager:
        cause = errors.required("fieldManager", "is required for apply patch")
        raise errors.invalid("PatchOptions", "meta.k8s.io", "", [cause])
    wanted: Obj = yaml.safe_load(request.body)
    stated = fields_of(wanted, status=subresource == "status")
    return Writer(manager, subresource, stated), wanted


def merged(request: Request, writer: Writer, old: Obj, applied: Obj) -> Obj:
    """Raises: ApiError 409, somebody else owns one of the fields and gave it another value."""
    if not truth(request.query.get("force")):
        check_conflicts(writer, old, applied)
    return without_forgotten(writer, old, strategic_merge(old, applied))
