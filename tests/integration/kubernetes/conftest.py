"""A fake cluster per module, with Nightshift's connection to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import nightshift.tasks.registered  # noqa: F401 - the kinds that come with Nightshift
from nightshift.remediation.actions import ACTION_KINDS
from nightshift.remediation.clients.kubernetes.cluster import Cluster, open_cluster
from nightshift.remediation.connections import KubernetesConnection
from nightshift.remediation.models import Action
from tests.fakes.kubernetes import FakeCluster


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeCluster]:
    with FakeCluster() as running:
        running.ensure_namespace("shop")
        yield running


@pytest.fixture(autouse=True)
def _no_faults_left(fake: FakeCluster) -> Iterator[None]:
    yield
    fake.faults.clear()


def connection_by(kubeconfig: Path, **more: object) -> KubernetesConnection:
    """The connection that a kubeconfig of the fake makes."""
    context = kubeconfig.name.removesuffix(".kubeconfig")
    declared = {"type": "kubernetes", "context": context, "kubeconfig": kubeconfig, "namespace": "shop", "timeout": 5}
    return KubernetesConnection.model_validate({**declared, **more})


@pytest.fixture(scope="module")
def connection(fake: FakeCluster) -> KubernetesConnection:
    return connection_by(fake.kubeconfig)


@pytest.fixture
def cluster(connection: KubernetesConnection) -> Iterator[Cluster]:
    with open_cluster("main", connection) as opened:
        yield opened


@pytest.fixture
def kinds(connection: KubernetesConnection) -> Callable[..., Any]:
    """Calls a part of an action's kind: ``kinds(action, "act")``."""

    def call(action: Action, part: str) -> Any:
        kind = ACTION_KINDS[action.kind]
        function = getattr(kind.act, "fn", kind.act) if part == "act" else getattr(kind, part)
        return function(action, {"main": connection})

    return call
