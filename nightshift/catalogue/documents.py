"""Reading a YAML file into plain values without losing where each of them stands.

Only text, numbers, booleans, null, lists and mappings are read; every other tag is a mistake, so nothing in a file can
make an object. A key that is written twice is a mistake, not the second value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import JsonValue
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from nightshift.catalogue.mistakes import Mistake
from nightshift.remediation.text import printable

Trail = tuple[str | int, ...]
"""The way from the top of a document to one of its values."""
_NOTHING: Any = object()
_TAG = "tag:yaml.org,2002:"
_SCALARS = {f"{_TAG}{name}" for name in ("null", "bool", "int", "float")}
_TEXTS = {f"{_TAG}{name}" for name in ("str", "timestamp")}


def _words(error: MarkedYAMLError) -> str:
    words = error.problem or "it cannot be parsed"
    return "".join(character if character.isprintable() else "?" for character in words)


def dotted(path: Trail) -> str:
    """A path as people write it: ``escalation[0].roles``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else ("." if text else "") + printable(part, 80)
    return text


@dataclass
class Document:
    """One file: its values, and the mistakes found while reading it."""

    file: Path
    value: JsonValue = None
    mistakes: list[Mistake] = field(default_factory=list)
    _root: Node | None = None
    _open: list[int] = field(default_factory=list)

    @classmethod
    def read(cls, file: Path) -> Document:
        """The file's document; a file that cannot be read is a document with that mistake."""
        document = cls(file)
        yaml = YAML(typ="safe", pure=True)
        try:
            document._root = yaml.compose(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            document._add(0, 0, (), f"cannot be read: {reason}")
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
            document._add(line, column, (), f"is no YAML: {_words(error)}")
        except YAMLError:
            document._add(0, 0, (), "is no YAML: it holds characters that YAML does not allow")
        else:
            if document._root is None:
                document._add(0, 0, (), "is empty")
            else:
                document.value = document._plain(document._root, (), yaml)
        return document

    def _add(self, line: int, column: int, path: Trail, problem: str, remedy: str = "") -> None:
        self.mistakes.append(Mistake(self.file, line, column, dotted(path), problem, remedy))

    def _add_at(self, node: Node, path: Trail, problem: str, remedy: str = "") -> None:
        self._add(node.start_mark.line + 1, node.start_mark.column + 1, path, problem, remedy)

    def _plain(self, node: Node, path: Trail, yaml: YAML) -> JsonValue:
        if id(node) in self._open:
            self._add_at(node, path, "it contains itself")
            return None
        if isinstance(node, ScalarNode):
            return self._plain_scalar(node, path, yaml)
        self._open.append(id(node))
        try:
            if isinstance(node, SequenceNode) and node.tag == f"{_TAG}seq":
                return [self._plain(item, (*path, index), yaml) for index, item in enumerate(node.value)]
            if isinstance(node, MappingNode) and node.tag == f"{_TAG}map":
                return self._plain_mapping(node, path, yaml)
        finally:
            self._open.pop()
        self._add_at(node, path, f"the tag {printable(str(node.tag))} is not allowed", "Write plain values")
        return None

    def _plain_scalar(self, node: ScalarNode, path: Trail, yaml: YAML) -> JsonValue:
        if node.tag in _TEXTS:
            return str(node.value)
        if node.tag in _SCALARS:
            value: JsonValue = yaml.constructor.construct_object(node)
            return value
        self._add_at(node, path, f"the tag {printable(str(node.tag))} is not allowed", "Write plain values")
        return None

    def _plain_mapping(self, node: MappingNode, path: Trail, yaml: YAML) -> JsonValue:
        mapping: dict[str, JsonValue] = {}
        first: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode) or key.tag not in _TEXTS:
                self._add_at(key, path, "a key is not text", "Put the key in quotes")
                continue
            name = str(key.value)
            if name in first:
                self._add_at(key, (*path, name), f"is written twice, first in line {first[name]}", "Keep one of them")
                continue
            first[name] = key.start_mark.line + 1
            mapping[name] = self._plain(value, (*path, name), yaml)
        return mapping

    def texts(self) -> Iterator[tuple[Trail, str]]:
        """Every text of the document with its path; keys too, as the path of their value."""
        pending: list[tuple[Trail, JsonValue]] = [((), self.value)]
        while pending:
            path, value = pending.pop()
            if isinstance(value, str):
                yield path, value
            elif isinstance(value, dict):
                pending.extend(((*path, key), inner) for key, inner in value.items())
            elif isinstance(value, list):
                pending.extend(((*path, index), inner) for index, inner in enumerate(value))

    def known_path(self, location: Sequence[str | int]) -> Trail:
        """The parts of a location that lead through the document; what pydantic adds (tags) is left out."""
        path: Trail = ()
        value = self.value
        for part in location:
            if isinstance(value, dict):
                inner = value.get(str(part), _NOTHING)
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                inner = value[part]
            else:
                inner = _NOTHING
            if inner is not _NOTHING:
                path, value = (*path, part), inner
        return path

    def position(self, path: Trail, *, of_key: bool = False) -> tuple[int, int]:
        """Line and column, from 1, of the value at a path; of its key when asked for, or when it is a whole block."""
        node, mark = self._root, self._root.start_mark if self._root else None
        for part in path:
            if isinstance(node, MappingNode):
                key, node = next(pair for pair in node.value if str(pair[0].value) == part)
                block = not isinstance(node, ScalarNode) and not node.flow_style
                mark = key.start_mark if of_key or block else node.start_mark
            elif isinstance(node, SequenceNode) and isinstance(part, int):
                node = node.value[part]
                mark = node.start_mark
        return (mark.line + 1, mark.column + 1) if mark else (0, 0)

    def mistake(self, path: Trail, problem: str, remedy: str = "", *, of_key: bool = False) -> Mistake:
        """A mistake at a path of this document."""
        line, column = self.position(path, of_key=of_key)
        return Mistake(self.file, line, column, dotted(path), problem, remedy)
