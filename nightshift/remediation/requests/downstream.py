"""A service that others ask is slow: it gets more pods, up to its ceiling. Pure.

Serves the rule about downstream services of http_error_rate_response, octollm.HighErrorRate.r3.4.
"""

from __future__ import annotations

from nightshift.remediation.inventory import serves
from nightshift.remediation.kubernetes.changes import Changes
from nightshift.remediation.kubernetes.saturation import Saturated, SaturationPolicy, scale_out
from nightshift.remediation.models import Refusal, Target
from nightshift.remediation.requests.causes import Suspect
from nightshift.remediation.text import printable


@serves("octollm.HighErrorRate: r3.4")
def scale_out_downstream(target: Target, one: Suspect, changes: Changes) -> bool:
    """Half as many pods again up to the ceiling, never against an autoscaler; True when it is done."""
    answered = one.answered
    if answered is None:
        return False
    what = f"Scaling out {printable(answered.name, 100)}"
    workload = answered.workload
    if answered.ceiling is None or workload is None or not workload.template.containers:
        reason = "what runs behind it is not known" if workload is None else "no ceiling is declared for it"
        changes.refusals.append(Refusal(what=what, reason=reason, lifted_by="ceiling"))
        return False
    seen = Saturated(
        workload=workload, container=workload.template.containers[0], uses=(), autoscalers=answered.autoscalers
    )
    policy = SaturationPolicy(most_replicas=answered.ceiling)
    return scale_out(target, seen, policy, f"{one.words[:1].upper()}{one.words[1:]}.", changes)
