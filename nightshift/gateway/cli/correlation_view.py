"""Rules of correlation for people and for programs: of what an alert is an effect, and what its effects are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nightshift.catalogue.correlation import CauseRule, Correlation, SameTroubleRule, names_in
from nightshift.gateway.cli.texts import inert


def rules_about(correlation: Correlation, system: str, alert: str) -> list[dict[str, Any]]:
    """The rules about one alert, for programs."""
    return [rule.model_dump(mode="json") for rule in correlation.rules(system) if alert in names_in(rule)]


def in_words(correlation: Correlation, system: str, alert: str) -> Iterator[tuple[str, str]]:
    """The same for people: what it is, and why."""
    for rule in correlation.rules(system):
        if isinstance(rule, SameTroubleRule):
            if alert in rule.alerts:
                others = [name for name in rule.alerts if name != alert] or ["the same on other instances"]
                yield f"One with {_listed(others)}", _why(rule)
            continue
        if alert in rule.cause.alerts:
            yield f"Swallows {_listed([name for effects in rule.effects for name in effects.alerts])}", _why(rule)
        if any(alert in effects.alerts for effects in rule.effects):
            yield f"Swallowed by {_listed(list(rule.cause.alerts))}", _why(rule)


def _listed(names: list[str]) -> str:
    return ", ".join(map(inert, dict.fromkeys(names)))


def _why(rule: CauseRule | SameTroubleRule) -> str:
    return f"{inert(rule.why)} (rule {rule.name})"
