"""The arguments of every action on a cluster: written by the planners, checked and obeyed by the executor.

Each names its object by name and uid, so that a namesake made since is never taken for it, and says what the planner
saw, so that the executor can tell whether it still looks so. Kinds are the operations of the same names in the
inventory (``kubernetes.cordon_node``, ``kubernetes.rollout_undo``, ``certmanager.renew``, ...).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from nightshift.remediation.arguments import ActionArguments
from nightshift.remediation.kubernetes.objects import WorkloadKind
from nightshift.remediation.models import Value


class CordonNode(ActionArguments):
    """Let no new pods onto a node, and mark it as cordoned by Nightshift, so that it may be uncordoned again."""

    KIND: ClassVar[str] = "cordon_node"
    node: str
    uid: str


class UncordonNode(ActionArguments):
    """Let pods onto a node again; only while it carries the mark of :class:`CordonNode`."""

    KIND: ClassVar[str] = "uncordon_node"
    node: str
    uid: str
    well_for: float = Field(default=0, ge=0)
    """Seconds for which it must be ready and without pressure; 0: whatever its state, as an undo."""


class RestartNodeService(ActionArguments):
    """Start a service on the host of a node again, exactly the run of it that was seen to have ended."""

    KIND: ClassVar[str] = "restart_node_service"
    node: str
    uid: str
    host: str
    """The connection to the host."""
    unit: Literal["kubelet", "containerd", "crio"]
    run: str
    """systemd's InvocationID of the run that ended."""


class ListedPod(Value):
    """One pod exactly as the diagnosis saw it; another uid means that it is another pod now."""

    namespace: str
    name: str
    uid: str
    grace_seconds: int = Field(default=30, ge=0)
    """The pod's own; it is honoured."""
    budget: str = ""
    """The disruption budget that counts it; empty: none."""

    @property
    def identity(self) -> str:
        """What an approval covers."""
        return f"{self.namespace}/{self.name}#{self.uid}"


class DrainNode(ActionArguments):
    """Evict these pods through the eviction API, in this order; one that its budget keeps lets the others go first."""

    KIND: ClassVar[str] = "drain_node"
    node: str
    uid: str
    pods: tuple[ListedPod, ...] = Field(min_length=1)
    seconds: float = Field(gt=0)
    """After so long it ends and says which pods are left."""
    only_in_trouble: bool = False
    """Not when the node is well again by the time it would begin."""


class EvictPods(ActionArguments):
    """Evict these pods and no others from a crowded node; the node itself is left as it is."""

    KIND: ClassVar[str] = "evict_pods"
    node: str
    pods: tuple[ListedPod, ...] = Field(min_length=1)
    seconds: float = Field(gt=0)


class DeletePod(ActionArguments):
    """Delete one pod that a controller makes again, honouring its grace period."""

    KIND: ClassVar[str] = "delete_pod"
    pod: ListedPod
    needs_service: str = ""
    """Not before somebody answers behind this service of its namespace, which it needs; empty: at once."""


class WorkloadArguments(ActionArguments):
    """Base of what is done to a Deployment, StatefulSet or DaemonSet."""

    workload: WorkloadKind
    namespace: str
    name: str
    uid: str
    template: str
    """Digest of the pod template as diagnosed; another one means that somebody changed it since."""


class RolloutRestart(WorkloadArguments):
    """Replace the pods of a workload one by one, by its own update strategy."""

    KIND: ClassVar[str] = "rollout_restart"


class RolloutUndo(WorkloadArguments):
    """Return a Deployment to the pod template of an earlier revision."""

    KIND: ClassVar[str] = "rollout_undo"
    from_revision: int
    to_revision: int
    to_template: str
    """Digest of that revision's template."""


class SetResources(WorkloadArguments):
    """Change what one container may use. None leaves an amount as it is."""

    KIND: ClassVar[str] = "set_resources"
    container: str
    memory_limit_bytes: int | None = Field(default=None, gt=0)
    memory_request_bytes: int | None = Field(default=None, gt=0)
    cpu_limit_millicores: int | None = Field(default=None, gt=0)
    cpu_request_millicores: int | None = Field(default=None, gt=0)
    was_memory_limit_bytes: int | None = None
    was_memory_request_bytes: int | None = None
    was_cpu_limit_millicores: int | None = None
    was_cpu_request_millicores: int | None = None


class ScaleWorkload(WorkloadArguments):
    """Change how many pods a workload has."""

    KIND: ClassVar[str] = "scale_workload"
    from_replicas: int = Field(ge=0)
    to_replicas: int = Field(ge=0)


class BlockDeployments(WorkloadArguments):
    """Mark a workload so that deployment pipelines leave it alone until the mark is gone."""

    KIND: ClassVar[str] = "block_deployments"
    annotation: str
    reason: str


class ExpandClaim(ActionArguments):
    """Ask for more storage; volumes never shrink again."""

    KIND: ClassVar[str] = "expand_claim"
    namespace: str
    name: str
    uid: str
    from_bytes: int = Field(gt=0)
    """Requested so far."""
    to_bytes: int = Field(gt=0)


class RenewCertificate(ActionArguments):
    """Have cert-manager issue a certificate anew, by the condition ``Issuing`` as ``cmctl renew`` sets it."""

    KIND: ClassVar[str] = "renew_certificate"
    namespace: str
    name: str
    uid: str
    revision: int
    """Of the certificate now; a higher one means that it was renewed meanwhile."""
    secret: str
