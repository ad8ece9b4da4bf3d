"""Who uses the command line: a personal token where one is given or needed, else the login name.

A token is never an argument, which everybody on the machine could see: it comes from ``NIGHTSHIFT_TOKEN``, from a file
that only its owner may read, or is typed without being shown.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nightshift.gateway.cli.opened import login, via_command_line
from nightshift.remediation.errors import AuthenticationError, ConfigurationError

if TYPE_CHECKING:
    from nightshift.remediation.decisions import Identity
    from nightshift.remediation.ledger import Ledger

PLACE = "command line"
_LONGEST_TOKEN = 200


def token_file() -> Path:
    """Where the token may be kept: ``NIGHTSHIFT_TOKEN_FILE``, else ``nightshift/token`` in the user's config folder."""
    if given := os.environ.get("NIGHTSHIFT_TOKEN_FILE"):
        return Path(given)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "nightshift" / "token"


def given_token() -> str | None:
    """The token of the environment, else of the file; None when there is neither.

    Raises:
        ConfigurationError: others may read the file, or it cannot be read.
    """
    if text := os.environ.get("NIGHTSHIFT_TOKEN"):
        return text
    file = token_file()
    try:
        with file.open() as opened:
            mode = os.fstat(opened.fileno()).st_mode
            if stat.S_IMODE(mode) & 0o077:
                raise ConfigurationError(
                    f"Others may read your token in {file}.",
                    remedy=f"chmod 600 {file}, and get a new token: others may have it.",
                )
            return opened.read(_LONGEST_TOKEN).strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The token in {file} cannot be read: {type(error).__name__}.") from None


def identify(ledger: Ledger, *, proof_needed: bool, incident_id: int | None = None) -> Identity:
    """Who this is. A token that is given counts in any case; it is asked for only where it is needed.

    Args:
        ledger: who is enrolled.
        proof_needed: whether a login name is not enough.
        incident_id: what they want to decide about, for the record of failures.

    Raises:
        NotIdentifiedError: the token is not known, not valid any more, or there were too many failures.
        AuthenticationError: a token is needed, and there is none and no terminal to ask on.
    """
    from nightshift.remediation.decisions import Identity, Vouched
    from nightshift.remediation.identity import CodeKey, Identification

    token = given_token()
    if token is None and not proof_needed:
        person = login()
        return Identity(person, via_command_line(person), Vouched.LOGIN)
    if token is None:
        token = _typed()
    return Identification(ledger, CodeKey(None), incident_id).by_token(token, PLACE)


def _typed() -> str:
    if not sys.stdin.isatty():
        raise AuthenticationError(
            "A personal token is needed: a login name is not enough here.",
            remedy=f"Set NIGHTSHIFT_TOKEN, or write it to {token_file()} with mode 0600. "
            "`nightshift people token NAME` makes one.",
        )
    import typer

    return str(typer.prompt("Your personal token (not shown)", hide_input=True, err=True))
