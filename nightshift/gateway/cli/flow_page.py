"""One page about all flows, as Markdown: what each is for, its target, and every key of its policy; and connections.

Whoever adds a system reads it to choose a flow and to fill in its policy; an editor shows the same from the schema.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nightshift.catalogue import Catalogue
from nightshift.catalogue.inventory.coverage import module_of
from nightshift.catalogue.schema import catalogue_schema
from nightshift.remediation.flow_policies import POLICIES, target_kinds
from nightshift.remediation.text import age_in_words

Schema = Mapping[str, Any]

_HEAD = """\
# Flows and connections

What a runbook of your own system may name, and what stands in its `policy`. Made by `make docs` from the code: change
that. How a runbook is written: [Adding a runbook](../adding-a-runbook.md); the flows of the systems that come with
Nightshift, in use: [Runbooks](README.md) and the files in `runbooks/`.

In the tables, *needed* has to be written; everything else may be left out, and then is as it says. `a.b` is a key
within a key, `a[]` an item of a list, and `a.NAME` a name that you choose. What is not permitted is not done.

"""
_SECRET = "A secret: `{ env: NAME }`, `{ file: PATH }` or `{ prefect_block: NAME }`."  # noqa: S105 - its form
_TARGETS = {
    "host": "a connection of type `ssh` or `local`",
    "filesystem": "a mount point, looked for among the real ones",
    "database": "a connection of type `postgres`",
    "cluster": "a connection of type `kubernetes`",
    "compose": "a connection of type `docker`",
    "redis": "a connection of type `redis`",
}


def flow_page(catalogue: Catalogue, root: Path) -> str:
    """The page.

    Args:
        catalogue: the systems that come with Nightshift, whose runbooks are the examples.
        root: of the sources, for what each flow says of itself.
    """
    definitions = catalogue_schema()["$defs"]
    lines = [*_connections(definitions), *_target_kinds(), "## Flows", ""]
    for flow, policy in sorted(POLICIES.items()):
        lines += _flow(flow, definitions[policy.__name__], definitions, catalogue, root)
    return _HEAD + "\n".join(lines)


def _connections(definitions: Schema) -> Iterator[str]:
    yield from ("## Connections", "")
    found = {
        schema["properties"]["type"]["const"]: schema
        for name, schema in definitions.items()
        if name.endswith("Connection") and "const" in schema.get("properties", {}).get("type", {})
    }
    for kind, schema in sorted(found.items()):
        yield from (f"### {kind}", "", _line(schema.get("description", "")), "")
        yield from _table(schema, definitions)


def _target_kinds() -> Iterator[str]:
    yield from ("## Targets", "", "| key | its names |", "|---|---|")
    yield from (f"| `{kind}` | {names} |" for kind, names in _TARGETS.items())
    yield from ("| any other | those listed in `among`; below a cluster, the objects of its namespaces |", "")


def _flow(flow: str, schema: Schema, definitions: Schema, catalogue: Catalogue, root: Path) -> Iterator[str]:
    source = root.joinpath(*module_of(flow).split(".")).with_suffix(".py").read_text(encoding="utf-8")
    purpose = (ast.get_docstring(ast.parse(source)) or "").partition("\n\n")[0]
    yield from (f"### {flow}", "", _line(purpose), "")
    kinds = target_kinds(flow)
    written = ", ".join(f"{kind}: …" for kind in kinds)
    yield f"Target: `{{ {written} }}`." if kinds else "Its target depends on its policy; `runbooks check` says which."
    users = [
        f"[{alert} of {system.display}]({system.id}/{alert}.md)"
        for system, alert, runbook in catalogue.runbooks()
        if runbook.flow == flow
    ]
    yield from (f"In use: {', '.join(users)}." if users else "No alert that comes with Nightshift uses it.", "")
    yield from _table(schema, definitions)


def _table(schema: Schema, definitions: Schema) -> Iterator[str]:
    yield from ("| key | what it is | left out |", "|---|---|---|")
    yield from _rows(schema, definitions, "", ())
    yield ""


def _rows(schema: Schema, definitions: Schema, prefix: str, within: tuple[str, ...]) -> Iterator[str]:
    fields = schema.get("properties", {})
    for key, field in sorted(fields.items(), key=lambda one: one[0] != "type"):
        path = f"{prefix}{key}"
        if "const" in field:
            needed = "needed" if "default" not in field or key == "type" else _default(field)
            yield f"| `{path}` | `{field['const']}` | {needed} |"
            continue
        named = list(_named(field, definitions))
        secret = any(name == "SecretReference" for name, _, _ in named)
        about = (
            f"{_line(field.get('description', ''))} {_SECRET}".strip() if secret else _about(field, named, definitions)
        )
        left_out = "needed" if key in schema.get("required", ()) else _default(field)
        yield f"| `{path}` | {_cell(about)} | {left_out} |"
        for name, suffix, inner in named:
            if name != "SecretReference" and name not in within and inner.get("properties"):
                yield from _rows(inner, definitions, f"{path}{suffix}.", (*within, name))


def _named(field: Schema, definitions: Schema, suffix: str = "") -> Iterator[tuple[str, str, Schema]]:
    """The models that a field holds, with how a key within one is reached from it."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        yield name, suffix, definitions[name]
    for option in (*field.get("anyOf", ()), *field.get("oneOf", ()), *field.get("allOf", ())):
        yield from _named(option, definitions, suffix)
    if isinstance(field.get("items"), Mapping):
        yield from _named(field["items"], definitions, f"{suffix}[]")
    if isinstance(field.get("additionalProperties"), Mapping):
        yield from _named(field["additionalProperties"], definitions, f"{suffix}.NAME")


def _about(field: Schema, named: list[tuple[str, str, Schema]], definitions: Schema) -> str:
    words = [_line(field.get("description", "")) or next((_line(one.get("description", "")) for *_, one in named), "")]
    if choices := _choices(field, definitions):
        words.append(f"One of {', '.join(f'`{choice}`' for choice in choices)}.")
    return " ".join(word for word in words if word)


def _choices(field: Schema, definitions: Schema) -> list[str]:
    if "$ref" in field:
        return _choices(definitions[field["$ref"].rpartition("/")[2]], definitions)
    if "enum" in field:
        return [str(choice) for choice in field["enum"]]
    return [choice for option in field.get("anyOf", ()) for choice in _choices(option, definitions)]


def _default(field: Schema) -> str:
    default = field.get("default")
    if default in (None, "", [], {}):
        return "—"
    if "examples" in field and "30s" in field["examples"] and isinstance(default, int | float):
        return age_in_words(default)
    if isinstance(default, dict):
        return "as its keys say"
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _line(text: str) -> str:
    return " ".join(text.replace("``", "`").split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
