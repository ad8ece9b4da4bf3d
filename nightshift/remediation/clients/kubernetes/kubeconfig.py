"""How a cluster is reached: a context of a kubeconfig, or the account of the pod; wrong ones are told with their line.

The official client reads them, with certificates, tokens, exec plugins and proxies. It is imported here, when needed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import yaml

from nightshift.remediation.connections import KubernetesConnection
from nightshift.remediation.errors import AuthenticationError, ConfigurationError
from nightshift.remediation.text import printable

if TYPE_CHECKING:
    from kubernetes.client import Configuration

_LOCAL = ("127.0.0.1", "::1", "localhost")


def configuration_of(name: str, connection: KubernetesConnection) -> Configuration:
    """Where the cluster is and who we are there, read anew.

    Raises:
        ConfigurationError: the kubeconfig, its context, or the account of the pod is not there or not usable.
        AuthenticationError: the credentials could not be got.
    """
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException

    found = Configuration()
    try:
        if connection.context is None:
            _load_account(name, found)
        else:
            _load_context(name, connection, found)
    except ConfigException as error:
        # Its words may quote what a credential plugin wrote, so only the kind of error is told.
        raise AuthenticationError(f"{name}: no credentials can be got: {type(error).__name__}.") from None
    found.retries = False
    host = urlsplit(found.host)
    if host.scheme != "https" and host.hostname not in _LOCAL:
        raise ConfigurationError(
            f"{name} is reached without TLS, which shows our token to everybody on the way.",
            remedy="Write https:// in the kubeconfig.",
        )
    return found


def _load_account(name: str, found: Configuration) -> None:
    from kubernetes.config import ConfigException, load_incluster_config

    try:
        load_incluster_config(client_configuration=found)  # type: ignore[no-untyped-call]
    except ConfigException:
        raise ConfigurationError(
            f"{name} names no context, and this is no pod with an account of its cluster.",
            remedy="Write the context of a kubeconfig, or run the worker in the cluster.",
        ) from None


def _load_context(name: str, connection: KubernetesConnection, found: Configuration) -> None:
    from kubernetes.config import load_kube_config

    context, files = connection.context or "", kubeconfig_files(connection)
    check_context(name, context, files)
    try:
        load_kube_config(  # type: ignore[no-untyped-call]
            config_file=os.pathsep.join(map(str, files)),
            context=context,
            client_configuration=found,
            persist_config=False,
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigurationError(
            f"{name}: the context {printable(context, 80)!r} is not usable: {type(error).__name__}.",
            remedy=f"See whether kubectl --context {printable(context, 80)} works with {files[0]}.",
        ) from None


def kubeconfig_files(connection: KubernetesConnection) -> list[Path]:
    """The kubeconfig, or several that are one."""
    if connection.kubeconfig is not None:
        return [connection.kubeconfig.expanduser()]
    named = [part for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return [Path(part).expanduser() for part in named] or [Path("~/.kube/config").expanduser()]


def check_context(name: str, context: str, files: list[Path]) -> None:
    """See that one of the files has the context, and that the context leads to a cluster.

    Raises:
        ConfigurationError: it does not, with file and line.
    """
    if not (there := [file for file in files if file.exists()]):
        raise ConfigurationError(
            f"{name}: there is no kubeconfig {files[0]}.", remedy="Write its path as kubeconfig, or set KUBECONFIG."
        )
    known: list[str] = []
    clusters: set[str] = set()
    found: tuple[Path, int, str] | None = None
    for file in there:
        document = _mapping(file)
        clusters |= {_scalar(_entry(cluster, "name")) for cluster in _items(_entry(document, "clusters"))}
        for one in _items(_entry(document, "contexts")):
            known.append(_scalar(_entry(one, "name")))
            if known[-1] == context and found is None:
                cluster = _scalar(_entry(_entry(one, "context"), "cluster"))
                found = (file, one.start_mark.line + 1, cluster)
    if found is None:
        listed = ", ".join(printable(one, 60) for one in sorted(known)) or "none"
        raise ConfigurationError(
            f"{there[0]}:1: there is no context {printable(context, 80)!r}, which {name} names.",
            remedy=f"Contexts: {listed}.",
        )
    file, line, cluster = found
    if cluster not in clusters:
        raise ConfigurationError(
            f"{file}:{line}: the context {printable(context, 80)!r} names the cluster {printable(cluster, 80)!r}, "
            "which is not there."
        )


def _mapping(file: Path) -> Any:
    try:
        return yaml.compose(file.read_text(), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {type(error).__name__}.") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigurationError(f"{file}:{line}: no YAML: {printable(error.problem or '', 100)}.") from None


def _entry(node: Any, key: str) -> Any:
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((value for name, value in pairs if _scalar(name) == key), None)


def _items(node: Any) -> list[Any]:
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _scalar(node: Any) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""
