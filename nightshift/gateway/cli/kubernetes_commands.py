"""Commands about Kubernetes clusters: ``kubernetes role``."""

from __future__ import annotations

from typing import Annotated

import typer

from nightshift.gateway.cli import completion
from nightshift.gateway.cli.opened import open_catalogue, system_of
from nightshift.gateway.cli.texts import unicode_text
from nightshift.remediation.errors import ConfigurationError
from nightshift.remediation.text import printable

commands = typer.Typer()
kubernetes = typer.Typer(no_args_is_help=True, help="What Nightshift needs of a Kubernetes cluster.")
commands.add_typer(kubernetes, name="kubernetes")


@kubernetes.command()
def role(
    system: Annotated[str, typer.Option(help="The system.", autocompletion=completion.systems, callback=unicode_text)],
    cluster: Annotated[
        str | None, typer.Option(help="Its connection to the cluster; needed when it has several.")
    ] = None,
    account: Annotated[str, typer.Option(help="Name of the service account.")] = "nightshift",
    namespace: Annotated[str | None, typer.Option(help="Namespace of the account; the system's when left out.")] = None,
    operation: Annotated[
        list[str] | None, typer.Option(help="A kind of action to grant as well, such as rollout_restart; repeatable.")
    ] = None,
) -> None:
    """Write the roles that a system's flows need, and nothing more, for `kubectl apply -f -`."""
    from nightshift.remediation.kubernetes.names import namespace_name, object_name
    from nightshift.remediation.kubernetes.permissions import OPERATIONS, needs_of_flows
    from nightshift.remediation.kubernetes.roles import manifest

    found = system_of(open_catalogue(), system)
    clusters = [name for name, connection in found.connections.items() if connection.type == "kubernetes"]
    chosen = cluster or (clusters[0] if len(clusters) == 1 else "")
    if chosen not in clusters:
        known = ", ".join(sorted(clusters)) or "none"
        raise ConfigurationError(
            f"Say which cluster of {found.id} is meant.", remedy=f"With --cluster; known: {known}."
        )
    if unknown := [kind for kind in operation or () if kind not in OPERATIONS]:
        known = ", ".join(sorted(OPERATIONS))
        raise ConfigurationError(f"There is no operation {printable(unknown[0])!r}.", remedy=f"Known: {known}.")
    namespaces = found.namespaces_of(chosen)
    try:
        place = namespace_name(namespace or namespaces[0])
        needs = needs_of_flows(found.flows, namespaces, operations=operation or ())
        if not needs:
            raise ConfigurationError(
                f"No flow of {found.id} works on a cluster yet.", remedy="Name with --operation what shall be granted."
            )
        text = manifest(found.id, object_name(account), place, needs)
    except ValueError as error:
        raise ConfigurationError(f"{error}.") from None
    typer.echo(text, nl=False)
