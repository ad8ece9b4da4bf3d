"""What the forkserver has ready: every flow that is deployed, none of which asks the server where results go."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from nightshift.flows.runbook import NOWHERE
from nightshift.running.warm.preloading import FLOWS

PREFECT_YAML = Path(__file__).parents[2] / "prefect.yaml"
# Read as `nightshift up` reads it: a key that stands twice is a mistake.
DEPLOYMENTS = YAML(typ="safe", pure=True).load(PREFECT_YAML)["deployments"]
ENTRYPOINTS = [deployment["entrypoint"] for deployment in DEPLOYMENTS]


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_every_deployed_flow_is_loaded_before_it_is_needed_and_keeps_results_nowhere(entrypoint: str) -> None:
    module, _, name = entrypoint.rpartition(".")
    flow = getattr(importlib.import_module(module), name)

    assert module in FLOWS
    assert flow.result_storage == NOWHERE
    assert flow.persist_result is False


def test_no_deployment_has_an_automation_that_would_start_it_beside_the_gateway() -> None:
    assert [one["entrypoint"] for one in DEPLOYMENTS if one.get("triggers")] == []


def test_every_flow_that_is_loaded_is_deployed_once() -> None:
    assert sorted(entrypoint.rpartition(".")[0] for entrypoint in ENTRYPOINTS) == sorted(FLOWS)
