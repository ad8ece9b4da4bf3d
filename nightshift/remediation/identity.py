"""Showing who one is: by personal token or by one-time code. Failures are bounded, audited, and tell nothing.

A token's secret is compared as argon2id does; the secrets of one-time codes are encrypted with a key that stands in the
installation's private file, so that the database alone gives neither.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from cryptography.fernet import Fernet, InvalidToken

from nightshift.remediation.decisions import Identity, UsedCode, Vouched, Why
from nightshift.remediation.durations import format_duration
from nightshift.remediation.errors import ConfigurationError, PermanentError
from nightshift.remediation.ledger import Ledger
from nightshift.remediation.ledger.identity_tries import Bounds, TooMany
from nightshift.remediation.ledger.journal import Kind
from nightshift.remediation.ledger.people import CODE
from nightshift.remediation.people import Token, canonical

TOKEN = "token"  # noqa: S105 - not a token, the word for one
STEP_SECONDS = 30
"""How long one code is shown (RFC 6238)."""
_DRIFT_STEPS = (-1, 0, 1)
"""The person's clock may be so many steps away from the database's."""
CODE_BOUNDS = Bounds(each=((5, 900), (20, 86_400)), overall=((20, 900), (60, 86_400)))
"""With 3 codes of a million right at a time, all of a day's guesses together hit one with 1 in 5,500."""
TOKEN_BOUNDS = Bounds(each=((30, 900),))
"""Against load and noise: nobody guesses 256 bits. All unknown tokens count as one, so they shut out nobody known."""
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""The least that OWASP advises for passwords; a token's secret is random, and a gateway must not be drowned in work."""
_NOBODY = _HASHER.hash("nobody")
"""What an unknown token is compared with, so that it takes as long as a known one."""


class NotIdentifiedError(PermanentError):
    """It is not known who this is."""

    def __init__(self, why: Why, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.why = why
        self.retry_after = retry_after
        """Seconds, when there were too many failures."""


def hash_of(token: Token) -> str:
    """What is kept of a token."""
    return _HASHER.hash(token.secret)


def subject_of_codes(name: str) -> str:
    """Under what failures with a name are counted; a digest, since people paste the wrong thing into a field."""
    return hashlib.sha256(canonical(name).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class CodeKey:
    """Encrypts the secrets of one-time codes."""

    key: str | None = field(repr=False)
    """A Fernet key; None: this installation has none."""

    def encrypted(self, secret: str) -> str:
        """For the ledger.

        Raises:
            ConfigurationError: there is no key.
        """
        return self._fernet().encrypt(secret.encode()).decode()

    def decrypted(self, text: str) -> str:
        """From the ledger.

        Raises:
            ConfigurationError: there is no key, or it is another one than that which encrypted this.
        """
        try:
            return self._fernet().decrypt(text.encode()).decode()
        except InvalidToken:
            raise ConfigurationError(
                "The secrets of one-time codes were encrypted with another key.",
                remedy="Put NIGHTSHIFT_CODE_KEY back, or make new codes: nightshift people code NAME.",
            ) from None

    def _fernet(self) -> Fernet:
        if self.key is None:
            raise ConfigurationError(
                "There is no key for one-time codes.", remedy="Run `nightshift up`, or set NIGHTSHIFT_CODE_KEY."
            )
        return Fernet(self.key)


@dataclass(frozen=True)
class Identification:
    """Finds out who somebody is."""

    ledger: Ledger
    key: CodeKey
    incident_id: int | None = None
    """What they want to decide about, for the record of failures."""

    def by_token(self, text: str, place: str) -> Identity:
        """The person of a personal token; ``place`` is how it came in.

        Raises:
            NotIdentifiedError: it is not known, not valid any more, or there were too many failures.
        """
        token = Token.parse(text)
        row = self.ledger.people.by_token(token.id) if token else None
        number = self._begin(TOKEN, token.id if token and row else "unknown", TOKEN_BOUNDS)
        if not _matches(row.hash if row else _NOBODY, token) or row is None or token is None:
            raise self._failed(TOKEN, row.name if row else None, "This token is not known.")
        if row.revoked or row.expired:
            what = "was revoked" if row.revoked else "has expired"
            raise self._failed(TOKEN, row.name, f"This token {what}.")
        self.ledger.tries.was_good(number)
        self.ledger.people.used(token.id)
        return Identity(row.name, f"{place}, token {token.id[:8]}", Vouched.TOKEN, credential=token.id)

    def by_code(self, name: str, code: str, place: str) -> Identity:
        """The person whose code this is, now or a step away; it is used up by the decision it vouches for.

        Raises:
            NotIdentifiedError: name and code do not belong together, or there were too many failures.
            ConfigurationError: no codes can be checked here.
        """
        number = self._begin(CODE, subject_of_codes(name), CODE_BOUNDS)
        row = self.ledger.people.by_name(name)
        known = row is not None and row.code_secret is not None
        secret = self.key.decrypted(row.code_secret) if row is not None and known else pyotp.random_base32()
        step = _step_of(secret, "".join(code.split()), float(row.now) if row is not None else 0.0)
        if row is None or row.code_secret is None or step is None:
            raise self._failed(CODE, row.name if row else None, "Name and code do not belong together.")
        self.ledger.tries.was_good(number)
        return Identity(
            row.name, f"{place}, one-time code", Vouched.CODE, CODE, UsedCode(row.id, step, row.code_secret)
        )

    def _begin(self, way: str, subject: str, bounds: Bounds) -> int:
        number = self.ledger.tries.begin(way, subject, bounds)
        if isinstance(number, TooMany):
            whose = "by all together" if number.overall else f"with this {'name' if way == CODE else 'token'}"
            wait = format_duration(max(number.seconds, 10))
            text = f"There were too many failures {whose}; it can be tried again in {wait}."
            raise NotIdentifiedError(Why.TOO_MANY_FAILURES, text, retry_after=number.seconds)
        return number

    def _failed(self, way: str, person: str | None, reason: str) -> NotIdentifiedError:
        """Record a failure, never what was shown."""
        entry = {"way": way, "person": person, "reason": reason}
        with self.ledger.engine.begin() as connection:
            self.ledger.journal.append(connection, self.incident_id, Kind.NOT_IDENTIFIED, entry)
        return NotIdentifiedError(Why.NOT_IDENTIFIED, reason)


def _matches(digest: str, token: Token | None) -> bool:
    try:
        return _HASHER.verify(digest, token.secret if token else "")
    except (VerifyMismatchError, InvalidHashError):
        return False


def _step_of(secret: str, code: str, now: float) -> int | None:
    """The step whose code this is; None when it is none of those that count now."""
    steps = [int(now // STEP_SECONDS) + drift for drift in _DRIFT_STEPS]
    codes = {step: pyotp.TOTP(secret, interval=STEP_SECONDS).at(step * STEP_SECONDS) for step in steps if step >= 0}
    right = [step for step, expected in codes.items() if pyotp.utils.strings_equal(expected, code)]
    return right[-1] if right else None
