"""What a person (or a script) sees while a run goes on: a live view on a terminal, plain lines otherwise, JSON events on request.

Everything for people goes to stderr; `--json` writes one event per line to stdout.
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from harness.pipes import abandoned, silence
from harness.planned import Plan
from harness.progress_events import (
    FixtureBuilt,
    FixtureStarted,
    Notice,
    ProgressEvent,
    RunStarted,
    TrialElsewhere,
    TrialFinished,
    TrialRetried,
    Working,
)
from harness.units import format_duration
from reports.render.clean import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

#: Plain lines come this often, so that a log file stays readable.
PLAIN_SECONDS = 10.0
#: The time left is scaled by how the work so far compares with what the plan expected of it. That expectation weighs as much as this
#: share of the plan, so that the first few trials don't throw the estimate about.
PRIOR_SHARE = 0.1
#: A failure sentence is shown the first times it occurs; the rest are counted (the ledger has them all).
FAILURES_SHOWN = 3


class Progress:
    """The view of one run. Use as a context manager and pass `on_event` to the scheduler."""

    def __init__(self, plan: Plan, run: str, *, as_json: bool = False) -> None:
        self._state = RunState(plan)
        self._view: _View
        if as_json:
            self._view = _JsonView(run)
        elif sys.stderr.isatty():
            self._view = _LiveView(self._state)
        else:
            self._view = _PlainView(self._state)

    def on_event(self, event: ProgressEvent) -> None:
        self._state.update(event)
        self._despite_leavers(lambda: self._view.show(event))

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._despite_leavers(self._view.close)

    @staticmethod
    def _despite_leavers(show: Callable[[], None]) -> None:
        """Show something, though whoever read it may have left: a run does not end for that."""
        try:
            show()
        except BrokenPipeError:
            if not (left := abandoned()):
                raise
            silence(left)
            with suppress(BrokenPipeError):
                print("Whoever read the output has left; the run goes on, and the ledger gets everything.", file=sys.stderr, flush=True)


class RunState:
    """What the events add up to, so far."""

    def __init__(self, plan: Plan) -> None:
        self.suite = plan.suite
        self.total = len(plan.trials)
        self.before = len(plan.done)
        self.todo = len(plan.todo)
        self.done = 0
        self.failed: Counter[str] = Counter()  #: by outcome, quarantined ones under their own name
        self.retried = 0
        self.building: dict[str, str] = {}
        self.working = Working(0, self.todo, 0, plan.seconds)
        self.best: dict[str, tuple[str, str, float]] = {}  #: family -> (method, metric, value) of the best primary value so far
        self.started = time.monotonic()
        self._primary = {
            row.task: (metric.metric, metric.direction) for row in plan.catalogue.tasks for metric in row.metrics if metric.is_primary
        }
        self._expected = {planned.trial.key: planned.seconds for planned in plan.todo}
        self._expected |= {fixture.key: fixture.seconds for fixture in plan.fixtures if not fixture.present}
        self._planned_seconds = plan.seconds
        self._left = sum(self._expected.values())  #: kept up to date: a long run's view refreshes four times a second

    def update(self, event: ProgressEvent) -> None:
        if isinstance(event, (TrialFinished, TrialElsewhere, FixtureBuilt)):
            self._left -= self._expected.pop(event.key, 0.0)
        if isinstance(event, TrialFinished):
            self._finished(event)
        elif isinstance(event, TrialElsewhere):
            self.done += event.state == "done"
            if event.state != "done":
                self.failed[event.state] += 1
        elif isinstance(event, TrialRetried):
            self.retried += 1
        elif isinstance(event, FixtureStarted):
            self.building[event.key] = event.name
        elif isinstance(event, FixtureBuilt):
            self.building.pop(event.key, None)
        elif isinstance(event, Working):
            self.working = event

    def _finished(self, event: TrialFinished) -> None:
        if event.state != "done":
            self.failed["quarantined" if event.state == "quarantined" else event.outcome] += 1
            return
        self.done += 1
        metric, direction = self._primary.get(event.trial.task, ("", ""))
        value = event.metrics.get(metric, math.nan)
        known = self.best.get(event.trial.family)
        sign = -1.0 if direction == "lower" else 1.0
        if not math.isnan(value) and (known is None or sign * value > sign * known[2]):
            self.best[event.trial.family] = (event.trial.method.split("/", 1)[1], metric, value)

    @property
    def finished(self) -> int:
        return self.done + sum(self.failed.values())

    @property
    def in_flight(self) -> int:
        """Trials that are with workers; the last word on that may be a second old."""
        return min(self.working.running, self.todo - self.finished)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    def eta(self) -> float | None:
        """Seconds left: what the plan expects of the unfinished trials and fixtures, at the run's own speed; None before it works."""
        if self.finished == self.todo:
            return 0.0
        if not (workers := self.working.workers):
            return None
        left, prior = max(0.0, self._left), PRIOR_SHARE * self._planned_seconds
        done, spent = self._planned_seconds - left, self.elapsed * workers
        building = sum(self._expected.get(key, 0.0) for key in list(self.building))  # a copy: the live view asks from a thread of its own
        running = self.in_flight * (left - building) / max(1, len(self._expected) - len(self.building))
        # What is in flight counts as far as its time was spent: else one long trial at the start would multiply the estimate.
        worked = done + min(building + running, max(spent - done, 0.0))
        slowness = (spent + prior) / (worked + prior) if prior else 1.0
        return left * slowness / workers

    def line(self, over: bool = False) -> str:
        """The run in one line; `over`: nothing executes any more."""
        failed = (
            f", {sum(self.failed.values())} failed ({', '.join(f'{n} {name}' for name, n in self.failed.items())})" if self.failed else ""
        )
        eta = None if over else self.eta()
        left = f", about {format_duration(eta)} left" if eta else ""
        rate = f", {self.rate}" if self.rate else ""
        fixtures = f", building {', '.join(sorted(set(self.building.values())))}" if self.building else ""
        running = f", {self.in_flight} in flight" if self.in_flight and not over else ""
        return f"{self.before + self.done}/{self.total} done{failed}{running}{rate}{left}{fixtures}{'' if over else self.waits}"

    @property
    def rate(self) -> str:
        """Trials per second so far; empty before there is one."""
        return f"{self.finished / self.elapsed:.1f}/s" if self.finished and self.elapsed > 1 else ""

    @property
    def waits(self) -> str:
        """What the engine waits for, behind a comma; empty when it waits for nothing or everything has ended."""
        return f", {self.working.engine_waits}" if self.working.engine_waits and self.finished < self.todo else ""


