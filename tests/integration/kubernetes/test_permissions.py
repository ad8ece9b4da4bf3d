"""Least privilege: the roles that are written are enough for everything, and each that is missing is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import nightshift.tasks.registered  # noqa: F401 - the kinds that come with Nightshift
from nightshift.catalogue.models import System
from nightshift.gateway.cli.main import app
from nightshift.remediation.actions import ACTION_KINDS
from nightshift.remediation.clients.kubernetes import resources
from nightshift.remediation.clients.kubernetes.access import is_allowed, lacks
from nightshift.remediation.clients.kubernetes.cluster import open_cluster
from nightshift.remediation.clients.kubernetes.resources import NODES, Resource
from nightshift.remediation.kubernetes.arguments import CordonNode, RolloutRestart, UncordonNode
from nightshift.remediation.kubernetes.objects import WorkloadKind
from nightshift.remediation.kubernetes.permissions import OPERATIONS, WITH_SECRETS, Need, needs_of, needs_of_flows
from nightshift.remediation.kubernetes.roles import documents, rules
from nightshift.remediation.models import Action, Quantity, Risk, Target
from nightshift.remediation.privileges import lacking
from nightshift.running.doctor.clusters import look_at_cluster, look_at_permissions
from nightshift.running.doctor.finding import Level
from tests.fakes.kubernetes import FakeCluster
from tests.fakes.kubernetes.access import account_user
from tests.integration.kubernetes.conftest import connection_by

FLOWS = ("node-not-ready", "pod-crash-loop", "deployment-replicas-mismatch", "certificate-expiry")
NEEDS = needs_of_flows(FLOWS, ("shop",), operations=set(OPERATIONS) - WITH_SECRETS)
CHANGES = sorted({need for need in NEEDS if need.verb not in ("get", "list", "watch")})


def granted(fake: FakeCluster, account: str, needs: list[Need]) -> Path:
    """A kubeconfig of an account that was given the roles of these needs."""
    for document in documents(account, account, "shop", needs):
        fake.apply(document)
    token = fake.tokens.issue(account_user("shop", account), 3600)
    return fake.write_kubeconfig(account, token, "shop")


def test_with_the_roles_everything_can_be_read_and_every_need_is_allowed(fake: FakeCluster) -> None:
    file = granted(fake, "full", NEEDS)
    everything = [found for found in vars(resources).values() if isinstance(found, Resource)]

    with open_cluster("main", connection_by(file)) as cluster:
        for resource in everything:
            assert list(cluster.list(resource, "shop" if resource.namespaced else None)) is not None
        assert [str(need) for need in NEEDS if not is_allowed(cluster, need)] == []
        assert list(cluster.list(resources.PODS)) is not None


def test_with_the_roles_nothing_else_is_allowed(fake: FakeCluster) -> None:
    file = granted(fake, "modest", NEEDS)
    others = [
        Need("get", "secrets", namespace="shop"),
        Need("list", "secrets", everywhere=True),
        Need("delete", "nodes", everywhere=True),
        Need("delete", "pods", namespace="default"),
        Need("create", "pods", namespace="shop"),
        Need("patch", "deployments", "apps", namespace="default"),
        Need("create", "pods", "", "exec", namespace="shop"),
    ]

    with open_cluster("main", connection_by(file)) as cluster:
        assert [str(need) for need in others if is_allowed(cluster, need)] == []


def test_each_missing_permission_is_one_finding(fake: FakeCluster) -> None:
    for number, missing in enumerate(CHANGES):
        file = granted(fake, f"lacks-{number}", [need for need in CHANGES if need != missing])
        near = CHANGES[max(0, number - 1) : number + 2]

        with open_cluster("main", connection_by(file)) as cluster:
            found = lacks(cluster, near)

        assert [lack.what for lack in found] == [str(missing)]
        assert f"--verb={missing.verb}" in found[0].grant


def _action(arguments: CordonNode | RolloutRestart) -> Action:
    return Action(
        kind=arguments.KIND,
        target=Target(system="shop", path=("cluster", "main", "namespace", "shop")),
        arguments=arguments.to_json(),
        title="do it",
        reason="test",
        risk=Risk.MEDIUM,
        bound=Quantity(amount=1, unit="nodes"),
        undo="by hand",
    )


def test_nobody_is_asked_about_what_would_be_refused(fake: FakeCluster) -> None:
    fake.add_node("n1")
    node = fake.find("nodes", "n1")
    assert node is not None
    poor = connection_by(granted(fake, "reader", [need for need in NEEDS if need.verb != "patch"]))
    cordon = _action(CordonNode(node="n1", uid=node["metadata"]["uid"]))

    why = lacking(ACTION_KINDS["cordon_node"].permitted, cordon, {"main": poor})

    assert why is not None
    assert why.startswith("Nightshift lacks the permission: it may not patch nodes in the whole cluster. To grant it:")
    rich = connection_by(granted(fake, "full", NEEDS))
    assert lacking(ACTION_KINDS["cordon_node"].permitted, cordon, {"main": rich}) is None


def test_an_action_asks_only_for_what_it_needs_itself() -> None:
    restart = RolloutRestart(workload=WorkloadKind.STATEFUL_SET, namespace="shop", name="db", uid="u", template="t")

    assert [str(need) for need in needs_of(restart)] == [
        "get statefulsets.apps in shop",
        "patch statefulsets.apps in shop",
    ]
    assert needs_of(UncordonNode(node="n1", uid="u")) == list(OPERATIONS["uncordon_node"])


def test_a_system_without_flows_on_a_cluster_needs_nothing() -> None:
    assert needs_of_flows(("disk-space-reclaim",), ("shop",)) == []


def _system(flow: str) -> Any:
    class Answered:
        id = "shop"
        flows = (flow,)

    return Answered()


def test_the_doctor_tells_each_missing_permission(fake: FakeCluster) -> None:
    needs = needs_of_flows(("node-not-ready",), ("shop",))
    short = [need for need in needs if (need.verb, need.full_resource) != ("create", "pods/eviction")]
    lacking_one = connection_by(granted(fake, "examined", short))
    complete = connection_by(granted(fake, "complete", needs))
    system: System = _system("node-not-ready")

    (found,) = look_at_permissions(system, "main", lacking_one)
    (well,) = look_at_permissions(system, "main", complete)
    (answers,) = look_at_cluster("main", complete)

    assert found.level is Level.ERROR
    assert found.what == "Our account may not create pods/eviction in the whole cluster."
    assert found.remedy.startswith("Grant it: nightshift kubernetes role --system shop --cluster main")
    assert well.level is Level.OK
    assert answers.level is Level.OK


def test_the_command_writes_roles_that_kubectl_takes(
    fake: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runbooks = Path(__file__).parents[3] / "runbooks"
    monkeypatch.setenv("NIGHTSHIFT_RUNBOOKS", str(runbooks))
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))

    run = CliRunner().invoke(app, ["kubernetes", "role", "--system", "octollm", "--operation", "cordon_node"])

    assert run.exit_code == 0, run.output
    written = list(yaml.safe_load_all(run.stdout))
    assert [document["kind"] for document in written] == [
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        *("Role", "RoleBinding") * 2,
    ]
    assert {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "patch", "watch"]} in written[1][
        "rules"
    ]
    for document in written:
        namespace = document["metadata"].get("namespace")
        if namespace:
            fake.ensure_namespace(namespace)
        fake.apply(document)


def test_rules_put_together_what_belongs_together() -> None:
    needs = [Need("get", "pods"), Need("list", "pods"), Need("get", "claims"), Need("list", "claims")]

    assert rules(needs) == [{"apiGroups": [""], "resources": ["claims", "pods"], "verbs": ["get", "list"]}]


def test_names_of_nodes_are_all_that_is_needed_to_see_them(fake: FakeCluster) -> None:
    file = granted(fake, "nodes-only", [Need("list", "nodes", everywhere=True)])

    with open_cluster("main", connection_by(file)) as cluster:
        assert [node.name for node in cluster.list(NODES)]
