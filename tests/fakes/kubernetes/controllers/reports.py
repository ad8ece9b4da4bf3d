"""Status that only reports: quotas, autoscalers without metrics, API services without a backend, node leases."""

from __future__ import annotations

from tests.fakes.kubernetes.controllers.base import Controller, with_condition
from tests.fakes.kubernetes.objects import Obj, micro_timestamp, name_of
from tests.fakes.kubernetes.quantities import written
from tests.fakes.kubernetes.quota import used_in
from tests.fakes.kubernetes.resources import BY_ID, DEPLOYMENTS, NODES, QUOTAS

_SCALERS = BY_ID["horizontalpodautoscalers.autoscaling"]
_API_SERVICES = BY_ID["apiservices.apiregistration.k8s.io"]
_LEASES = BY_ID["leases.coordination.k8s.io"]
_NO_METRICS = (
    "the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for "
    "resource cpu: unable to fetch metrics from resource metrics API: the server could not find the requested resource "
    "(get pods.metrics.k8s.io)"
)


class Reports(Controller):
    """Several small controllers."""

    def reconcile(self, now: float) -> float | None:  # noqa: ARG002
        for quota in self.store.all(QUOTAS.id):
            self._count(quota)
        for scaler in self.store.all(_SCALERS.id):
            self._scale(scaler)
        for service in self.store.all(_API_SERVICES.id):
            self._look_for_backend(service)
        for node in self.store.each(NODES.id):
            if self.store.find(_LEASES.id, "kube-node-lease", name_of(node)) is None:
                spec = {"holderIdentity": name_of(node), "leaseDurationSeconds": 40, "renewTime": micro_timestamp()}
                self.registry.create(_LEASES, "kube-node-lease", {"metadata": {"name": name_of(node)}, "spec": spec})
        return None

    def _count(self, quota: Obj) -> None:
        hard: dict[str, str] = quota["spec"].get("hard", {})
        used = used_in(self.store, quota["metadata"]["namespace"], list(hard))
        shown = {name: written(value, hard[name]) for name, value in used.items()}
        self.write_status(QUOTAS, quota, {"hard": hard, "used": shown})

    def _scale(self, scaler: Obj) -> None:
        """There are no metrics here, so an autoscaler says that it cannot scale."""
        target = scaler["spec"]["scaleTargetRef"]
        found = self.store.find(DEPLOYMENTS.id, scaler["metadata"]["namespace"], target["name"])
        if found is None:
            return
        status: Obj = {**scaler["status"], "currentReplicas": found["spec"]["replicas"]}
        status["currentMetrics"] = [{"type": ""}]
        message = "the HPA controller was able to get the target's current scale"
        status = with_condition(status, "AbleToScale", "True", reason="SucceededGetScale", message=message)
        status = with_condition(status, "ScalingActive", "False", reason="FailedGetResourceMetric", message=_NO_METRICS)
        self.write_status(_SCALERS, scaler, status)

    def _look_for_backend(self, service: Obj) -> None:
        backend = service["spec"].get("service") or {}
        where, name = backend.get("namespace", ""), backend.get("name", "")
        if self.store.find("services", where, name) is None:
            message = f'service/{name} in "{where}" is not present'
            status = with_condition(service["status"], "Available", "False", reason="ServiceNotFound", message=message)
            self.write_status(_API_SERVICES, service, status)