class _View(Protocol):
    def show(self, event: ProgressEvent) -> None: ...

    def close(self) -> None: ...


class _JsonView:
    """One JSON object per event and line. Meanwhile nobody else's words go to stdout: Ray reports a cluster's errors there."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._out, sys.stdout = sys.stdout, sys.stderr

    def show(self, event: ProgressEvent) -> None:
        name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in type(event).__name__).lstrip("_")
        body = {key: _finite(value) for key, value in asdict(event).items() if key != "trial"}
        if isinstance(event, (TrialFinished, TrialRetried)):
            body |= {"task": event.trial.task, "method": event.trial.method, "seed": event.trial.seed}
        self._out.write(json.dumps({"event": name, "run": self._run, **body}) + "\n")
        self._out.flush()

    def close(self) -> None:
        sys.stdout = self._out


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinities: they travel as strings."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


class _Failures:
    """Which failure sentences have been shown how often."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, str, str]] = Counter()

    def sentence(self, event: ProgressEvent) -> str | None:
        """What to print for this event, if anything. A method's error may hold terminal escapes: they are not passed on."""
        text = self._text(event)
        return None if text is None else printable(text)

    def _text(self, event: ProgressEvent) -> str | None:
        if isinstance(event, Notice):
            return event.text
        if isinstance(event, FixtureBuilt) and event.error:
            return f"Fixture {event.name} can't be built: {event.error}"
        if not isinstance(event, TrialFinished) or event.state == "done":
            return None
        kind = (event.trial.method, event.outcome, re.sub(r"\d+", "#", event.error))  # it may name workers
        self._seen[kind] += 1
        if self._seen[kind] > FAILURES_SHOWN:
            return None
        more = " Further ones like this are only counted." if self._seen[kind] == FAILURES_SHOWN else ""
        text = f"{event.trial.method} on {event.trial.task}, seed {event.trial.seed}: {event.outcome}: {event.error}"
        return f"{text} (assay show {event.key[:12]}).{more}"


