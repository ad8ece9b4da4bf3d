"""Names and selectors of Kubernetes: what an alert says never widens what is looked at."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from nightshift.catalogue.matching import Match, SystemIndex
from nightshift.catalogue.models import Runbook, System
from nightshift.remediation.connections import Connection, KubernetesConnection
from nightshift.remediation.kubernetes.names import field_selector, label_selector, namespace_name, object_name
from nightshift.remediation.kubernetes.objects import Requirement, Selector
from nightshift.remediation.models import Alert

HOSTILE = [
    "",
    "web,app!=x",
    "web)",
    "../secrets",
    "a/b",
    "Web",
    "web\n",
    "-web",
    "web-",
    "a" * 254,
    "web?x=1",
    "ẁeb",
    "*",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        object_name(text)
    with pytest.raises(ValueError, match="no name"):
        namespace_name(text)


@pytest.mark.parametrize("text", ["web", "web-0", "0", "ip-10-0-0-1.eu-west-1.compute.internal", "a" * 63])
def test_names_as_clusters_have_them_are_taken(text: str) -> None:
    assert object_name(text) == text


@given(st.text(max_size=80))
def test_whatever_a_label_holds_it_cannot_add_to_a_selector(value: str) -> None:
    try:
        selector = label_selector({"app": value})
        fields = field_selector({"spec.nodeName": value})
    except ValueError:
        return
    assert selector == f"app={value}"
    assert fields == f"spec.nodeName={value}"
    assert not set(value) & set(",=!() \n&?")


def test_a_selector_is_written_as_the_api_takes_it() -> None:
    selector = Selector(
        labels={"app.kubernetes.io/name": "web"},
        expressions=(
            Requirement(key="tier", operator="In", values=("front", "back")),
            Requirement(key="old", operator="DoesNotExist"),
        ),
    )

    assert label_selector(selector) == "app.kubernetes.io/name=web,tier in (front,back),!old"


@pytest.mark.parametrize("empty", [{}, Selector()])
def test_an_empty_selector_is_not_everything_by_accident(empty: Any) -> None:
    with pytest.raises(ValueError, match="everything"):
        label_selector(empty)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"kubeconfig": "/etc/kubeconfig"}, "needs a context"),
        ({"namespace": "Shop"}, "no name of a namespace"),
        ({"namespaces": ["a,b"]}, "no name of a namespace"),
        ({"timeout": 0}, "greater than 0"),
    ],
)
def test_a_wrong_connection_says_what_is_wrong(wrong: dict[str, Any], says: str) -> None:
    declared = {"type": "kubernetes", "namespace": "shop", **wrong}

    with pytest.raises(ValidationError, match=says):
        TypeAdapter[Connection](Connection).validate_python(declared)


def _index(target: dict[str, Any]) -> SystemIndex:
    cluster = KubernetesConnection(
        type="kubernetes", context="c", namespace="shop", namespaces=("shop-jobs",), instances=("eu-1",)
    )
    runbook = Runbook.model_validate({"summary": "s", "severity": "warning", "target": target})
    system = System.model_construct(
        id="shop",
        display="Shop",
        match=({"team": "shop"},),
        mode="propose",
        connections={"main": cluster},
        runbooks={"PodDown": runbook},
    )
    return SystemIndex({"shop": system})


def _alert(**labels: str) -> Alert:
    return Alert(
        source="am",
        fingerprint="f",
        status="firing",
        labels={"alertname": "PodDown", "team": "shop", **labels},
        starts_at=datetime.now(UTC),
    )


POD = {"cluster": {"default": "main"}, "namespace": {"label": "namespace"}, "pod": {"label": "pod"}}


def test_an_alert_names_a_pod_in_a_namespace_of_its_system() -> None:
    index = _index({**POD, "cluster": {"label": "cluster"}})

    found = index.match(_alert(cluster="eu-1", namespace="shop-jobs", pod="web-0"))

    assert isinstance(found, Match)
    assert found.target.key == "shop/cluster/main/namespace/shop-jobs/pod/web-0"


@pytest.mark.parametrize(
    "labels",
    [
        {"namespace": "kube-system", "pod": "web-0"},
        {"namespace": "shop", "pod": "web-0,app!=x"},
        {"namespace": "shop", "pod": "../../nodes"},
        {"namespace": "shop"},
        {"namespace": "shop\n", "pod": "web-0"},
    ],
)
def test_an_alert_about_something_else_starts_nothing(labels: dict[str, str]) -> None:
    assert not isinstance(_index(POD).match(_alert(**labels)), Match)
