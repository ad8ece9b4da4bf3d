"""A crowded cluster: 5,000 pods on 20 nodes, written straight into the fake API server's store, in its own process."""

from __future__ import annotations

import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

from tests.fakes.kubernetes import FakeCluster
from tests.fakes.kubernetes.objects import Obj, new_uid, timestamp
from tests.fakes.kubernetes.seeds import node_body, pod_body

NODES, PODS_PER_NODE = 20, 250
NODE = "n00"
"""The node that is drained; its kubelet is not ready."""
_NAMESPACES, _BUDGETS, _DAEMON_SETS, _VOLUMES = 10, 100, 8, 200
_HOURS = 3600.0
_ENVIRONMENT = 40
"""Variables of each container: they make a pod as large as pods are where a service mesh is not used."""


def serve(pipe: Connection) -> None:
    """Serve the cluster until the other side hangs up; it is told the kubeconfig, then the calls whenever it asks."""
    with FakeCluster(tls=True, controllers=False) as cluster:
        _fill(cluster)
        pipe.send(cluster.kubeconfig)
        while True:
            try:
                pipe.recv()
            except EOFError:
                return
            pipe.send(Counter(f"{method} {_collection(path)}" for method, path in cluster.requests))
            cluster.requests.clear()


class Crowd:
    """The other end of :func:`serve`."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self.kubeconfig: Path = pipe.recv()

    def calls(self) -> Counter[str]:
        """What the API was asked since the last time, by method and kind of path."""
        self._pipe.send(None)
        counted: Counter[str] = self._pipe.recv()
        return counted


def _collection(path: str) -> str:
    """The path without names: ``/api/v1/namespaces/NAME/pods/NAME``."""
    names = ("namespaces", "nodes", "pods", "daemonsets", "replicasets")
    parts = path.split("/")
    return "/".join("NAME" if before in names else part for before, part in zip(["", *parts], parts, strict=False))


def _fill(cluster: FakeCluster) -> None:
    with cluster.store.lock:
        for number in range(_NAMESPACES):
            cluster.ensure_namespace(f"team-{number}")
        for number in range(NODES):
            _put(cluster, "nodes", _node(number))
        sets = [_daemon_set(number) for number in range(_DAEMON_SETS)]
        for body in sets:
            _put(cluster, "daemonsets.apps", body)
        for number in range(_BUDGETS):
            _put(cluster, "poddisruptionbudgets.policy", _budget(number))
        for number in range(_VOLUMES):
            _put(cluster, "persistentvolumes", _volume(number))
        for number in range(NODES * PODS_PER_NODE):
            on_node, node = divmod(number, NODES)
            owner = sets[on_node] if on_node < len(sets) else None
            _put(cluster, "pods", _pod(number, f"n{node:02}", owner))


def _put(cluster: FakeCluster, resource: str, body: Obj) -> None:
    long_ago = timestamp(time.time() - 48 * _HOURS)
    body["metadata"] = {"uid": new_uid(), "creationTimestamp": long_ago, **body["metadata"]}
    cluster.store.put(resource, body)


def _node(number: int) -> Obj:
    body = node_body(f"n{number:02}", {}, PODS_PER_NODE, "64", "256Gi", number)
    if body["metadata"]["name"] == NODE:
        ready = next(found for found in body["status"]["conditions"] if found["type"] == "Ready")
        ready |= {"status": "False", "reason": "KubeletNotReady", "lastTransitionTime": timestamp(time.time() - _HOURS)}
    return body


def _daemon_set(number: int) -> Obj:
    labels = {"agent": f"agent-{number}"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "agent:1"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": f"agent-{number}", "namespace": "kube-system", "generation": 1},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": pod,
        },
        "status": {"desiredNumberScheduled": NODES, "currentNumberScheduled": NODES, "numberReady": NODES},
    }


def _budget(number: int) -> Obj:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": f"app-{number}", "namespace": f"team-{number % _NAMESPACES}", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": f"app-{number}"}}, "minAvailable": "50%"},
        "status": {
            "observedGeneration": 1,
            "disruptionsAllowed": 20,
            "currentHealthy": 40,
            "desiredHealthy": 20,
            "expectedPods": 40,
        },
    }


def _volume(number: int) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"pv-{number}"},
        "spec": {"capacity": {"storage": "10Gi"}, "accessModes": ["ReadWriteOnce"], "csi": {"driver": "csi.example"}},
        "status": {"phase": "Bound"},
    }


def _pod(number: int, node: str, daemon_set: Obj | None) -> Obj:
    app = number // NODES % (2 * _BUDGETS)  # every other app has a disruption budget
    namespace = "kube-system" if daemon_set else f"team-{app % _NAMESPACES}"
    labels = dict(daemon_set["spec"]["selector"]["matchLabels"]) if daemon_set else {"app": f"app-{app}"}
    owner = daemon_set or {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": f"app-{app}-5d4f", "uid": f"00000000-0000-0000-0000-{app:012}"},
    }
    body = pod_body(f"{owner['metadata']['name']}-{number:05}", namespace, node, labels=labels)
    reference = {key: owner["metadata"][key] for key in ("name", "uid")}
    body["metadata"]["ownerReferences"] = [
        {"apiVersion": "apps/v1", "kind": owner["kind"], "controller": True, "blockOwnerDeletion": True, **reference}
    ]
    container = body["spec"]["containers"][0]
    container["env"] = [{"name": f"SETTING_{at:02}", "value": "x" * 60} for at in range(_ENVIRONMENT)]
    container["resources"] = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}}
    body["status"] = _status(number)
    return body


def _status(number: int) -> Obj:
    since = timestamp(time.time() - 40 * _HOURS)
    kinds = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    return {
        "phase": "Running",
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": since} for kind in kinds],
        "podIP": f"10.{number // 62500}.{number // 250 % 250}.{number % 250}",
        "startTime": since,
        "qosClass": "Burstable",
        "containerStatuses": [
            {
                "name": "main",
                "ready": True,
                "started": True,
                "restartCount": 0,
                "image": "app:1",
                "imageID": "app@sha256:" + "0" * 64,
                "containerID": f"containerd://{number:064}",
                "state": {"running": {"startedAt": since}},
            }
        ],
    }