class _PlainView:
    """Lines for logs: a status line every few seconds and each new failure."""

    def __init__(self, state: RunState) -> None:
        self._state, self._failures, self._last = state, _Failures(), time.monotonic()

    def show(self, event: ProgressEvent) -> None:
        if isinstance(event, RunStarted):
            self._print(f"{event.trials} trials to do on {event.engine}, run {event.run}")
        if (sentence := self._failures.sentence(event)) is not None:
            self._print(sentence)
        if isinstance(event, FixtureBuilt) and not event.error:
            self._print(f"built fixture {event.name} in {format_duration(event.seconds)}")
        if time.monotonic() - self._last >= PLAIN_SECONDS:
            self._last = time.monotonic()
            self._print(self._state.line())

    def close(self) -> None:
        self._print(self._state.line(over=True))

    def _print(self, text: str) -> None:
        print(f"[{self._state.suite}] {text}", file=sys.stderr, flush=True)


class _LiveView:
    """A few lines that redraw themselves; failures scroll above them."""

    def __init__(self, state: RunState) -> None:
        from rich.console import Console
        from rich.live import Live

        self._state, self._failures = state, _Failures()
        self._console = Console(stderr=True, highlight=False)
        self._live = Live(console=self._console, get_renderable=self._render, refresh_per_second=4, transient=True)
        self._live.start()

    def show(self, event: ProgressEvent) -> None:
        if (sentence := self._failures.sentence(event)) is not None:
            self._console.print(sentence, style="yellow", markup=False)

    def close(self) -> None:
        self._live.stop()
        self._console.print(self._state.line(over=True), markup=False)

    def _render(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        state = self._state
        grid = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=max(state.total, 1), completed=state.before + state.finished, width=40)
        eta = state.eta()
        numbers = f"{state.before + state.finished}/{state.total}  {format_duration(state.elapsed)}"
        grid.add_row(
            Text(state.suite, style="bold"), bar, Text(numbers), Text(f"about {format_duration(eta)} left" if eta else "", style="dim")
        )
        parts = [("done", state.before + state.done, "green"), ("in flight", state.in_flight, "cyan")]
        parts += [(name, count, "red") for name, count in list(state.failed.items())]
        if state.retried:
            parts.append(("retried", state.retried, "yellow"))
        line = Text("  ").join(Text(f"{name} {count}", style=style) for name, count, style in parts)
        gpus = f"  GPUs in use {state.working.gpus:g}" if state.working.gpus else ""
        line.append(f"  {state.rate}  workers {state.working.workers}{gpus}", style="dim")
        if state.waits:
            line.append(state.waits, style="yellow")
        lines: list[RenderableType] = [grid, line]
        if state.building:
            lines.append(Text(f"building {', '.join(sorted(set(state.building.values())))}", style="dim"))
        lines += [
            Text(f"{family}: best so far {method} ({metric} {value:.4g})", style="dim")
            for family, (method, metric, value) in sorted(state.best.items())
        ]
        return Group(*lines)
