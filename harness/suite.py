"""Suites: YAML files that say which tasks meet which methods, with which parameters and seeds, and what that may cost.

A suite is validated strictly: an unknown key is an error naming it, the valid ones, the file and the line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from db.values import checked_tag
from harness.errors import SuiteError
from harness.units import parse_bytes, parse_duration
from harness.yaml_source import Location, YamlSource

Duration = Annotated[float, BeforeValidator(parse_duration, json_schema_input_type=str | float)]
Size = Annotated[int, BeforeValidator(parse_bytes, json_schema_input_type=str | int)]
Grid = dict[str, Annotated[list[Any], Field(min_length=1)]]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


#: More seeds than this are a slip of the pen, and planning them would eat the memory.
MOST_SEEDS = 1_000_000


def parse_seeds(value: Any) -> list[int]:
    """The seeds of `5` (0 to 4), `[0, 3]`, or `{start: 10, count: 5}`, each once. Raises ValueError in one sentence."""

    def whole(number: Any, least: int) -> bool:
        return isinstance(number, int) and not isinstance(number, bool) and least <= number < 2**62

    count = value.get("count") if isinstance(value, dict) else value
    if whole(count, MOST_SEEDS + 1):
        raise ValueError(f"a task takes at most {MOST_SEEDS:,} seeds")
    if whole(value, 1):
        return list(range(value))
    if isinstance(value, list) and value and all(whole(seed, 0) for seed in value):
        return list(dict.fromkeys(value))
    if isinstance(value, dict) and set(value) <= {"start", "count"} and whole(value.get("start", 0), 0) and whole(value.get("count"), 1):
        return list(range(value.get("start", 0), value.get("start", 0) + value["count"]))
    raise ValueError("seeds are a count (at least 1), a list of seeds (each 0 or more), or {start: 0, count: 5}")


Seeds = Annotated[list[int], BeforeValidator(parse_seeds, json_schema_input_type=int | list[int] | dict[str, int])]


class Points(_Strict):
    """Parameters: fixed ones, a grid over some, or explicit points."""

    params: dict[str, Any] = Field(default_factory=dict, description="fixed parameters")
    sweep: Grid = Field(default_factory=dict, description="parameter -> list of values; every combination runs")
    zip: list[dict[str, Any]] = Field(default_factory=list, description="explicit points, each a mapping of parameters")

    @model_validator(mode="after")
    def _no_parameter_twice(self) -> Points:
        zipped = {key for point in self.zip for key in point}
        for name in set(self.params) & set(self.sweep) | (set(self.params) | set(self.sweep)) & zipped:
            raise ValueError(f"the parameter {name!r} is given twice (in params, sweep or zip)")
        return self

    def expand(self) -> Iterator[dict[str, Any]]:
        """Every parameter combination, in the order written."""
        grid: list[dict[str, Any]] = [dict(self.params)]
        for name, values in self.sweep.items():
            grid = [{**point, name: value} for point in grid for value in values]
        for point in grid:
            for extra in self.zip or [{}]:
                yield {**point, **extra}


class MethodEntry(Points):
    """A method with its parameters."""

    method: str = Field(description="method id, or its short name within the task's family")


def method_entries(value: Any) -> Any:
    """A list of methods with bare names made entries; "all" becomes the entry `*`."""
    if value == "all":
        return [{"method": ALL}]
    if not isinstance(value, list) or not value:
        raise ValueError('methods is a list of methods (names, or mappings with `method`, `params`, `sweep`, `zip`), or "all"')
    return [{"method": item} if isinstance(item, str) else item for item in value]


ALL = "*"  #: the method entry that stands for every method the task accepts
Methods = Annotated[list[MethodEntry], BeforeValidator(method_entries, json_schema_input_type=list[str | MethodEntry] | Literal["all"])]


class ResourceEntry(_Strict):
    """What one trial holds while it runs."""

    cpus: float = Field(1.0, gt=0)
    gpus: float = Field(0.0, ge=0)
    memory: Size | None = Field(None, description="limit per trial, e.g. 2GiB")
    custom: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict, description="custom Ray resources")


class BudgetEntry(_Strict):
    """When to stop starting trials; what is unfinished stays pending and the next run continues."""

    time: Duration | None = None
    trials: int | None = Field(None, ge=1)


class Filter(_Strict):
    """Matches trials. Names are shell patterns; parameters must be equal; a missing key matches everything."""

    task: str = "*"
    method: str = "*"
    task_params: dict[str, Any] = Field(default_factory=dict)
    params: dict[str, Any] = Field(default_factory=dict, description="method parameters")
    seeds: Seeds | None = None


class TaskEntry(Points):
    """A task with its parameters and the methods that run on it."""

    task: str = Field(description="task id, family/name")
    methods: Methods = Field(description='a list of methods, or "all" that the task accepts')
    seeds: Seeds | None = None
    timeout: Duration | None = Field(None, description="per trial, e.g. 10m")
    resources: ResourceEntry | None = None
    priority: int = Field(0, description="higher runs first")
    exclusive: bool | None = Field(
        None, description="true: its trials have the machine to themselves, in random blocks of methods (for clock readings)"
    )


class Suite(_Strict):
    """A benchmark suite."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=100)
    description: str = ""
    extends: str | None = Field(None, description="a built-in suite or a file; its tasks come first, its other keys are defaults")
    seeds: Seeds = Field([0, 1, 2, 3, 4], description="how many seeds (0, 1, ...), a list of seeds, or {start, count}")
    timeout: Duration | None = Field(None, description="per trial, unless a task says otherwise")
    resources: ResourceEntry = ResourceEntry()
    budget: BudgetEntry = BudgetEntry()
    tags: list[Annotated[str, AfterValidator(checked_tag)]] = Field(default_factory=list, description="tags of every run of this suite")
    plugins: list[str] = Field(
        default_factory=list, description="modules, or .py files relative to the suite, that define tasks or methods"
    )
    include: list[Filter] = Field(default_factory=list, description="keep only trials that match one of these")
    exclude: list[Filter] = Field(default_factory=list, description="drop trials that match one of these")
    tasks: list[TaskEntry] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task entry and its methods stand, each as "file:line"."""

    task: str
    methods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LoadedSuite:
    """A validated suite. `origin` is what `assay run` takes to load it again; `text` is the resolved suite as YAML."""

    suite: Suite
    text: str
    origin: str
    places: Sequence[Place]  #: per task entry
    plugins: tuple[str, ...]  #: module names and absolute file paths


def built_in_suites() -> dict[str, Path]:
    """Built-in suites by name."""
    folder = Path(str(resources.files("harness") / "suites"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_suite(name: str) -> LoadedSuite:
    """The suite called `name`: a path to a YAML file, or a built-in name. Raises SuiteError with one sentence."""
    return _load(_locate(name, None), ())


def json_schema() -> dict[str, Any]:
    """JSON Schema of a suite file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Suite.model_json_schema(mode="validation")}


