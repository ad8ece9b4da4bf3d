"""Commands about people: ``people list|add|remove|token|revoke|code``.

Whoever has the ledger's database may enrol people; every change stands in the journal with the login name.
"""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from nightshift.gateway.cli.opened import NotFoundError, login, open_ledger, open_settings
from nightshift.gateway.cli.output import Json, err, out, print_json
from nightshift.gateway.cli.texts import inert, iso, moment, shown, unicode_text
from nightshift.remediation.errors import ConfigurationError

if TYPE_CHECKING:
    from nightshift.remediation.ledger import Ledger

commands = typer.Typer()
people = typer.Typer(no_args_is_help=True, help="Enrol who may approve, and give them tokens and one-time codes.")
commands.add_typer(people, name="people")

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The person, as in `people` of the catalogue.", callback=unicode_text)
]
ISSUER = "Nightshift"
"""What the authenticator app shows beside the person's name."""


@people.command("list")
def list_people(as_json: Json = False) -> None:
    """List who is enrolled. While nobody is, login names count where the catalogue's rules let them."""
    with open_ledger() as ledger:
        rows = ledger.people.enrolled()
        tokens = {row.name: [token.id for token in ledger.people.tokens(row.name)] for row in rows}
    if as_json:
        print_json([_entry(row, tokens[row.name]) for row in rows])
    else:
        out.print(_table(rows, tokens) if rows else "Nobody is enrolled: login names count.")


@people.command()
def add(name: Name, expires: Annotated[str, typer.Option(metavar="TIME", help="Such as 90d.")] = "") -> None:
    """Enrol a person and print their personal token: once, it cannot be shown again.

    From the first person on, approving takes a token or a one-time code, unless the catalogue says `identity: login`.
    """
    from nightshift.remediation.people import checked_name

    name = checked_name(name)
    lifetime, author = _lifetime(expires), login()
    with open_ledger() as ledger:
        ledger.people.add(name, author=author)
        out.print(Text(f"{inert(name)} is enrolled."))
        _new_token(ledger, name, author, lifetime)


@people.command()
def remove(name: Name) -> None:
    """Take a person's tokens and codes away at once; approvals of theirs still short of a quorum do not count."""
    with open_ledger() as ledger:
        ledger.people.remove(name, author=login())
        left = ledger.people.anybody()
    out.print(Text(f"{inert(name)} is not enrolled any more."))
    if not left:
        err.print("Nobody is enrolled now: login names count again, where the rules let them.", style="yellow")


@people.command()
def token(
    name: Name,
    keep: Annotated[bool, typer.Option("--keep", help="The person's other tokens stay valid.")] = False,
    expires: Annotated[str, typer.Option(metavar="TIME", help="Such as 90d.")] = "",
) -> None:
    """Make a new personal token and print it once; the person's other tokens are worth nothing from then on."""
    lifetime, author = _lifetime(expires), login()
    with open_ledger() as ledger:
        new = _new_token(ledger, name, author, lifetime)
        if not keep:
            ledger.people.revoke(name, author=author, keep=new)


@people.command()
def revoke(
    name: Name,
    token_id: Annotated[
        str,
        typer.Option("--token", metavar="ID", help="Only this one; `people list` shows them.", callback=unicode_text),
    ] = "",
) -> None:
    """Make a person's tokens worthless at once."""
    with open_ledger() as ledger:
        revoked = ledger.people.revoke(name, author=login(), token_id=token_id or None)
    if not revoked:
        raise NotFoundError("There is no such token.", remedy="`nightshift people list` shows which there are.")
    out.print(Text(f"Revoked: {', '.join(revoked)}."))


@people.command()
def code(
    name: Name,
    off: Annotated[bool, typer.Option("--off", help="Take the codes away instead.")] = False,
) -> None:
    """Set up one-time codes for the form in the Prefect UI: a QR code for the person's authenticator app, once.

    An app that was set up earlier shows wrong codes from then on.
    """
    import pyotp

    from nightshift.remediation.identity import CodeKey, subject_of_codes

    key = open_settings().code_key
    secret = pyotp.random_base32()
    encrypted = None if off else CodeKey(key.get_secret_value() if key else None).encrypted(secret)
    with open_ledger() as ledger:
        ledger.people.set_code(name, encrypted, author=login(), subject=subject_of_codes(name))
    if off:
        out.print(Text(f"{inert(name)} has no one-time codes any more."))
        return
    uri = pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=ISSUER)
    if sys.stdout.isatty():
        out.print(_qr(uri), markup=False, soft_wrap=True)
    out.print(uri, markup=False, soft_wrap=True)
    err.print("Scan or paste it into an authenticator app now: it is not shown again.", style="yellow")


def _qr(text: str) -> str:
    import segno

    drawn = io.StringIO()
    segno.make(text).terminal(out=drawn, compact=True)
    return drawn.getvalue()


def _new_token(ledger: Ledger, name: str, author: str, lifetime: float | None) -> str:
    """Make, keep and print a token; its public part."""
    from nightshift.remediation.identity import hash_of
    from nightshift.remediation.people import Token

    new = Token.new()
    ledger.people.add_token(name, new.id, hash_of(new), author=author, expires_after=lifetime)
    out.print(new.text, markup=False, soft_wrap=True)
    err.print(
        "This token is not shown again. Its owner keeps it in ~/.config/nightshift/token (mode 0600) or in "
        "NIGHTSHIFT_TOKEN.",
        style="yellow",
    )
    return new.id


def _lifetime(text: str) -> float | None:
    from nightshift.remediation.durations import parse_duration

    if not text:
        return None
    try:
        seconds = float(str(parse_duration(text)))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--expires") from None
    if not 0 < seconds < 1e9:
        raise ConfigurationError("A token cannot expire then.", remedy="Write a duration such as 90d.")
    return seconds


def _entry(row: Any, tokens: list[str]) -> dict[str, Any]:
    return {
        "name": row.name,
        "since": iso(row.since),
        "by": row.author,
        "tokens": tokens,
        "token_used_at": iso(row.used_at),
        "codes_since": iso(row.code_since) if row.code_secret else None,
    }


def _table(rows: Any, tokens: dict[str, list[str]]) -> Table:
    listing = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("name", "tokens", "last used (UTC)", "one-time codes", "since (UTC)", "by"):
        listing.add_column(column, overflow="fold")
    for row in rows:
        listing.add_row(
            shown(row.name),
            Text(", ".join(tokens[row.name]) or "none"),
            moment(row.used_at),
            f"since {moment(row.code_since)}" if row.code_secret else "none",
            moment(row.since),
            shown(row.author),
        )
    return listing
