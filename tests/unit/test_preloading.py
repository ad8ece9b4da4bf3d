"""What the forkserver has ready: every flow that is deployed, none of which asks the server where results go."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import yaml

from nightshift.flows.runbook import NOWHERE
from nightshift.running.warm.preloading import FLOWS

PREFECT_YAML = Path(__file__).parents[2] / "prefect.yaml"
ENTRYPOINTS = [deployment["entrypoint"] for deployment in yaml.safe_load(PREFECT_YAML.read_text())["deployments"]]


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
def test_every_deployed_flow_is_loaded_before_it_is_needed_and_keeps_results_nowhere(entrypoint: str) -> None:
    module, _, name = entrypoint.rpartition(".")
    flow = getattr(importlib.import_module(module), name)

    assert module in FLOWS
    assert flow.result_storage == NOWHERE
    assert flow.persist_result is False
