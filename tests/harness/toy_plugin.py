"""Tiny tasks and methods for tests of engines and scheduler: each method misbehaves in one way."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from tasks.api import Context, Fixture, Measured, Method, Metric, Task
from tasks.errors import InvalidResult


class Toy(Method, family="toy"):
    """Protocol: gives back the values to report."""

    def act(self, seed: int, context: Context) -> Mapping[str, Any]:
        raise NotImplementedError


class Ok(Toy, name="ok"):
    value: float = 1.0
    seconds: float = 0.0

    def act(self, seed, context):
        time.sleep(self.seconds)
        return {"score": self.value + seed}


class Bad(Toy, name="bad"):
    """Misbehaves in the way that `how` names; `marker` (a folder) lets it behave after `times` misdeeds."""

    how: str
    marker: str = ""
    times: int = 10**6
    only_seed: int = -1
    seconds: float = 600.0

    def act(self, seed, context):
        if self.only_seed >= 0 and seed != self.only_seed:
            return {"score": 1.0}
        if self.marker:
            past = sorted(Path(self.marker).glob("*"))
            if len(past) >= self.times:
                return {"score": 2.0}
            (Path(self.marker) / f"{len(past):04d}-{os.getpid()}").touch()
        return getattr(self, f"_{self.how}")(context)

    def _raises(self, context):
        print("a line on stdout")
        print("a line on stderr", file=sys.stderr)
        raise ValueError("the toy is broken")

    def _sys_exit(self, context):
        sys.exit(3)

    def _interrupts(self, context):
        raise KeyboardInterrupt

    def _invalid(self, context):
        raise InvalidResult("The weights have the wrong shape.")

    def _hangs(self, context):
        print("about to hang")
        time.sleep(self.seconds)
        return {"score": 1.0}

    def _hangs_stubbornly(self, context):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        print("about to hang stubbornly")
        time.sleep(self.seconds)
        return {"score": 1.0}

    def _swallows(self, context):
        deadline = time.monotonic() + self.seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(BaseException):  # the point of this toy
                time.sleep(1)
        return {"score": 1.0}

    def _exits(self, context):
        os.write(2, b"last words\n")
        os._exit(7)

    def _segfaults(self, context):
        ctypes.string_at(0)

    def _kills_itself(self, context):
        os.kill(os.getpid(), signal.SIGKILL)

    def _nan(self, context):
        return {"score": float("nan")}

    def _range(self, context):
        return {"score": -1e9}

    def _undeclared(self, context):
        return {"score": 1.0, "surprise": 2.0}

    def _missing(self, context):
        return {}

    def _text(self, context):
        return {"score": "high"}

    def _prints(self, context):
        line = b"x" * 999 + b"\n"
        for _ in range(100_000):
            os.write(1, line)
        os.write(1, b"the end\n")
        return {"score": 1.0}

    def _leaks(self, context):
        hoard = []
        while True:
            hoard.append(np.ones(4 << 20))
            time.sleep(0.02)

    def _memory_error(self, context):
        raise MemoryError

    def _unpicklable(self, context):
        return {"score": 1.0, "unpicklable": lambda: None}

    def _forks(self, context):
        subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL)
        pid = os.fork()
        if pid == 0:
            time.sleep(600)
            os._exit(0)
        Path(self.marker, "child").write_text(str(pid))
        return {"score": 1.0}

    def _environment(self, context):
        return {"score": float(os.environ["OMP_NUM_THREADS"])}


class Base(Fixture, name="toy-base", seconds=0.1):
    """A file with a number; fails to be built when `broken`; leaves a trace per build in `trace`."""

    number: float = 3.0
    broken: bool = False
    trace: str = ""
    seconds_to_build: float = 0.0
    on_top: int = Field(0, ge=0)

    def needs(self):
        return (self.model_copy(update={"on_top": self.on_top - 1}),) if self.on_top else ()

    def build(self, folder: Path, context: Context) -> None:
        if self.broken and not self.on_top:
            raise RuntimeError("no electricity")
        time.sleep(self.seconds_to_build)
        if self.trace:
            (Path(self.trace) / f"{self.on_top}-{os.getpid()}-{time.time_ns()}").touch()
        below = context.fixture(self.needs()[0]) if self.on_top else 0.0
        (folder / "number").write_text(str(below + self.number))

    def load(self, folder: Path) -> float:
        return float((folder / "number").read_text())


METRICS = (
    Metric("score", "1", "higher", "The toy's score.", primary=True, low=-1e6, high=1e6),
    Metric("pid", "1", "none", "Process that ran it."),
    Metric("draw", "1", "none", "A draw from the global generators."),
)


class Single(Task, family="toy", name="single", accepts=(Toy,), timeout=20.0, seconds=0.01):
    """Runs a toy once per seed."""

    metrics = METRICS

    note: str = ""
    fixture: Literal["", "plain", "broken", "stack"] = ""
    trace: str = ""

    def data_fingerprint(self) -> str:
        return "toy-1"

    def fixtures(self, seed: int) -> tuple[Fixture, ...]:
        if not self.fixture:
            return ()
        return (Base(broken=self.fixture == "broken", trace=self.trace, on_top=2 if self.fixture == "stack" else 0),)

    def run(self, method: Toy, seed: int, context: Context) -> Measured:
        values = dict(method.act(seed, context))
        if self.fixture and context.fixture(self.fixtures(seed)[0]) not in (3.0, 9.0):
            raise AssertionError("the fixture holds another number")
        info = {"unpicklable": values.pop("unpicklable")} if "unpicklable" in values else {"note": self.note}
        (context.scratch / "file").write_text("scratch")
        return Measured({**values, "pid": float(os.getpid()), "draw": float(np.random.random())}, info=info)


class Noop(Task, family="toy", name="noop", accepts=(Toy,), timeout=20.0, seconds=0.001):
    """Three metrics and nothing else: what the harness itself costs."""

    metrics = METRICS

    block: int = 0

    def data_fingerprint(self) -> str:
        return "toy-1"

    def run(self, method: Toy, seed: int, context: Context) -> Measured:
        return Measured({"score": float(seed), "pid": 1.0, "draw": 0.5})


class Curve(Task, family="toy", name="curve", accepts=(Toy,), timeout=60.0, seconds=0.1):
    """Reports a curve of 100,000 points."""

    metrics = (METRICS[0], Metric("path", "1", "higher", "Score over rounds.", curve="round"))

    def data_fingerprint(self) -> str:
        return "toy-1"

    def run(self, method: Toy, seed: int, context: Context) -> Measured:
        rounds = np.arange(100_000.0)
        return Measured(dict(method.act(seed, context)), {"path": (rounds, np.sin(rounds + seed))})


class Group(Task, family="toy", name="group", accepts=(Toy,), seeds_together=True, timeout=20.0, seconds=0.01):
    """Runs all seeds in one call and reports a curve."""

    metrics = (
        METRICS[0],
        Metric("path", "1", "higher", "Score over rounds.", curve="round"),
        Metric("size", "1", "none", "Seeds in the call."),
    )

    def data_fingerprint(self) -> str:
        return "toy-1"

    def run(self, method: Toy, seed: int, context: Context) -> Measured:
        return self.run_seeds(method, (seed,), context)[seed]

    def run_seeds(self, method: Toy, seeds: Sequence[int], context: Context) -> Mapping[int, Measured]:
        found = {}
        for seed in seeds:
            values = dict(method.act(seed, context))
            found[seed] = Measured({**values, "size": float(len(seeds))}, {"path": ([1, 2, 4], np.arange(3.0) + seed)})
        return found
