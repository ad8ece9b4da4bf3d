"""The JSON schema of a catalogue file: editors complete and check with it, and mistakes are explained from it."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode
from pydantic_core import CoreSchema

from nightshift.catalogue.correlation import Correlation
from nightshift.catalogue.models import System
from nightshift.remediation.flow_policies import FLOW_POLICIES

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


@lru_cache
def catalogue_schema() -> dict[str, Any]:
    """The schema of one system's file, with the policy of each flow in its place."""
    inputs: list[tuple[str, JsonSchemaMode, CoreSchema]] = [("system", "validation", System.__pydantic_core_schema__)]
    inputs += [(flow, "validation", adapter.core_schema) for flow, adapter in FLOW_POLICIES.items()]
    schemas, references = GenerateJsonSchema().generate_definitions(inputs)
    definitions: dict[str, Any] = {str(name): definition for name, definition in references.items()}
    schema = {"$schema": _DIALECT, **schemas["system", "validation"], "title": "A system of Nightshift's catalogue"}
    runbook = definitions["Runbook"]
    runbook["properties"]["flow"] = {
        "anyOf": [{"enum": sorted(FLOW_POLICIES)}, {"type": "null"}],
        "description": runbook["properties"]["flow"]["description"],
    }
    policies = [schemas[flow, "validation"] for flow in FLOW_POLICIES]
    runbook["properties"]["policy"] = {
        "anyOf": [*policies, {"type": "null"}],
        "description": runbook["properties"]["policy"]["description"],
    }
    return schema | {"$defs": definitions}


@lru_cache
def correlation_schema() -> dict[str, Any]:
    """The schema of ``correlation.yaml``."""
    title = "Which alerts are effects of which, for Nightshift"
    return {"$schema": _DIALECT, **Correlation.model_json_schema(), "title": title}


def schema_text(*, correlation: bool = False) -> str:
    """As kept in ``runbooks/schema.json`` and ``runbooks/correlation.schema.json``."""
    schema = correlation_schema() if correlation else catalogue_schema()
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