def _locate(name: str, parent: Path | None) -> Path:
    built_in = built_in_suites()
    if name in built_in:
        return built_in[name]
    path = Path(name)
    if parent is not None and not path.is_absolute():
        path = parent.parent / path
    if path.is_file():
        return path
    if path.is_dir():
        raise SuiteError(f"{name} is a folder; a suite is a YAML file, or one of the built-in suites: {', '.join(built_in)}.")
    if path.suffix in {".yaml", ".yml"} or "/" in name:
        raise SuiteError(f"The suite file {name} does not exist.")
    raise SuiteError(f"Unknown suite {name!r}; give a YAML file or one of the built-in suites: {', '.join(built_in)}.")


def _load(path: Path, seen: tuple[Path, ...]) -> LoadedSuite:
    if path.resolve() in seen:
        raise SuiteError(f"{path} extends itself.")
    source = YamlSource.read(path)
    if not isinstance(source.data, dict):
        raise SuiteError(f"{source.where(())}: a suite is a mapping with at least `name` and `tasks`.")
    data, base = dict(source.data), None
    if isinstance(data.get("extends"), str):
        try:
            base = _load(_locate(data["extends"], path), (*seen, path.resolve()))
        except SuiteError as error:
            raise SuiteError(f"{source.where(('extends',))}: {error}") from None
        if not data.get("tasks"):
            data["tasks"] = [{"task": "x/x", "methods": ["x"]}]  # a child may only filter; replaced by the base's tasks below
    try:
        own = Suite.model_validate(data)
    except ValidationError as error:
        raise SuiteError("\n".join(_complaints(error, source))) from None
    plugins = tuple(str((path.parent / plugin).resolve()) if plugin.endswith(".py") else plugin for plugin in own.plugins)
    places = [
        Place(source.where(("tasks", at)), tuple(source.where(("tasks", at, "methods", number)) for number in range(len(entry.methods))))
        for at, entry in enumerate(own.tasks)
    ]
    if base is not None:
        own_tasks = own.tasks if source.data.get("tasks") else []
        inherited = {key: getattr(base.suite, key) for key in Suite.model_fields if key not in source.data}
        own = own.model_copy(update={**inherited, "tasks": [*base.suite.tasks, *own_tasks], "extends": None})
        places = [*base.places, *(places if own_tasks else [])]
        plugins = tuple(dict.fromkeys((*base.plugins, *plugins)))
    text = yaml.safe_dump(own.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True)
    return LoadedSuite(own, text, next((name for name, known in built_in_suites().items() if known == path), str(path)), places, plugins)


