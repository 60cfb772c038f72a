"""YAML with line numbers: so that a complaint about a suite names the line it means."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from harness.errors import SuiteError

Location = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """Scalars as YAML 1.2 reads them: only true/false are booleans (`on` and `no` are words), and 1e-3 is a number."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:float")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"),
    list("-+0123456789."),
)


class YamlSource:
    """A parsed YAML document (`data`) that remembers the line of every key and item."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self._lines: dict[Location, int] = {}
        try:
            node = yaml.compose(text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise SuiteError(f"{name}:{line}: not valid YAML: {error.problem or error.context}.") from None
        except yaml.YAMLError as error:
            raise SuiteError(f"{name}: not valid YAML: {error}.") from None
        if node is None:
            raise SuiteError(f"{name} is empty; a suite needs at least `name` and `tasks`.")
        self._open: set[int] = set()
        self.data: Any = self._build(node, ())

    @classmethod
    def read(cls, path: Path) -> YamlSource:
        try:
            return cls(path.read_text(encoding="utf-8"), str(path))
        except OSError as error:
            raise SuiteError(f"The suite {path} can't be read: {error.strerror}.") from error
        except UnicodeDecodeError:
            raise SuiteError(f"The suite {path} is not UTF-8 text.") from None

    def line(self, location: Location) -> int:
        """The line of the deepest known part of `location` (1-based)."""
        while location and location not in self._lines:
            location = location[:-1]
        return self._lines.get(location, 1)

    def where(self, location: Location) -> str:
        return f"{self.name}:{self.line(location)}"

    def _build(self, node: yaml.Node, at: Location) -> Any:
        self._lines.setdefault(at, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if id(node) in self._open:
            raise SuiteError(f"{self.name}:{node.start_mark.line + 1}: the anchor here contains itself.")
        self._open.add(id(node))
        built = self._mapping(node, at) if isinstance(node, yaml.MappingNode) else self._sequence(node, at)
        self._open.discard(id(node))
        return built

    def _sequence(self, node: yaml.Node, at: Location) -> list[Any]:
        return [self._build(item, (*at, index)) for index, item in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode, at: Location) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise SuiteError(f"{self.name}:{line}: a key must be a word, not a list or a mapping.")
            key = str(key_node.value)
            if key in result:
                raise SuiteError(f"{self.name}:{line}: the key {key!r} stands twice in one mapping.")
            self._lines[(*at, key)] = line
            result[key] = self._build(value_node, (*at, key))
        return result

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        loader = _Loader("")
        try:
            return loader.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError, TypeError):  # an unknown tag; `!!int four`; 2026-99-99, which only looks like a date
            kind = node.tag.removeprefix("tag:yaml.org,2002:")
            remedy = "put it in quotes if it is text"
            raise SuiteError(f"{self.name}:{node.start_mark.line + 1}: {node.value!r} can't be read as {kind}; {remedy}.") from None
        finally:
            loader.dispose()
