"""Finds tasks, methods, fixtures and claims: built-in families on first use, third parties through entry points or plugin files.

A family is a package `tasks/<family>/`. Every module in it and in its sub-package `methods` is imported the first time the family is
asked for, so adding a method means adding one file. Third parties use the entry-point group `assay.plugins` (each entry names a module) or
a plugin file named in a suite. A plugin that fails to import is reported in `problems`, never fatal.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from pydantic import ValidationError

from tasks.api import FAMILIES, Claim, Fixture, Method, Parametrised, Setting, Task
from tasks.errors import InvalidParams, TaskError, UnknownName

ENTRY_POINT_GROUP = "assay.plugins"

P = TypeVar("P", bound=Parametrised)


@dataclass
class Registry:
    """Tasks, methods, fixtures and claims by id; named settings. `problems` maps a plugin's name to the reason it could not be loaded."""

    tasks: dict[str, type[Task]] = field(default_factory=dict)
    methods: dict[str, type[Method]] = field(default_factory=dict)
    fixtures: dict[str, type[Fixture]] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    settings: list[Setting] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    _loaded: set[str] = field(default_factory=set)

    def load_family(self, family: str) -> None:
        if family in self._loaded:
            return
        if family not in FAMILIES:
            raise UnknownName(f"Unknown family {family!r}; the families are {', '.join(FAMILIES)}.")
        for module in _modules(importlib.import_module(f"tasks.{family}")):
            self.add_module(module)
        self._loaded.add(family)

    def load_all(self) -> None:
        """Every built-in family and every installed plugin."""
        for family in FAMILIES:
            self.load_family(family)
        self.load_entry_points()

    def load_entry_points(self) -> None:
        if ENTRY_POINT_GROUP in self._loaded:
            return
        self._loaded.add(ENTRY_POINT_GROUP)
        for entry in entry_points(group=ENTRY_POINT_GROUP):
            try:
                self.add_module(entry.load())
            except Exception as error:  # a stranger's code may fail in any way; it must not stop a run that doesn't need it
                self.problems[entry.name] = f"{type(error).__name__}: {error}"

    def load_plugin(self, plugin: str) -> None:
        """Load a plugin by file path (ends in .py) or module name; raises TaskError when it can't be imported."""
        if plugin in self._loaded:
            return
        try:
            self.add_module(_import_file(Path(plugin)) if plugin.endswith(".py") else importlib.import_module(plugin))
        except TaskError:
            raise
        except Exception as error:
            raise TaskError(f"The plugin {plugin} can't be imported: {type(error).__name__}: {error}") from error
        self._loaded.add(plugin)

    def add_module(self, module: ModuleType) -> None:
        """Register what `module` defines: concrete subclasses of Task, Method and Fixture, and what its sequences `CLAIMS` and
        `SETTINGS` hold."""
        for value in vars(module).values():
            if not inspect.isclass(value) or value.__module__ != module.__name__ or not getattr(value, "name", ""):
                continue
            if issubclass(value, Task):
                self._add(self.tasks, value.id(), value)
            elif issubclass(value, Method):
                self._add(self.methods, value.id(), value)
            elif issubclass(value, Fixture):
                self._add(self.fixtures, value.name, value)
        for claim in getattr(module, "CLAIMS", ()):
            self._add(self.claims, claim.id, claim)
        self.settings += getattr(module, "SETTINGS", ())

    @staticmethod
    def _add(table: dict, key: str, value: object) -> None:
        other = table.setdefault(key, value)
        if other is not value and _origin(other) != _origin(value):
            raise TaskError(f"{key} is defined twice: in {_origin(other)} and in {_origin(value)}.")
        table[key] = value

    def task(self, name: str) -> type[Task]:
        """The task class with id `family/name`; raises UnknownName with the closest ids."""
        return self._find(self.tasks, name, "task", "assay tasks")

    def method(self, name: str, family: str | None = None) -> type[Method]:
        """The method class with id `family/name`, or with the short `name` within `family`; raises UnknownName with the closest ids."""
        if "/" not in name and family:
            name = f"{family}/{name}"
        return self._find(self.methods, name, "method", "assay methods")

    def fixture(self, name: str) -> type[Fixture]:
        """The fixture class called `name`; families are loaded until one defines it."""
        for family in FAMILIES:
            if name in self.fixtures:
                break
            self.load_family(family)
        return self._find(self.fixtures, name, "fixture", "assay tasks")

    def _find(self, table: dict, name: str, what: str, command: str):
        family = name.split("/")[0]
        if family in FAMILIES:
            self.load_family(family)
        if name not in table:
            self.load_entry_points()
        if name not in table:
            close = difflib.get_close_matches(name, table, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(close)}?" if close else f"`{command}` lists them."
            raise UnknownName(f"Unknown {what} {name!r}; {hint}")
        return table[name]

    def methods_for(self, task: type[Task]) -> Iterator[type[Method]]:
        """Methods that `task` accepts, by id."""
        return (method for _, method in sorted(self.methods.items()) if issubclass(method, task.accepts))


def resolve(cls: type[P], params: Mapping[str, Any], what: str) -> P:
    """An instance of `cls` with `params`, or InvalidParams in one sentence that names the parameter and what is allowed. A preset of the
    task's stands for its parameters; what is given beside it counts."""
    presets: Mapping[str, Mapping[str, Any]] = getattr(cls, "presets", {})
    if presets and "preset" in params:
        params = dict(params)
        name = params.pop("preset")
        if name not in presets:
            raise InvalidParams(f"{what}: parameter preset={name!r}: should be one of {', '.join(presets)}")
        params = {**presets[name], **params}
    try:
        return cls(**params)
    except ValidationError as error:
        raise InvalidParams("; ".join(_complaints(error, cls, what))) from None


def _complaints(error: ValidationError, cls: type[Parametrised], what: str) -> Iterator[str]:
    for item in error.errors():
        name = ".".join(str(part) for part in item["loc"]) or "params"
        if item["type"] == "extra_forbidden":
            valid = ", ".join(cls.model_fields) or "none"
            yield f"{what} has no parameter {name!r}; its parameters are: {valid}"
        else:
            yield f"{what}: parameter {name}={item['input']!r}: {item['msg'][0].lower()}{item['msg'][1:]}"


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    yield package
    for info in sorted(pkgutil.walk_packages(package.__path__, package.__name__ + "."), key=lambda info: info.name):
        yield importlib.import_module(info.name)


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise TaskError(f"The plugin file {path} does not exist.")
    name = f"assay_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _origin(value: object) -> str:
    return f"{value.__module__}.{value.__qualname__}" if inspect.isclass(value) else repr(value)


REGISTRY = Registry()


def load(families: Iterable[str] = FAMILIES) -> Registry:
    """The process-wide registry with these families loaded."""
    for family in families:
        REGISTRY.load_family(family)
    return REGISTRY
