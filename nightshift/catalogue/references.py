"""Mistakes that only show when the parts of a system, or several systems, are seen together."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from nightshift.catalogue.approval_rules import ApprovalRule, requirement
from nightshift.catalogue.documents import Document, Trail, dotted
from nightshift.catalogue.explain import KEPT_ELSEWHERE
from nightshift.catalogue.mistakes import Mistake, did_you_mean
from nightshift.catalogue.models import CONNECTED_KINDS, FILESYSTEM, EscalationStep, Runbook, System
from nightshift.remediation.connections import (
    Connection,
    ConnectionOf,
    KubernetesConnection,
    NamespaceOfCluster,
    RunbookOfSystem,
)
from nightshift.remediation.fleet import PLATFORM_KINDS
from nightshift.remediation.fleet_rules import leaves_no_room
from nightshift.remediation.flow_policies import KIND_NAMES
from nightshift.remediation.models import Risk, Value
from nightshift.remediation.people import canonical
from nightshift.remediation.text import counted

_SECRETS = (
    (re.compile(r"://[^/@\s:]*:[^/@\s]+@"), "a URL with a password is written in the file"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"), "a private key is written in the file"),
    (re.compile(r"hooks\.slack\.com/services/\w"), "a Slack webhook is written in the file, and its URL is a secret"),
    (re.compile(r"\bxox[abprs]-\w|\bgh[pousr]_\w{20}|\bAKIA[0-9A-Z]{16}\b"), "a token is written in the file"),
)


def secrets_in(document: Document) -> Iterator[Mistake]:
    """Texts that are secrets by their look. They are not repeated."""
    for trail, text in document.texts():
        for pattern, problem in _SECRETS:
            if pattern.search(text):
                yield document.mistake(trail, problem, KEPT_ELSEWHERE)


def instances_of(name: str, connection: Connection) -> tuple[str, ...]:
    """Label values that mean this connection: its name and its declared instances."""
    return (name, *getattr(connection, "instances", ()))


def matchers_of(documents: Mapping[str, Document], systems: Mapping[str, System]) -> Iterator[Mistake]:
    """Sets of labels that two systems, or one twice, claim."""
    claimed: dict[frozenset[tuple[str, str]], tuple[str, int]] = {}
    for system in systems.values():
        for index, labels in enumerate(system.match):
            first = claimed.setdefault(frozenset(labels.items()), (system.id, index))
            if first != (system.id, index):
                other = documents[first[0]]
                line, _ = other.position(("match", first[1]))
                problem = f"the same labels belong to {first[0]} already ({other.file.name}:{line})"
                yield documents[system.id].mistake(("match", index), problem, "Add a label that tells the two apart")


@runtime_checkable
class TakesPeople(Protocol):
    """A policy that may allow what takes more than one person."""

    @property
    def people(self) -> int:
        """How many it takes at most."""


@dataclass(frozen=True)
class References:
    """The names of one system, each looked up where it is used."""

    document: Document
    system: System
    lost: frozenset[str] = frozenset()
    """Names whose part of the document has mistakes of its own."""

    def mistakes(self) -> Iterator[Mistake]:
        """Names that nothing carries, and instances that two connections claim."""
        document, system = self.document, self.system
        if system.id != document.file.stem:
            remedy = f"Call the file {system.id}{document.file.suffix}, or the system {document.file.stem!r}"
            yield document.mistake(("id",), f"the system {system.id!r} stands in {document.file.name}", remedy)
        for severity, rule in system.severities.items():
            yield from self._each(("severities", severity.value, "notify"), rule.notify, system.channels, "channel")
        yield from self._ladder(("escalation",), system.escalation)
        yield from self._approval(("approval",), system.approval)
        yield from self._enough_people(("approval",), None)
        yield from self._limits()
        yield from self._fleets()
        yield from self._instances()
        if system.sweep is not None:
            yield from self._policy(("sweep",), system.sweep)
            yield from self._each(("sweep", "skip"), system.sweep.skip, system.connections, "connection")
        for name, connection in system.connections.items():
            yield from self._policy(("connections", name), connection)
        for name, runbook in system.runbooks.items():
            yield from self._runbook(("runbooks", name), runbook)

    def _runbook(self, trail: Trail, runbook: Runbook) -> Iterator[Mistake]:
        yield from self._ladder((*trail, "escalation"), runbook.escalation)
        if runbook.approval is not None:
            yield from self._approval((*trail, "approval"), runbook.approval)
            yield from self._enough_people((*trail, "approval"), runbook.approval)
        if runbook.policy is not None:
            yield from self._policy((*trail, "policy"), runbook.policy)
            yield from self._enough_for_its_actions((*trail, "policy"), runbook)
        for kind, part in runbook.target.items():
            if kind not in CONNECTED_KINDS:
                continue
            possible = CONNECTED_KINDS[kind] if kind != "host" or _on_windows(runbook) else ("ssh", "local")
            known = self._connections(*possible)
            if not known and not self.lost:
                types = " or ".join(possible)
                problem = f"no {kind} can be found: the system has no connection of type {types}"
                yield self.document.mistake((*trail, "target", kind), problem, "Declare one under connections")
            elif part.default is not None:
                yield from self._one((*trail, "target", kind, "default"), part.default, known, kind)

    def _limits(self) -> Iterator[Mistake]:
        """A budget for a kind of action that does not exist would allow everything, as would a freeze of nothing."""
        for index, budget in enumerate(self.system.budgets):
            if budget.kind is not None:
                yield from self._one(("budgets", index, "kind"), budget.kind, KIND_NAMES, "kind of action")
        for index, freeze in enumerate(self.system.freezes):
            yield from self._each(("freezes", index, "runbooks"), freeze.runbooks, self.system.runbooks, "runbook")

    def _fleets(self) -> Iterator[Mistake]:
        """A fleet of a kind that does not exist would hold for nothing; one without room for a change, for ever."""
        acted_on = {kind for runbook in self.system.runbooks.values() for kind in runbook.target}
        kinds = sorted({*CONNECTED_KINDS, FILESYSTEM, *PLATFORM_KINDS, *acted_on})
        for fleet in self.system.fleets_of_system:
            trail: Trail = ("fleets", fleet.name)
            for field in ("kind", "below"):
                if (kind := getattr(fleet.rule, field)) is not None:
                    yield from self._one((*trail, field), kind, kinds, "kind of target")
            if fleet.rule.prometheus is not None:
                known = self._connections("http")
                yield from self._one((*trail, "prometheus"), fleet.rule.prometheus, known, "connection of type http")
            if fleet.rule.members is not None or fleet.rule.kind not in kinds or self.lost:
                continue
            if not fleet.declared:
                remedy = "Write members, a Prometheus query that names them"
                yield self.document.mistake(trail, f"no {fleet.rule.kind} of this system is known by name", remedy)
            elif (why := leaves_no_room(fleet, len(fleet.declared))) is not None:
                yield self.document.mistake(trail, f"nothing could ever be done: {why}", "Allow one to be missing")

    def _connections(self, *types: str) -> list[str]:
        return [name for name, connection in self.system.connections.items() if connection.type in types]

    def _one(self, trail: Trail, name: str, known: Collection[str], what: str) -> Iterator[Mistake]:
        if name not in known and name not in self.lost:
            # Nothing is known where all that was declared has mistakes of its own.
            remedy = did_you_mean(name, list(known)) if known or not self.lost else ""
            yield self.document.mistake(trail, f"there is no {what} {name!r}", remedy)

    def _each(self, trail: Trail, names: tuple[str, ...], known: Collection[str], what: str) -> Iterator[Mistake]:
        for index, name in enumerate(names):
            yield from self._one((*trail, index), name, known, what)

    def _ladder(self, trail: Trail, steps: tuple[EscalationStep, ...]) -> Iterator[Mistake]:
        for index, step in enumerate(steps):
            yield from self._each((*trail, index, "roles"), step.roles, self.system.roles, "role")
            yield from self._each((*trail, index, "channels"), step.channels, self.system.channels, "channel")

    def _approval(self, trail: Trail, rule: ApprovalRule) -> Iterator[Mistake]:
        """Names of roles that exist, with people in them."""
        parts = [(trail, rule), *(((*trail, risk.value), rule.part(risk)) for risk in Risk)]
        for place, part in parts:
            if part is not None and part.unless_denied_within is not None and place[-1] != Risk.LOW.value:
                problem = "only what is of low risk may be done because nobody denied it"
                yield self.document.mistake((*place, "unless_denied_within"), problem, "Write it under low")
            roles = part.roles if part is not None and part.roles else ()
            yield from self._each((*place, "roles"), roles, self.system.roles, "role")
            known = [self.system.roles[role] for role in roles if role in self.system.roles]
            if len(known) == len(roles) and known and not any(role.people for role in known):
                problem = "nobody could approve: none of these roles has people"
                yield self.document.mistake((*place, "roles"), problem, "Name people in a role, or leave roles out")

    def _enough_people(self, trail: Trail, rule: ApprovalRule | None) -> Iterator[Mistake]:
        """A quorum that the people of the roles could never reach would be a no that nobody meant."""
        low = requirement(Risk.LOW, rule, self.system.approval)
        if low.unless_denied_within is not None and low.quorum > 1:
            problem = f"plans of low risk take {low.quorum} people, so silence cannot be a yes"
            place = self.document.known_path(trail)
            yield self.document.mistake(place, problem, "Leave unless_denied_within out, or write quorum: 1 under low")
        for risk in Risk:
            needed = requirement(risk, rule, self.system.approval)
            if not needed.roles or any(role not in self.system.roles for role in needed.roles):
                continue
            people = {canonical(name) for name in self.system.people_of(needed.roles)}
            if people and len(people) < needed.quorum:
                have = counted(len(people), "person", "people")
                problem = f"plans of {risk.value} risk take {needed.quorum} people, and their roles have {have}"
                place = self.document.known_path(trail)
                yield self.document.mistake(place, problem, "Name more people in a role, or lower the quorum")
                return

    def _enough_for_its_actions(self, trail: Trail, runbook: Runbook) -> Iterator[Mistake]:
        """The same for what takes several people, whatever the rules say."""
        least = runbook.policy.people if isinstance(runbook.policy, TakesPeople) else 1
        roles = requirement(Risk.HIGH, runbook.approval, self.system.approval).roles
        if least <= 1 or not roles or any(role not in self.system.roles for role in roles):
            return
        people = {canonical(name) for name in self.system.people_of(roles)}
        if people and len(people) < least:
            have = counted(len(people), "person", "people")
            problem = f"it allows what takes {least} different people, and the roles that approve have {have}"
            remedy = "Name more people in a role, or leave recover out"
            yield self.document.mistake(self.document.known_path(trail), problem, remedy)

    def _policy(self, trail: Trail, policy: Value) -> Iterator[Mistake]:
        """Connections that a policy names: there, and of the type it needs."""
        for name, field in type(policy).model_fields.items():
            value, place = getattr(policy, name), (*trail, name)
            for mark in field.metadata:
                if isinstance(mark, ConnectionOf) and isinstance(value, str):
                    known = self._connections(mark.type)
                    yield from self._one(place, value, known, f"connection of type {mark.type}")
                if isinstance(mark, NamespaceOfCluster) and isinstance(value, str):
                    # Perhaps its default: then the policy is what is shown.
                    there, what = self.document.known_path(place), f"connection to a cluster with the {name}"
                    yield from self._one(there, value, self._namespaces(), what)
                if isinstance(mark, RunbookOfSystem) and isinstance(value, str) and value:
                    yield from self._one(place, value, self.system.runbooks, "runbook")
            if isinstance(value, Value):
                yield from self._policy(place, value)
            named = value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, tuple) else ())
            for key, item in named:
                if isinstance(item, Value):
                    yield from self._policy((*place, key), item)

    def _namespaces(self) -> set[str]:
        clusters = (one for one in self.system.connections.values() if isinstance(one, KubernetesConnection))
        return {namespace for cluster in clusters for namespace in cluster.all_namespaces}

    def _instances(self) -> Iterator[Mistake]:
        """A label value must not mean two hosts, nor two databases."""
        for types in CONNECTED_KINDS.values():
            owners = {name: name for name in self._connections(*types)}
            for name in list(owners):
                for index, instance in enumerate(instances_of(name, self.system.connections[name])[1:]):
                    if (owner := owners.setdefault(instance, name)) != name:
                        problem = f"{instance!r} means {dotted(('connections', owner))} already"
                        place = ("connections", name, "instances", index)
                        yield self.document.mistake(place, problem, "Leave it with one of the two")


def _on_windows(runbook: Runbook) -> bool:
    """Whether its flow can look after a Windows host, which few can."""
    return bool(getattr(runbook.policy, "ON_WINDOWS", False))
