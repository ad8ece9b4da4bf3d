"""Names of Kubernetes objects, and selectors made of them: hostile ones are refused, never escaped or cut.

A name that came from an alert goes into a path or a selector of the API only after it passed here; so a label such as
``x,app!=web`` or ``../secrets`` never widens what is looked at or changed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator

from nightshift.remediation.kubernetes.objects import Requirement, Selector
from nightshift.remediation.text import printable

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_FIELD = re.compile(r"[a-z][A-Za-z]*(\.[a-z][A-Za-z]*)*")
_FIELD_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._:-]{0,251}[A-Za-z0-9])?")


def namespace_name(text: str) -> str:
    """A DNS label of RFC 1123, as namespaces and containers are named.

    Raises:
        ValueError: it is none.
    """
    if not _LABEL.fullmatch(text):
        raise ValueError(f"{_shown(text)} is no name of a namespace: lower-case letters, digits and '-', at most 63")
    return text


def object_name(text: str) -> str:
    """A DNS subdomain of RFC 1123, as nodes, pods and workloads are named.

    Raises:
        ValueError: it is none.
    """
    if len(text) > 253 or not _SUBDOMAIN.fullmatch(text):
        raise ValueError(f"{_shown(text)} is no name in Kubernetes: lower-case letters, digits, '-' and '.'")
    return text


OBJECT_KINDS = (
    "node",
    "namespace",
    "pod",
    "deployment",
    "statefulset",
    "daemonset",
    "autoscaler",
    "claim",
    "configmap",
    "certificate",
)
"""Kinds of a target's path below ``cluster``: ``cluster/c/node/n1``, ``cluster/c/namespace/shop/pod/web-1``."""


def object_of_cluster(kind: str, name: str) -> str:
    """The name of an object of one of these kinds.

    Raises:
        ValueError: it is no name in Kubernetes.
    """
    return namespace_name(name) if kind == "namespace" else object_name(name)


Namespace = Annotated[str, AfterValidator(namespace_name)]
ObjectName = Annotated[str, AfterValidator(object_name)]


def label_selector(selector: Selector | Mapping[str, str]) -> str:
    """The selector as the API takes it in a query.

    Raises:
        ValueError: a key or value cannot be one of a label, or nothing is selected by.
    """
    if not isinstance(selector, Selector):
        selector = Selector(labels=selector)
    parts = [f"{_label_key(key)}={_label_value(value)}" for key, value in sorted(selector.labels.items())]
    parts += [_expression(requirement) for requirement in selector.expressions]
    if not parts:
        raise ValueError("an empty selector means everything; say so by giving none")
    return ",".join(parts)


def field_selector(fields: Mapping[str, str]) -> str:
    """Fields that must be equal, as the API takes them: ``spec.nodeName=n1``.

    Raises:
        ValueError: a path or value is none that a field can have.
    """
    for path, value in fields.items():
        if not _FIELD.fullmatch(path):
            raise ValueError(f"{_shown(path)} is no path of a field")
        if not _FIELD_VALUE.fullmatch(value):
            raise ValueError(f"{_shown(value)} is no value of {path}")
    return ",".join(f"{path}={value}" for path, value in sorted(fields.items()))


def _label_key(key: str) -> str:
    prefix, slash, name = key.rpartition("/")
    if slash:
        object_name(prefix)
    if not _QUALIFIED.fullmatch(name):
        raise ValueError(f"{_shown(key)} is no key of a label")
    return key


def _label_value(value: str) -> str:
    if value and not _QUALIFIED.fullmatch(value):
        raise ValueError(f"{_shown(value)} is no value of a label")
    return value


def _expression(requirement: Requirement) -> str:
    key = _label_key(requirement.key)
    values = ",".join(_label_value(value) for value in requirement.values)
    match requirement.operator:
        case "In" if requirement.values:
            return f"{key} in ({values})"
        case "NotIn" if requirement.values:
            return f"{key} notin ({values})"
        case "Exists":
            return key
        case "DoesNotExist":
            return f"!{key}"
    raise ValueError(f"{_shown(requirement.operator)} with {len(requirement.values)} values selects nothing")


def _shown(text: str) -> str:
    return f"'{printable(text, 80)}'"