def _complaints(error: ValidationError, source: YamlSource) -> list[str]:
    """One line per mistake. A union reports each alternative's complaint: keep those of the alternative that came furthest."""
    items = error.errors()
    deepest: dict[Location, int] = {}
    for item in items:
        place = _place(item["loc"], source)
        deepest[place[:3]] = max(deepest.get(place[:3], 0), len(place))
    lines: dict[str, None] = {}
    for item in items:
        place = _place(item["loc"], source)
        if len(place) < deepest[place[:3]]:
            continue
        lines[f"{source.where(place)}: {_sentence(item, place)}"] = None
    return list(lines)


def _place(loc: Location, source: YamlSource) -> Location:
    """`loc` without the names pydantic adds for the members of a union."""
    place: Location = ()
    data: Any = source.data
    for part in loc:
        if isinstance(data, dict) and (part in data or part in _KEYS):
            place, data = (*place, part), data.get(str(part))
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            place, data = (*place, part), data[part]
    return place


_MODELS: tuple[type[BaseModel], ...] = (Suite, TaskEntry, MethodEntry, Filter, ResourceEntry, BudgetEntry)
_KEYS = {key for model in _MODELS for key in model.model_fields}


def _sentence(item: Any, place: Location) -> str:
    name = ".".join(str(part) for part in place[-2:] if isinstance(part, str)) or "the suite"
    if item["type"] == "extra_forbidden":
        return f"unknown key {item['loc'][-1]!r}; valid keys here: {', '.join(_model_at(place[:-1]).model_fields)}."
    if item["type"] == "missing":
        return f"the key {item['loc'][-1]!r} is missing."
    message = item["msg"].removeprefix("Value error, ")
    return f"{name} = {item['input']!r}: {message[0].lower()}{message[1:]}."


def _model_at(place: Location) -> type[BaseModel]:
    names = [part for part in place if isinstance(part, str)]
    table: dict[str, type[BaseModel]] = {
        "methods": MethodEntry,
        "tasks": TaskEntry,
        "resources": ResourceEntry,
        "budget": BudgetEntry,
        "include": Filter,
        "exclude": Filter,
    }
    return table[names[-1]] if names and names[-1] in table else Suite
