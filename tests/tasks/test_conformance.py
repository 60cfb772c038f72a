"""Every registered task with every method it accepts keeps the contract; and the checks themselves catch those that don't."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from tasks.api import FAMILIES, Context, Fixture, Measured, Method, Metric, Task
from tasks.registry import REGISTRY, resolve
from tasks.testing import LocalContext, TaskConformance, check_task_method


def pairs() -> Iterator[tuple[str, str]]:
    for family in FAMILIES:
        try:
            REGISTRY.load_family(family)
        except Exception:
            continue  # test_family_loads says why
    for task_id, task in sorted(REGISTRY.tasks.items()):
        for method in REGISTRY.methods_for(task):
            yield task_id, method.id()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("conformance")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("family", FAMILIES)
def test_family_loads_with_tasks_and_methods(family: str):
    REGISTRY.load_family(family)
    assert any(task.family == family for task in REGISTRY.tasks.values())
    assert any(method.family == family for method in REGISTRY.methods.values())


@pytest.mark.parametrize(("task_id", "method_id"), list(pairs()))
def test_task_and_method_conform(task_id: str, method_id: str, cache: Path):
    task_class = REGISTRY.tasks[task_id]
    task = resolve(task_class, task_class.check_params, task_id)
    method = REGISTRY.methods[method_id]()
    if reason := task.infeasible(method):
        pytest.skip(reason)
    problems = [f"{check.rule}: {check.problem}" for check in check_task_method(task, method, cache) if check.problem]
    assert not problems, "; ".join(problems)


class Toy(Method, family="toy"):
    """Answers with a number."""

    def answer(self, task: ToyTask, seed: int, context: Context) -> float:
        return float(task.streams(seed).numpy("method").random())


class Good(Toy, name="good"):
    """Keeps every rule, and writes into its scratch folder."""

    def answer(self, task: ToyTask, seed: int, context: Context) -> float:
        (context.scratch / "note.txt").write_text("mine")
        return context.fixture(ToyFixture()) * super().answer(task, seed, context)


class ToyFixture(Fixture, name="toy"):
    factor: float = 0.5

    def build(self, folder: Path, context: Context) -> None:
        (folder / "factor").write_text(str(self.factor))

    def load(self, folder: Path) -> float:
        return float((folder / "factor").read_text())


class ToyTask(Task, family="toy", name="task", accepts=(Toy,), seeds_together=True):
    """A number in [0, 1]."""

    metrics: ClassVar = (Metric("value", "fraction", "higher", "the number", primary=True, low=0, high=1),)

    def data_fingerprint(self) -> str:
        return "none"

    def fixtures(self, seed: int) -> tuple[Fixture, ...]:
        return (ToyFixture(),)

    def run(self, method: Toy, seed: int, context: Context) -> Measured:
        return Measured({"value": method.answer(self, seed, context)})


class TestToyConforms(TaskConformance):
    task, method = ToyTask(), Good()


class Unseeded(Toy):
    """Draws from the machine's entropy."""

    def answer(self, task: ToyTask, seed: int, context: Context) -> float:
        return int.from_bytes(os.urandom(6), "big") / 2**48


class TooHigh(Toy):
    """Leaves the legal range."""

    def answer(self, task: ToyTask, seed: int, context: Context) -> float:
        return 1.5


class NotANumber(Toy):
    """Returns NaN."""

    def answer(self, task: ToyTask, seed: int, context: Context) -> float:
        return float("nan")


class Caller(Toy):
    """Looks a host name up, and hides that it failed."""

    def answer(self, task: ToyTask, seed: int, context: Context) -> float:
        with contextlib.suppress(OSError):
            socket.create_connection(("localhost", 9), timeout=1)
        return 0.5


class Litterer(Toy):
    """Leaves a file in the working directory."""

    def answer(self, task: ToyTask, seed: int, context: Context) -> float:
        Path("litter.txt").write_text("oops")
        return 0.5


class Wanderer(Toy):
    """Writes next to its scratch folder."""

    def answer(self, task: ToyTask, seed: int, context: Context) -> float:
        (context.scratch.parent / "stray.txt").write_text("oops")
        return 0.5


class Borrower(Toy):
    """Asks for a fixture that its task did not declare."""

    def answer(self, task: ToyTask, seed: int, context: Context) -> float:
        return context.fixture(ToyFixture(factor=0.25))


@pytest.mark.parametrize(
    ("method", "complaint"),
    [
        (Unseeded(), "in one run and"),
        (TooHigh(), r"outside \[0, 1\]"),
        (NotANumber(), "'value' is nan"),
        (Caller(), "used the network"),
        (Litterer(), "outside its scratch folder.*litter.txt"),
        (Wanderer(), "outside its scratch folder.*stray.txt"),
        (Borrower(), "doesn't declare: toy"),
    ],
)
def test_a_method_that_breaks_a_rule_is_caught(method: Toy, complaint: str, tmp_path: Path):
    problems = [check.problem for check in check_task_method(ToyTask(), method, tmp_path) if check.problem]
    with pytest.raises(AssertionError, match=complaint):
        raise AssertionError("; ".join(problems))


class Leaky(ToyTask, name="leaky", seeds_together=True):
    """Gives another result when seeds run together."""

    def run_seeds(self, method, seeds, context):
        return {seed: Measured({"value": seed / 10}) for seed in seeds}


class Undeclared(ToyTask, name="undeclared"):
    """Reports a metric that it doesn't declare."""

    def run(self, method: Toy, seed: int, context: Context) -> Measured:
        return Measured({"value": 0.5, "surprise": 1.0})


class Silent(ToyTask, name="silent"):
    """Does not report what it declares."""

    def run(self, method: Toy, seed: int, context: Context) -> Measured:
        return Measured({})


class TwoPrimaries(ToyTask, name="two"):
    """Declares two primary metrics."""

    metrics: ClassVar = (
        Metric("value", "fraction", "higher", "the number", primary=True),
        Metric("other", "fraction", "higher", "another", primary=True),
    )


@pytest.mark.parametrize(
    ("task", "complaint"),
    [
        (Leaky(), "in one run and"),
        (Undeclared(), "'surprise' is not a scalar"),
        (Silent(), "'value' is missing"),
        (TwoPrimaries(), "exactly one scalar metric must be primary"),
    ],
)
def test_a_task_that_breaks_a_rule_is_caught(task: Task, complaint: str, tmp_path: Path):
    assert complaint in "; ".join(check.problem for check in check_task_method(task, Good(), tmp_path))


def test_local_context_builds_a_fixture_once(tmp_path: Path):
    context = LocalContext(tmp_path)
    assert context.fixture(ToyFixture()) == 0.5
    built = next(tmp_path.glob("fixture-*/factor"))
    built.write_text("0.75")
    assert context.fixture(ToyFixture()) == 0.5  # loaded already
    assert LocalContext(tmp_path).fixture(ToyFixture()) == 0.75  # read back, not built again
    assert context.fixture(ToyFixture(factor=0.1)) == 0.1
