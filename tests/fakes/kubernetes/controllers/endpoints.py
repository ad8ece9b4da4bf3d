"""Endpoints and EndpointSlices of Services with a selector."""

from __future__ import annotations

from typing import Any

from tests.fakes.kubernetes.controllers.base import Controller
from tests.fakes.kubernetes.objects import (
    Obj,
    controller_reference,
    is_controlled_by,
    is_finished,
    is_ready,
    is_terminating,
    is_true,
    labels_of,
    name_of,
    timestamp,
)
from tests.fakes.kubernetes.resources import BY_ID, NODES, PODS

_SERVICES, _ENDPOINTS, _SLICES = BY_ID["services"], BY_ID["endpoints"], BY_ID["endpointslices.discovery.k8s.io"]
_TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"


def _target(pod: Obj) -> Obj:
    return {
        "kind": "Pod",
        "namespace": pod["metadata"]["namespace"],
        "name": name_of(pod),
        "uid": pod["metadata"]["uid"],
    }


class Endpoints(Controller):
    """The endpoints and endpoint slice controllers."""

    def reconcile(self, now: float) -> float | None:  # noqa: ARG002
        services = self.store.all(_SERVICES.id)
        for service in services:
            wanted = service["spec"].get("selector")
            if wanted:
                pods = [
                    p
                    for p in self.store.all(PODS.id, service["metadata"]["namespace"])
                    if wanted.items() <= labels_of(p).items() and p["status"].get("podIP") and not is_finished(p)
                ]
                self._write_endpoints(service, pods)
                self._write_slice(service, pods)
        names = {(s["metadata"]["namespace"], name_of(s)) for s in services}
        for old in self.store.each(_ENDPOINTS.id):
            if (old["metadata"]["namespace"], name_of(old)) not in names:
                self.store.remove(_ENDPOINTS.id, old)
        return None

    def _ports(self, service: Obj) -> list[Obj]:
        fields: list[tuple[str, Any]] = [("name", "name"), ("port", "targetPort"), ("protocol", "protocol")]
        return [{new: p[old] for new, old in fields if old in p} for p in service["spec"].get("ports") or []]

    def _write_endpoints(self, service: Obj, pods: list[Obj]) -> None:
        def addresses(ready: bool) -> list[Obj]:
            return [
                {"ip": p["status"]["podIP"], "nodeName": p["spec"]["nodeName"], "targetRef": _target(p)}
                for p in pods
                if is_ready(p) is ready and not is_terminating(p)
            ]

        subset: Obj = {}
        for field, found in (("addresses", addresses(True)), ("notReadyAddresses", addresses(False))):
            if found:
                subset[field] = found
        namespace, name = service["metadata"]["namespace"], name_of(service)
        content: Obj = {"subsets": [{**subset, "ports": self._ports(service)}]} if subset else {}
        labels = {**labels_of(service), "endpoints.kubernetes.io/managed-by": "endpoint-controller"}
        old = self.store.find(_ENDPOINTS.id, namespace, name)
        metadata: Obj = {"name": name, "namespace": namespace, "labels": labels}
        metadata["annotations"] = {_TRIGGER: timestamp()}
        if old is None:
            self.registry.create(_ENDPOINTS, namespace, {"metadata": metadata, **content})
        elif old.get("subsets") != content.get("subsets"):
            self.registry.update(_ENDPOINTS, old, {"metadata": metadata, **content})

    def _endpoint(self, pod: Obj) -> Obj:
        serving, going = is_true(pod, "Ready"), is_terminating(pod)
        endpoint: Obj = {
            "addresses": [pod["status"]["podIP"]],
            "conditions": {"ready": serving and not going, "serving": serving, "terminating": going},
            "targetRef": _target(pod),
            "nodeName": pod["spec"]["nodeName"],
        }
        node = self.store.find(NODES.id, "", pod["spec"]["nodeName"])
        zone = labels_of(node).get("topology.kubernetes.io/zone") if node else None
        return {**endpoint, "zone": zone} if zone else endpoint

    def _write_slice(self, service: Obj, pods: list[Obj]) -> None:
        namespace = service["metadata"]["namespace"]
        mine = [s for s in self.store.all(_SLICES.id, namespace) if is_controlled_by(s, service)]
        content: Obj = {"addressType": "IPv4"}
        content["endpoints"] = [self._endpoint(p) for p in pods] or None
        content["ports"] = self._ports(service) if pods else None
        if mine:
            if mine[0]["endpoints"] != content["endpoints"]:
                self.registry.update(_SLICES, mine[0], {**mine[0], **content})
            return
        labels = {
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            "kubernetes.io/service-name": name_of(service),
        }
        metadata: Obj = {"generateName": f"{name_of(service)}-", "labels": {**labels_of(service), **labels}}
        metadata |= {"annotations": {_TRIGGER: timestamp()}, "ownerReferences": [controller_reference(service)]}
        self.registry.create(_SLICES, namespace, {"metadata": metadata, **content})
