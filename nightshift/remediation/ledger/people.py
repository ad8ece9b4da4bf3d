"""People and what they show who they are by: tokens as hashes, secrets of one-time codes encrypted. All is audited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, and_, exists, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from nightshift.remediation.decisions import Decision
from nightshift.remediation.errors import PermanentError
from nightshift.remediation.ledger import schema
from nightshift.remediation.ledger.identity_tries import IdentityTries
from nightshift.remediation.ledger.journal import Journal, Kind
from nightshift.remediation.ledger.schema import NOW
from nightshift.remediation.ledger.sessions import reading
from nightshift.remediation.people import canonical

_PERSON, _TOKEN = schema.person, schema.personal_token
_ENROLLED = _PERSON.c.removed_at.is_(None)
_VALID = and_(_TOKEN.c.revoked_at.is_(None), or_(_TOKEN.c.expires_at.is_(None), _TOKEN.c.expires_at > NOW))
CODE = "code"
"""Credential of a decision that a one-time code vouched for."""


class NotEnrolledError(PermanentError):
    """Nobody of this name is enrolled."""


class EnrolledAlreadyError(PermanentError):
    """Somebody of this name is enrolled already."""


class People:
    """Enrols, gives out, revokes, and looks up."""

    def __init__(self, engine: Engine, journal: Journal) -> None:
        self._engine = engine
        self._journal = journal

    # --- changing

    def add(self, name: str, *, author: str) -> int:
        """Enrol a person.

        Raises:
            EnrolledAlreadyError: somebody whose name counts as the same is.
        """
        try:
            with self._engine.begin() as connection:
                values = {"name": name, "canonical": canonical(name), "author": author}
                number = connection.execute(insert(_PERSON).values(values).returning(_PERSON.c.id)).scalar_one()
                self._record(connection, "enrolment", name, author)
        except IntegrityError:
            raise EnrolledAlreadyError(remedy="`nightshift people list` shows who is.") from None
        return int(number)

    def remove(self, name: str, *, author: str) -> None:
        """From now on the person counts for nobody, nor do approvals of theirs that are still short of a quorum.

        Raises:
            NotEnrolledError: nobody of this name is enrolled.
        """
        with self._engine.begin() as connection:
            row = self._change(connection, name, {"removed_at": NOW, "removed_by": author, "code_secret": None})
            self._revoke(connection, _TOKEN.c.person_id == row.id, author)
            withdrawn = self._withdraw(connection, schema.decision.c.canonical == row.canonical)
            self._record(connection, "removal", row.name, author)
            self._record_withdrawn(connection, withdrawn, "the person was removed")

    def add_token(
        self, name: str, token_id: str, digest: str, *, author: str, expires_after: float | None = None
    ) -> None:
        """Keep the hash of a new token.

        Raises:
            NotEnrolledError: nobody of this name is enrolled.
        """
        with self._engine.begin() as connection:
            row = self._one(connection, name)
            until = None if expires_after is None else NOW + func.make_interval(0, 0, 0, 0, 0, 0, expires_after)
            values = {"id": token_id, "person_id": row.id, "hash": digest, "author": author, "expires_at": until}
            connection.execute(insert(_TOKEN).values(values))
            self._record(connection, "new token", row.name, author, token=token_id)

    def revoke(self, name: str, *, author: str, token_id: str | None = None, keep: str | None = None) -> list[str]:
        """Make tokens of a person worthless at once: one of them, or all but one; the public parts of those.

        Raises:
            NotEnrolledError: nobody of this name is enrolled.
        """
        with self._engine.begin() as connection:
            row = self._one(connection, name)
            meant: ColumnElement[bool] = _TOKEN.c.person_id == row.id
            if token_id is not None:
                meant = and_(meant, _TOKEN.c.id == token_id)
            if keep is not None:
                meant = and_(meant, _TOKEN.c.id != keep)
            revoked = self._revoke(connection, meant, author)
            withdrawn = self._withdraw(connection, schema.decision.c.credential.in_(revoked))
            for token in revoked:
                self._record(connection, "revoked token", row.name, author, token=token)
            self._record_withdrawn(connection, withdrawn, "the token was revoked")
        return revoked

    def set_code(self, name: str, encrypted: str | None, *, author: str, subject: str) -> None:
        """Keep the encrypted secret of one-time codes, instead of one that was there; None: no codes any more.

        Raises:
            NotEnrolledError: nobody of this name is enrolled.
        """
        with self._engine.begin() as connection:
            row = self._change(connection, name, {"code_secret": encrypted, "code_since": NOW})
            by_code = and_(schema.decision.c.credential == CODE, schema.decision.c.canonical == row.canonical)
            withdrawn = self._withdraw(connection, by_code)
            IdentityTries.forget(connection, CODE, subject)
            self._record(connection, "new codes" if encrypted else "revoked codes", row.name, author)
            self._record_withdrawn(connection, withdrawn, "the codes were revoked")

    def used(self, token_id: str) -> None:
        """Note that a token was shown."""
        with self._engine.begin() as connection:
            connection.execute(update(_TOKEN).where(_TOKEN.c.id == token_id).values(used_at=NOW))

    # --- reading

    def anybody(self) -> bool:
        """Whether somebody is enrolled."""
        with reading(self._engine) as connection:
            return bool(connection.execute(select(exists().where(_ENROLLED))).scalar())

    def enrolled(self) -> Sequence[Row[Any]]:
        """Those who are enrolled, with how many valid tokens they have and when one was used last."""
        tokens = select(func.count()).where(_TOKEN.c.person_id == _PERSON.c.id, _VALID).scalar_subquery()
        used = select(func.max(_TOKEN.c.used_at)).where(_TOKEN.c.person_id == _PERSON.c.id).scalar_subquery()
        query = select(_PERSON, tokens.label("tokens"), used.label("used_at")).where(_ENROLLED)
        with reading(self._engine) as connection:
            return connection.execute(query.order_by(_PERSON.c.canonical)).all()

    def tokens(self, name: str) -> Sequence[Row[Any]]:
        """The tokens of a person that are valid, oldest first."""
        with reading(self._engine) as connection:
            row = self._one(connection, name)
            query = select(_TOKEN).where(_TOKEN.c.person_id == row.id, _VALID).order_by(_TOKEN.c.since)
            return connection.execute(query).all()

    def by_token(self, token_id: str) -> Row[Any] | None:
        """The person and the hash that belong to a token, valid or not."""
        query = select(
            _PERSON.c.name,
            _TOKEN.c.hash,
            (_TOKEN.c.revoked_at.is_not(None) | ~_ENROLLED).label("revoked"),
            (func.coalesce(_TOKEN.c.expires_at <= NOW, False)).label("expired"),
        )
        with reading(self._engine) as connection:
            return connection.execute(query.join(_PERSON).where(_TOKEN.c.id == token_id)).first()

    def by_name(self, name: str) -> Row[Any] | None:
        """The enrolled person of this name, and the database's time, by which codes are judged."""
        query = select(_PERSON, func.extract("epoch", NOW).label("now"))
        with reading(self._engine) as connection:
            return connection.execute(query.where(_ENROLLED, _PERSON.c.canonical == canonical(name))).first()

    # --- inside the transaction of a decision

    @staticmethod
    def use_up(connection: Connection, decision: Decision) -> bool:
        """Use up the code that vouches for a decision; False when it, or a later one, was used already."""
        if decision.code is None:
            return True
        newer = or_(_PERSON.c.code_step.is_(None), _PERSON.c.code_step < decision.code.step)
        used = connection.execute(
            update(_PERSON).where(_PERSON.c.id == decision.code.person_id, newer).values(code_step=decision.code.step)
        ).rowcount
        return bool(used)

    @staticmethod
    def still_valid(connection: Connection, decision: Decision) -> bool:
        """Whether what vouches for a decision was not revoked meanwhile; it cannot be until the transaction ends."""
        if decision.code is not None:
            same = _PERSON.c.code_secret == decision.code.secret
            meant = and_(_PERSON.c.id == decision.code.person_id, _ENROLLED, same)
            return connection.execute(select(_PERSON.c.id).where(meant).with_for_update(read=True)).first() is not None
        if decision.credential is None:
            return True
        query = select(_TOKEN.c.id).join(_PERSON).where(_TOKEN.c.id == decision.credential, _VALID, _ENROLLED)
        # A person's removal revokes their tokens, too: the token's row is enough to wait for either.
        return connection.execute(query.with_for_update(read=True, of=_TOKEN)).first() is not None

    # ---

    @staticmethod
    def _one(connection: Connection, name: str) -> Row[Any]:
        row = connection.execute(select(_PERSON).where(_ENROLLED, _PERSON.c.canonical == canonical(name))).first()
        if row is None:
            raise NotEnrolledError(remedy="`nightshift people list` shows who is.")
        return row

    @staticmethod
    def _change(connection: Connection, name: str, values: dict[str, Any]) -> Row[Any]:
        row = connection.execute(
            update(_PERSON).where(_ENROLLED, _PERSON.c.canonical == canonical(name)).values(values).returning(_PERSON)
        ).first()
        if row is None:
            raise NotEnrolledError(remedy="`nightshift people list` shows who is.")
        return row

    @staticmethod
    def _revoke(connection: Connection, meant: ColumnElement[bool], author: str) -> list[str]:
        revoked = connection.execute(
            update(_TOKEN)
            .where(meant, _TOKEN.c.revoked_at.is_(None))
            .values(revoked_at=NOW, revoked_by=author)
            .returning(_TOKEN.c.id)
        )
        return list(revoked.scalars())

    @staticmethod
    def _withdraw(connection: Connection, meant: ColumnElement[bool]) -> Sequence[Row[Any]]:
        """Answers to plans that are still open do not count any more."""
        decision, approval = schema.decision, schema.approval
        return connection.execute(
            update(decision)
            .where(decision.c.approval_id == approval.c.id, approval.c.status == "open")
            .where(decision.c.withdrawn_at.is_(None), meant)
            .values(withdrawn_at=NOW)
            .returning(decision.c.approval_id, approval.c.incident_id, decision.c.person)
        ).all()

    def _record(self, connection: Connection, change: str, person: str, author: str, **more: str) -> None:
        entry = {"change": change, "person": person, "author": author, **more}
        self._journal.append(connection, None, Kind.PERSON_CHANGED, entry)

    def _record_withdrawn(self, connection: Connection, rows: Sequence[Row[Any]], reason: str) -> None:
        for row in rows:
            entry = {"approval": row.approval_id, "person": row.person, "reason": reason}
            self._journal.append(connection, row.incident_id, Kind.WITHDRAWN, entry)
