"""Suites: what they mean, and that every mistake is one sentence with file, line and remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import SuiteError
from harness.suite import Points, Suite, built_in_suites, json_schema, load_suite, parse_seeds

GOOD = """\
name: mine
seeds: 2
tasks:
  - task: toy/add
    methods: [one]
"""


def write(folder: Path, text: str, name: str = "suite.yaml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(SuiteError) as caught:
        load_suite(write(folder, text))
    assert caught.value.exit_code == 2
    return str(caught.value).replace(str(folder) + "/", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD + "sedes: 3\n", "suite.yaml:6: unknown key 'sedes'; valid keys here: name, description, extends, seeds"),
        (GOOD.replace("methods: [one]", "methods: [one]\n    parms: {}"), "suite.yaml:6: unknown key 'parms'; valid keys here: params"),
        (
            GOOD.replace("[one]", "[{method: one, swep: {a: [1]}}]"),
            "suite.yaml:5: unknown key 'swep'; valid keys here: params, sweep, zip, method.",
        ),
        (GOOD.replace("seeds: 2", "seeds: -3"), "suite.yaml:2: seeds = -3: seeds are a count"),
        (GOOD.replace("seeds: 2", "seeds: [1, -1]"), "suite.yaml:2: seeds = [1, -1]: seeds are a count"),
        (GOOD.replace("seeds: 2", "seeds: yes"), "suite.yaml:2: seeds = 'yes': seeds are a count"),
        (
            GOOD.replace("seeds: 2", "timeout: soon"),
            "suite.yaml:2: timeout = 'soon': 'soon' is not a duration; write 90s, 10m, 1h30m or 2d",
        ),
        (GOOD.replace("name: mine", "name: mine\nname: yours"), "suite.yaml:2: the key 'name' stands twice"),
        (GOOD.replace("name: mine", "name: mine\n? [a, b]\n: c"), "suite.yaml:2: a key must be a word"),
        (GOOD.replace("    methods: [one]\n", ""), "suite.yaml:4: the key 'methods' is missing."),
        ("name: [unclosed\n", "suite.yaml:2: not valid YAML"),
        ("", "suite.yaml is empty"),
        ("- a\n- b\n", "suite.yaml:1: a suite is a mapping"),
        (
            GOOD.replace("mine", "!!python/name:os.system mine"),
            "suite.yaml:1: 'mine' can't be read as python/name:os.system; put it in quotes",
        ),
        (GOOD.replace("seeds: 2", "seeds: !!int two"), "suite.yaml:2: 'two' can't be read as int; put it in quotes"),
        (GOOD.replace("mine", "2026-99-99"), "suite.yaml:1: '2026-99-99' can't be read as timestamp; put it in quotes"),
        (GOOD.replace("[one]", "&all [one, *all]"), "suite.yaml:5: the anchor here contains itself."),
        (GOOD.replace("seeds: 2", "seeds: 99999999999"), "suite.yaml:2: seeds = 99999999999: a task takes at most 1,000,000 seeds."),
        (GOOD.replace("seeds: 2", "seeds: {count: 99999999999}"), "suite.yaml:2: seeds = {'count': 99999999999}: a task takes at most"),
        (GOOD.replace("seeds: 2", "timeout: .inf"), "suite.yaml:2: timeout = inf: a duration must be positive and finite, not inf."),
        (GOOD.replace("[one]", "[{method: one, params: {a: 1}, sweep: {a: [2]}}]"), "suite.yaml:5: methods = {"),
        (GOOD.replace("[one]", "some"), "suite.yaml:5: methods = 'some': methods is a list of methods"),
        ("extends: nowhere\n" + GOOD, "suite.yaml:1: Unknown suite 'nowhere'; give a YAML file or one of the built-in suites"),
        ("extends: suite.yaml\n" + GOOD, "suite.yaml:1: "),
    ],
)
def test_a_mistake_is_one_sentence_with_file_and_line(tmp_path: Path, text: str, expected: str) -> None:
    message = complaint(tmp_path, text)
    assert message.startswith(expected), message
    assert "\n" not in message


def test_every_mistake_in_a_suite_is_reported_at_once(tmp_path: Path) -> None:
    message = complaint(tmp_path, GOOD.replace("seeds: 2", "seeds: -1") + "colour: red\n")
    assert len(message.splitlines()) == 2


def test_a_folder_is_called_one(tmp_path: Path) -> None:
    for name in (str(tmp_path), f"{tmp_path}/"):
        with pytest.raises(SuiteError, match=r"is a folder; a suite is a YAML file, or one of the built-in suites: .*quickstart"):
            load_suite(name)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(SuiteError, match=r"The suite file nowhere/suite\.yaml does not exist"):
        load_suite("nowhere/suite.yaml")


def test_points_expand_to_grid_times_zip() -> None:
    points = Points(params={"a": 1}, sweep={"b": [1, 2]}, zip=[{"c": 3}, {"c": 4, "d": 5}])
    assert list(points.expand()) == [
        {"a": 1, "b": 1, "c": 3},
        {"a": 1, "b": 1, "c": 4, "d": 5},
        {"a": 1, "b": 2, "c": 3},
        {"a": 1, "b": 2, "c": 4, "d": 5},
    ]


def test_scalars_are_read_as_yaml_1_2(tmp_path: Path) -> None:
    text = GOOD.replace("[one]", "[{method: one, params: {a: on, b: 1e-3, c: true, d: .5, e: 10, f: 1.5e3, g: -2}}]")
    params = load_suite(write(tmp_path, text)).suite.tasks[0].methods[0].params
    assert params == {"a": "on", "b": 1e-3, "c": True, "d": 0.5, "e": 10, "f": 1500.0, "g": -2}


def test_seeds_in_their_three_forms() -> None:
    assert parse_seeds(3) == [0, 1, 2]
    assert parse_seeds([4, 4, 2]) == [4, 2]
    assert parse_seeds({"start": 10, "count": 2}) == [10, 11]


def test_extends_puts_the_bases_tasks_first_and_overrides_other_keys(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "base.yaml")
    child = "name: child\nextends: base.yaml\nseeds: 7\ntasks:\n  - task: toy/mul\n    methods: [two]\n"
    loaded = load_suite(write(tmp_path, child))
    assert [entry.task for entry in loaded.suite.tasks] == ["toy/add", "toy/mul"]
    assert (loaded.suite.name, loaded.suite.seeds) == ("child", list(range(7)))
    assert [place.task.split("/")[-1] for place in loaded.places] == ["base.yaml:4", "suite.yaml:5"]


def test_a_child_without_tasks_only_filters(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "base.yaml")
    loaded = load_suite(write(tmp_path, "name: child\nextends: base.yaml\nexclude: [{method: one}]\n"))
    assert [entry.task for entry in loaded.suite.tasks] == ["toy/add"]
    assert loaded.suite.exclude[0].method == "one"


def test_the_resolved_text_is_itself_a_suite_with_the_same_meaning(tmp_path: Path) -> None:
    first = load_suite(write(tmp_path, GOOD))
    second = load_suite(write(tmp_path, first.text, "again.yaml"))
    assert second.suite == first.suite


@pytest.mark.parametrize("name", sorted(built_in_suites()))
def test_built_in_suites_load_and_describe_themselves(name: str) -> None:
    suite = load_suite(name).suite
    assert suite.name == name
    assert suite.description


def test_the_schema_names_every_key_of_a_suite() -> None:
    schema = json_schema()
    assert set(schema["properties"]) == set(Suite.model_fields)
    assert schema["additionalProperties"] is False
    json.dumps(schema)
