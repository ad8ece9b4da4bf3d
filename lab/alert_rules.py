"""The alert rules as they ship, their cases, and copies of them that fire at once."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
RULES = ROOT / "deployments" / "prometheus" / "rules"
CASES = ROOT / "tests" / "rules"
"""Cases for ``promtool test rules``, one file or more for each system."""

_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Rule:
    """One alert rule of a system."""

    system: str
    alert: str
    expression: str
    labels: dict[str, str]
    annotations: dict[str, str]


@dataclass(frozen=True, slots=True)
class Firing:
    """An alert that a case expects, or, without labels, that it expects not to fire."""

    alert: str | None
    """None: any."""
    labels: dict[str, str] | None


def tool(name: str, *arguments: str) -> str:
    """What one of Prometheus' own tools says about what it was given.

    Raises:
        FileNotFoundError: it is not on this machine.
        AssertionError: it found a mistake; its words.
    """
    program = shutil.which(name)
    if program is None:
        raise FileNotFoundError(f"{name} is not installed (Debian: prometheus, prometheus-alertmanager)")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise AssertionError(done.stdout + done.stderr)
    return done.stdout


@cache
def rules_of(system: str) -> tuple[Rule, ...]:
    """The alert rules of a system, in their order."""
    groups = yaml.safe_load((RULES / f"{system}.yaml").read_text())["groups"]
    return tuple(
        Rule(system, rule["alert"], rule["expr"], rule["labels"], rule["annotations"])
        for group in groups
        for rule in group["rules"]
        if "alert" in rule
    )


def cases_of(system: str) -> list[Path]:
    """The files with the cases of a system."""
    return sorted(CASES.glob(f"{system}*.yaml"))


@cache
def firings_of(system: str) -> tuple[Firing, ...]:
    """What the cases of a system expect to fire, and not to fire."""
    return tuple(_firings_of(system))


def _firings_of(system: str) -> Iterator[Firing]:
    for file in cases_of(system):
        for test in yaml.safe_load(file.read_text())["tests"]:
            for case in test["promql_expr_test"]:
                asked = dict(_LABEL.findall(case["expr"])).get("alertname")
                for sample in case["exp_samples"]:
                    labels = dict(_LABEL.findall(sample["labels"]))
                    del labels["alertstate"]
                    yield Firing(labels["alertname"], labels)
                if not case["exp_samples"]:
                    yield Firing(asked, None)


def write_hasty(system: str, folder: Path) -> Path:
    """A copy of a system's rules that wait for nothing.

    Their expressions stay as shipped, but that one which compares with twenty minutes ago does so with seconds ago.
    """
    content: dict[str, Any] = yaml.safe_load((RULES / f"{system}.yaml").read_text())
    for group in content["groups"]:
        for rule in group["rules"]:
            rule.pop("for", None)
            if "offset 20m" in rule["expr"]:
                for shipped, soon in (("[10m]", "[10s]"), ("offset 10m", "offset 10s"), ("offset 20m", "offset 20s")):
                    rule["expr"] = rule["expr"].replace(shipped, soon)
    file = folder / f"{system}.yaml"
    file.write_text(yaml.safe_dump(content))
    return file
