"""Commands that start something by hand: ``alert fire``, as Alertmanager would, and ``run`` for a flow.

What they need is imported by the command (see ``opened``).
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nightshift.gateway.cli import completion
from nightshift.gateway.cli.incident_commands import follow_incident
from nightshift.gateway.cli.opened import (
    flow_run_url,
    incident_row,
    open_catalogue,
    open_ledger,
    open_settings,
    system_of,
)
from nightshift.gateway.cli.output import Json, err, out, print_json
from nightshift.gateway.cli.texts import inert, shown, unicode_text
from nightshift.remediation.inventory import serves

commands = typer.Typer()
alert = typer.Typer(no_args_is_help=True, help="Send an alert by hand.")
commands.add_typer(alert, name="alert")

System = Annotated[
    str, typer.Option(help="System of the catalogue.", autocompletion=completion.systems, callback=unicode_text)
]


def _several(what: str) -> Any:
    help_text = f"{what}; may be given several times."
    return typer.Option(metavar="NAME=VALUE", show_default=False, callback=unicode_text, help=help_text)


def _pairs(given: list[str] | None, what: str) -> dict[str, str]:
    """Names and values of ``name=value`` texts.

    Raises:
        BadParameter: one is not of this form, or a name stands twice.
    """
    found: dict[str, str] = {}
    for pair in given or []:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"{inert(pair)!r} is no {what}; write NAME=VALUE", param_hint=f"--{what}")
        if name in found:
            raise typer.BadParameter(f"the {what} {inert(name)!r} stands twice", param_hint=f"--{what}")
        found[name] = value
    return found


@serves("test_watcher.general: test_alerts")
@alert.command()
def fire(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ALERTNAME", help="Name of the alert.", autocompletion=completion.alerts, callback=unicode_text
        ),
    ],
    system: System,
    label: Annotated[list[str] | None, _several("A label")] = None,
    annotation: Annotated[list[str] | None, _several("An annotation")] = None,
    severity: Annotated[
        str, typer.Option(show_default="as the catalogue has it", callback=unicode_text, help="Its severity label.")
    ] = "",
    resolved: Annotated[bool, typer.Option("--resolved", help="Say that the alert, fired before, is over.")] = False,
    alertmanager: Annotated[
        str,
        typer.Option(
            metavar="URL", show_default=False, help="Send it to this Alertmanager instead of to the gateway itself."
        ),
    ] = "",
    wait: Annotated[
        float, typer.Option(min=0, max=3600, metavar="SECONDS", help="How long to wait for what becomes of it.")
    ] = 5,
    as_json: Json = False,
) -> None:
    """Send an alert to the gateway exactly as Alertmanager would, and print the incident that it led to.

    An alert that the catalogue does not know is sent, too: it pages a person. The same labels again are the same alert.
    """
    from nightshift.gateway.cli import alert_sending

    labels = {**_pairs(label, "label"), "alertname": name, "system": system}
    runbook = open_catalogue().systems.get(system)
    known = runbook.runbooks.get(name) if runbook else None
    if level := severity or labels.get("severity") or (known.severity.value if known else ""):
        labels["severity"] = level
    with open_ledger() as ledger:
        sent = alert_sending.send(
            open_settings(),
            ledger,
            alert_sending.FiredAlert(labels, _pairs(annotation, "annotation"), resolved=resolved),
            alertmanager=alertmanager,
            wait_seconds=wait,
        )
    if as_json:
        print_json(sent.for_programs())
        return
    out.print(shown(sent.note or "It was sent; nothing has become of it yet.", limit=600), soft_wrap=True)
    if sent.incident is not None:
        out.print(f"Follow it: nightshift incidents follow {sent.incident}")
    elif sent.note is None:
        err.print(
            "An Alertmanager sends it on after its group_wait."
            if alertmanager
            else "Does the gateway run? `nightshift status`",
            markup=False,
            style="yellow",
        )


@commands.command()
def run(
    flow: Annotated[
        str, typer.Argument(help="Name of the flow.", autocompletion=completion.flows, callback=unicode_text)
    ],
    system: System,
    target: Annotated[
        str,
        typer.Option(help="What to work on, from the outermost in: web1:/data", callback=unicode_text),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Make and show the plan, change nothing.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Then follow the incident until it has ended.")] = False,
    as_json: Json = False,
) -> None:
    """Start a flow by hand, with the limits and approvals that hold for its alert."""
    from nightshift.catalogue.by_hand import trouble_by_hand
    from nightshift.catalogue.deciding import strictest_proof
    from nightshift.gateway.cli import incident_view
    from nightshift.gateway.cli.identity import identify
    from nightshift.remediation.errors import PermanentError
    from nightshift.remediation.people import canonical

    catalogue = open_catalogue()
    system_of(catalogue, system)
    trouble = trouble_by_hand(catalogue, flow, system, target)
    with open_ledger() as ledger:
        # Whoever asks for changes may have to leave approving them to others, so it must be known who that is.
        runbook = catalogue.systems[system].runbooks[trouble.runbook]
        proof = not dry_run and strictest_proof(catalogue.systems[system], runbook, ledger.people.anybody())
        who = identify(ledger, proof_needed=proof)
        options = {"dry_run": dry_run, "by": who.via, "requester": canonical(who.name)}
        with ledger.engine.begin() as connection:
            incident, is_new = ledger.incidents.open(connection, trouble, options=options)
        row = incident_row(ledger, incident)
        if dry_run and not row.options.get("dry_run"):
            raise PermanentError(
                f"Incident {incident} is about the same and in progress, and it is no dry run.",
                remedy=f"See its plan with `nightshift incidents show {incident}`, or wait until it has ended.",
            )
        if as_json:
            print_json({**incident_view.summary(row), "is_new": is_new})
        else:
            word = "Opened incident" if is_new else "It joins what is in progress already: incident"
            out.print(f"{word} {incident}. The gateway hands it to a worker.")
            if url := flow_run_url(row.flow_run_id):
                out.print(url, markup=False)
        if follow:
            follow_incident(ledger, incident, as_json=as_json)
        elif not as_json:
            out.print(f"Follow it: nightshift incidents follow {incident}")
