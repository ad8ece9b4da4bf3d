"""A whole fake cluster in this process: ``with FakeCluster() as cluster: …``."""

from __future__ import annotations

import json
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fakes.kubernetes.access import MASTERS, Tokens, User, account_user
from tests.fakes.kubernetes.admission import Admission
from tests.fakes.kubernetes.api import Api
from tests.fakes.kubernetes.certificates import issue_certificate
from tests.fakes.kubernetes.controllers.base import Controller, Settings
from tests.fakes.kubernetes.controllers.budgets import Budgets
from tests.fakes.kubernetes.controllers.daemonsets import DaemonSets
from tests.fakes.kubernetes.controllers.deployments import Deployments
from tests.fakes.kubernetes.controllers.endpoints import Endpoints
from tests.fakes.kubernetes.controllers.garbage import Garbage
from tests.fakes.kubernetes.controllers.kubelet import Kubelet
from tests.fakes.kubernetes.controllers.loop import Loop
from tests.fakes.kubernetes.controllers.namespaces import Namespaces
from tests.fakes.kubernetes.controllers.nodes import Nodes
from tests.fakes.kubernetes.controllers.replicasets import ReplicaSets
from tests.fakes.kubernetes.controllers.reports import Reports
from tests.fakes.kubernetes.controllers.scheduler import Scheduler
from tests.fakes.kubernetes.controllers.volumes import Volumes
from tests.fakes.kubernetes.faults import Break, Fault, Faults
from tests.fakes.kubernetes.logs import Logs
from tests.fakes.kubernetes.managed import Writer
from tests.fakes.kubernetes.messages import Answer, Request
from tests.fakes.kubernetes.objects import Obj
from tests.fakes.kubernetes.registry import DeleteOptions, Registry
from tests.fakes.kubernetes.resources import BY_ID, BY_KIND, NAMESPACES
from tests.fakes.kubernetes.seeds import deployment_body, node_body, pod_body
from tests.fakes.kubernetes.server import ApiServer
from tests.fakes.kubernetes.store import Store

_CONTROLLERS: tuple[type[Controller], ...] = (
    *(Namespaces, Nodes, Deployments, ReplicaSets, DaemonSets, Volumes, Scheduler, Kubelet),
    *(Budgets, Endpoints, Reports, Garbage),
)
_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


