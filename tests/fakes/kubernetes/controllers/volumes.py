"""Binds claims to volumes through the fake driver ``csi.lab.fake``, grows them, and protects those in use."""

from __future__ import annotations

from tests.fakes.kubernetes.controllers.base import Controller
from tests.fakes.kubernetes.objects import Obj, is_finished, is_terminating, name_of, timestamp
from tests.fakes.kubernetes.resources import CLAIMS, PODS, STORAGE_CLASSES, VOLUMES

DRIVER = "csi.lab.fake"
_COMPONENT = "persistentvolume-controller"
_PROVISIONER = ("volume.beta.kubernetes.io/storage-provisioner", "volume.kubernetes.io/storage-provisioner")
_BOUND = ("pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller")
_PROTECTION = "kubernetes.io/pvc-protection"


def _request(claim: Obj) -> str:
    return str(claim["spec"]["resources"]["requests"]["storage"])


class Volumes(Controller):
    """The volume controllers and the driver's provisioner and resizer."""

    def reconcile(self, now: float) -> float | None:  # noqa: ARG002
        for claim in self.store.all(CLAIMS.id):
            if is_terminating(claim):
                self._release(claim)
            elif claim["status"].get("phase") == "Pending":
                self._bind(claim)
            elif claim["status"].get("capacity", {}).get("storage") != _request(claim):
                self._grow(claim)
        return None

    def _bind(self, claim: Obj) -> None:
        name = claim["spec"].get("storageClassName")
        if not name:
            self._say(
                claim, "FailedBinding", "no persistent volumes available for this claim and no storage class is set"
            )
            return
        found = self.store.find(STORAGE_CLASSES.id, "", name)
        if found is None:
            self._say(claim, "ProvisioningFailed", f'storageclass.storage.k8s.io "{name}" not found', "Warning")
        elif found["volumeBindingMode"] == "WaitForFirstConsumer" and not self._consumed(claim):
            self._say(claim, "WaitForFirstConsumer", "waiting for first consumer to be created before binding")
        else:
            claim = self._annotate(claim, dict.fromkeys(_PROVISIONER, found["provisioner"]))
            if found["provisioner"] == DRIVER:
                self._provision(claim, found)
            else:
                self._say(
                    *(claim, "ExternalProvisioning"),
                    "Waiting for a volume to be created either by the external provisioner "
                    f"'{found['provisioner']}' or manually by the system administrator. If volume creation is "
                    "delayed, please verify that the provisioner is running and correctly registered.",
                )

    def _say(self, claim: Obj, reason: str, message: str, kind: str = "Normal") -> None:
        known = self.store.all("events", claim["metadata"]["namespace"])
        uid = claim["metadata"]["uid"]
        if not any(e["involvedObject"].get("uid") == uid and e["reason"] == reason for e in known):
            self.event(claim, reason, message, _COMPONENT, kind=kind)

    def _consumed(self, claim: Obj) -> bool:
        return bool(self._users(claim))

    def _users(self, claim: Obj) -> list[Obj]:
        pods = self.store.all(PODS.id, claim["metadata"]["namespace"])
        return [
            p
            for p in pods
            if not is_finished(p)
            and any(
                v.get("persistentVolumeClaim", {}).get("claimName") == name_of(claim)
                for v in p["spec"].get("volumes") or []
            )
        ]

    def _annotate(self, claim: Obj, annotations: Obj) -> Obj:
        old = claim["metadata"].get("annotations") or {}
        if annotations.items() <= old.items():
            return claim
        metadata = {**claim["metadata"], "annotations": {**old, **annotations}}
        return self.store.put(CLAIMS.id, {**claim, "metadata": metadata})

    def _provision(self, claim: Obj, storage_class: Obj) -> None:
        metadata = claim["metadata"]
        name = f"pvc-{metadata['uid']}"
        reference = {"kind": claim["kind"], "namespace": metadata["namespace"], "name": metadata["name"]}
        reference |= {"uid": metadata["uid"], "apiVersion": "v1"}
        volume: Obj = {
            "metadata": {
                "name": name,
                "annotations": {"pv.kubernetes.io/provisioned-by": DRIVER},
                "finalizers": ["kubernetes.io/pv-protection"],
            },
            "spec": {
                "capacity": {"storage": _request(claim)},
                "csi": {"driver": DRIVER, "volumeHandle": name},
                "accessModes": claim["spec"]["accessModes"],
                "claimRef": reference,
                "persistentVolumeReclaimPolicy": storage_class["reclaimPolicy"],
                "storageClassName": name_of(storage_class),
                "volumeMode": claim["spec"]["volumeMode"],
            },
        }
        if self.store.find(VOLUMES.id, "", name) is None:
            made = self.registry.create(VOLUMES, "", volume)
            self.write_status(VOLUMES, made, {"phase": "Bound", "lastPhaseTransitionTime": timestamp()})
        claim = self._annotate(claim, dict.fromkeys(_BOUND, "yes"))
        bound = {**claim, "spec": {**claim["spec"], "volumeName": name}}
        bound["status"] = {
            "phase": "Bound",
            "accessModes": claim["spec"]["accessModes"],
            "capacity": {"storage": _request(claim)},
        }
        self.store.put(CLAIMS.id, bound)

    def _grow(self, claim: Obj) -> None:
        volume = self.store.find(VOLUMES.id, "", claim["spec"].get("volumeName", ""))
        if volume is not None:
            self.store.put(
                VOLUMES.id,
                {
                    **volume,
                    "metadata": dict(volume["metadata"]),
                    "spec": {**volume["spec"], "capacity": {"storage": _request(claim)}},
                },
            )
        self.write_status(CLAIMS, claim, {**claim["status"], "capacity": {"storage": _request(claim)}})

    def _release(self, claim: Obj) -> None:
        finalizers = claim["metadata"].get("finalizers", [])
        if _PROTECTION in finalizers and not self._users(claim):
            left = [f for f in finalizers if f != _PROTECTION]
            self.registry.update(CLAIMS, claim, {**claim, "metadata": {**claim["metadata"], "finalizers": left}})
            volume = self.store.find(VOLUMES.id, "", claim["spec"].get("volumeName", ""))
            if volume is not None and volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete":
                self.store.remove(VOLUMES.id, volume)
