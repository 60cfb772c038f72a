"""Each quantization task has the presets quick and standard, whether they are a parameter or stand for some."""

from __future__ import annotations

import pytest

from tasks.errors import InvalidParams
from tasks.registry import load, resolve

TASKS = {name: task for name, task in load().tasks.items() if task.family == "quantization"}


@pytest.mark.parametrize("name", TASKS)
def test_quick_and_standard_are_there_and_others_are_refused(name: str) -> None:
    task = TASKS[name]
    quick, standard = (resolve(task, {"preset": preset}, name) for preset in ("quick", "standard"))
    assert quick != standard or name == "quantization/data"
    with pytest.raises(InvalidParams, match="preset"):
        resolve(task, {"preset": "endless"}, name)


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.presets])
def test_a_preset_that_stands_for_parameters_is_no_part_of_a_trials_identity(name: str) -> None:
    """So that trials recorded before there were presets are found again."""
    task = TASKS[name]
    assert resolve(task, {"preset": "standard"}, name).params() == resolve(task, {}, name).params()
    assert "preset" not in resolve(task, {"preset": "quick"}, name).params()


def test_what_is_given_beside_a_preset_counts() -> None:
    task = resolve(TASKS["quantization/vq"], {"preset": "quick", "vectors": 500, "source": "digits"}, "vq")
    assert task.params() == {"vectors": 500, "source": "digits"}