class FakeCluster:
    """An API server on 127.0.0.1 with controllers, scheduler and kubelets.

    Use it as a context manager; ``kubeconfig`` is a file for any client, with the rights of an administrator.

    Args:
        tls: Serve HTTPS with a certificate of its own, which the kubeconfig trusts.
        settings: How fast pods start and stop, which images cannot be pulled.
        controllers: Without them nothing moves but what a client writes.
        more: Further controllers, of add-ons.
    """

    def __init__(
        self,
        *,
        tls: bool = False,
        settings: Settings | None = None,
        controllers: bool = True,
        more: Sequence[Callable[[Registry, Settings], Controller]] = (),
    ) -> None:
        self.settings = settings or Settings()
        self.store = Store()
        self.registry = Registry(self.store, Admission(self.store))
        self.tokens = Tokens()
        self.logs = Logs()
        self.faults = Faults()
        self.requests: list[tuple[str, str]] = []
        """Method and path of every request that reached the API, in order."""
        self.crashes: list[Exception] = []
        self._folder = tempfile.TemporaryDirectory(prefix="fake-kubernetes-")
        self._ca = b""
        self._stop = threading.Event()
        self._api = Api(self.registry, self.tokens, self.logs, self.settings, self._stop)
        self._server = ApiServer(self._handle, self.faults, self._tls_context() if tls else None)
        self._scheme = "https" if tls else "http"
        kinds: list[Callable[[Registry, Settings], Controller]] = [*_CONTROLLERS, *more] if controllers else []
        made = [kind(self.registry, self.settings) for kind in kinds]
        self._loop = Loop(self.store, made)
        self.admin_token = self.tokens.issue(User("kubernetes-admin", (MASTERS, "system:authenticated")), 10**9)

    def __enter__(self) -> Self:
        with self.store.lock:
            for namespace in _NAMESPACES:
                self.registry.create(NAMESPACES, "", {"metadata": {"name": namespace}})
        self._server.start()
        self._loop.start()
        self.kubeconfig = self.write_kubeconfig("admin", self.admin_token)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._loop.stop()
        self._server.stop()
        self._folder.cleanup()
        crash = self._loop.crash or next(iter(self.crashes), None)
        if crash is not None and error is None:
            raise RuntimeError("the fake cluster itself has failed") from crash

    def pause(self) -> None:
        """Controllers, scheduler and kubelets stand still until ``settle``."""
        self._loop.pause()

    def settle(self) -> None:
        """Let everything happen that needs no more time."""
        self._loop.settle()

    @property
    def url(self) -> str:
        """Where the API is served."""
        return f"{self._scheme}://127.0.0.1:{self._server.port}"

    def _tls_context(self) -> ssl.SSLContext:
        self._ca, chain = issue_certificate(Path(self._folder.name))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        return context

    def _handle(self, request: Request) -> Answer:
        self.requests.append((request.method, request.path))
        try:
            return self._api.handle(request)
        except Exception as error:  # noqa: BLE001 - a mistake of the fake: told when the cluster is closed
            self.crashes.append(error)
            return Answer(500, f"{error!r}\n")

    # Credentials

    def write_kubeconfig(self, name: str, token: str, namespace: str = "default") -> Path:
        """A kubeconfig file with one context, called ``name``, that uses ``token``."""
        cluster: Obj = {"server": self.url}
        if self._ca:
            (Path(self._folder.name) / "ca.crt").write_bytes(self._ca)
            cluster["certificate-authority"] = str(Path(self._folder.name) / "ca.crt")
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": cluster}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": "fake", "user": name, "namespace": namespace}}],
            "current-context": name,
        }
        path = Path(self._folder.name) / f"{name}.kubeconfig"
        path.write_text(json.dumps(content, indent=2))
        return path

    def service_account(self, name: str, rules: list[Obj], namespace: str = "default", seconds: float = 3600) -> Path:
        """A kubeconfig for a service account that may do ``rules`` (of a ClusterRole) everywhere, and nothing else."""
        self.ensure_namespace(namespace)
        subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
        group = "rbac.authorization.k8s.io"
        self.apply(
            {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": name, "namespace": namespace}},
            {"kind": "ClusterRole", "apiVersion": f"{group}/v1", "metadata": {"name": name}, "rules": rules},
            {
                "kind": "ClusterRoleBinding",
                "apiVersion": f"{group}/v1",
                "metadata": {"name": name},
                "subjects": [subject],
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            },
        )
        token = self.tokens.issue(account_user(namespace, name), seconds)
        return self.write_kubeconfig(name, token, namespace)

    def expire_tokens(self) -> None:
        """From now on every token issued so far is answered 401."""
        self.tokens.expire()

    # Objects

    def apply(self, *objects: Obj, manager: str = "lab") -> list[Obj]:
        """Create or replace objects, in this manager's name; they say their apiVersion, kind and namespace."""
        return [self._apply(obj, manager) for obj in objects]

    def _apply(self, obj: Obj, manager: str = "lab") -> Obj:
        group = obj["apiVersion"].rpartition("/")[0]
        resource = BY_KIND[group, obj["kind"]]
        namespace = obj["metadata"].get("namespace", "default") if resource.namespaced else ""
        with self.store.lock:
            old = self.store.find(resource.id, namespace, obj["metadata"]["name"])
            if old is None:
                made = self.registry.create(resource, namespace, obj, writer=Writer(manager))
            else:
                made = self.registry.update(resource, old, obj, writer=Writer(manager))
            if "status" in obj and resource.has_status:
                status, writer = {**made, "status": obj["status"]}, Writer(manager, "status")
                made = self.registry.update(resource, made, status, subresource="status", writer=writer)
            return made

    def ensure_namespace(self, name: str) -> None:
        with self.store.lock:
            if self.store.find(NAMESPACES.id, "", name) is None:
                self.registry.create(NAMESPACES, "", {"metadata": {"name": name}})

    def add_node(
        self, name: str, *, labels: dict[str, str] | None = None, pods: int = 110, cpu: str = "8", memory: str = "16Gi"
    ) -> Obj:
        """A ready node."""
        number = len(self.objects("nodes"))
        return self._apply(node_body(name, labels or {}, pods, cpu, memory, number))

    def add_pod(self, name: str, *, node: str | None = None, namespace: str = "default", **more: object) -> Obj:
        """A pod without an owner; ``labels``, ``annotations``, ``image``, ``volumes`` and ``grace`` as wanted."""
        self.ensure_namespace(namespace)
        return self._apply(pod_body(name, namespace, node, **more))  # type: ignore[arg-type]

    def add_deployment(
        self, name: str, *, replicas: int = 1, image: str = "app:1", namespace: str = "default", **more: object
    ) -> Obj:
        """A Deployment whose pods carry ``app=<name>``; ``annotations`` are those of its pods."""
        self.ensure_namespace(namespace)
        return self._apply(deployment_body(name, namespace, replicas, image, **more))  # type: ignore[arg-type]

    def add_budget(self, name: str, app: str, *, namespace: str = "default", **spec: object) -> Obj:
        """A PodDisruptionBudget for ``app=<app>``: ``minAvailable=…`` or ``maxUnavailable=…``."""
        body = {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": {"matchLabels": {"app": app}}, **spec},
        }
        return self._apply(body)

    def objects(self, resource: str, namespace: str = "") -> list[Obj]:
        """Objects as stored, by the resource's name (``pods``, ``deployments.apps``)."""
        with self.store.lock:
            return self.store.all(resource, namespace)

    def find(self, resource: str, name: str, namespace: str = "default") -> Obj | None:
        with self.store.lock:
            return self.store.find(resource, namespace if BY_ID[resource].namespaced else "", name)

    def remove(self, resource: str, name: str, namespace: str = "default") -> None:
        """Delete at once, as somebody else might."""
        where = namespace if BY_ID[resource].namespaced else ""
        with self.store.lock:
            self.registry.delete(BY_ID[resource], where, name, DeleteOptions(grace_seconds=0))

    # What happens to the cluster

    def silence_node(self, name: str) -> None:
        """The node's kubelet stops: soon the node is ``Ready=Unknown``, and its pods do not end."""
        with self.store.lock:
            self.settings.silent_nodes.add(name)
            self.store.lock.notify_all()

    def revive_node(self, name: str) -> None:
        """The node's kubelet is back, and reports itself ready."""
        with self.store.lock:
            self.settings.silent_nodes.discard(name)
            old = self.registry.get(BY_ID["nodes"], "", name)
            fresh = node_body(name, {}, 110, "8", "16Gi", 0)["status"]["conditions"]
            self.registry.update(
                BY_ID["nodes"], old, {**old, "status": {**old["status"], "conditions": fresh}}, subresource="status"
            )

    def fail(self, status: int | None = None, *, break_: Break | None = None, **more: object) -> None:
        """Let requests fail: see ``Fault`` for what can be said of which, how often and how."""
        self.faults.add(Fault(status=status, break_=break_, **more))  # type: ignore[arg-type]

    def compact(self) -> None:
        """Forget the history: watches and list tokens from before are answered 410."""
        with self.store.lock:
            self.store.compact()
            self.store.lock.notify_all()

    def stop_api(self) -> None:
        """The API server is gone (connections cut, port closed); controllers and kubelets go on."""
        self._server.stop()

    def start_api(self) -> None:
        """The API server is back on the same port."""
        self._server.start()

    @contextmanager
    def api_down(self) -> Iterator[None]:
        self.stop_api()
        try:
            yield
        finally:
            self.start_api()

    def wait_until(self, true: Callable[[], bool], seconds: float = 10) -> None:
        """Raises: TimeoutError."""
        ends = time.monotonic() + seconds
        while not true():
            if time.monotonic() > ends:
                raise TimeoutError("the fake cluster did not get there")
            time.sleep(0.01)
