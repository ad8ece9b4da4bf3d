"""A fake Kubernetes API server that follows transcripts recorded from a real control plane.

    with FakeCluster() as cluster:
        cluster.add_node("n1")
        cluster.add_deployment("web", replicas=3)
        cluster.add_budget("web", app="web", minAvailable=2)
        cluster.fail(429, retry_after=1, path="/eviction")
        client = kubernetes.config.new_client_from_config(str(cluster.kubeconfig))

Pods say by annotation how they behave (``controllers/kubelet.py``); images named ``broken:…`` cannot be pulled.
What it follows, and what of it not, is proved in ``tests/contracts/kubernetes``.
"""

from tests.fakes.kubernetes.cluster import FakeCluster
from tests.fakes.kubernetes.controllers.base import Settings
from tests.fakes.kubernetes.faults import Break, Fault

__all__ = ["Break", "FakeCluster", "Fault", "Settings"]
