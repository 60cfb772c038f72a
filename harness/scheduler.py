"""The scheduler: carries out a plan on an engine, and brings every trial to one accepted result or one named failure."""

from __future__ import annotations

import gc
import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from db.ledger import Ledger
from db.records import Outcome
from db.spool import Spool
from harness.blocks import interleave
from harness.engines.base import Call, CallEnded, Engine, EngineSettings, Shape, TrialResult, UnitDone
from harness.errors import EngineError
from harness.fixture_gate import FixtureGate
from harness.leases import RECHECK_SECONDS, Leases
from harness.planned import Plan, PlannedTrial
from harness.progress_events import (
    FixtureBuilt,
    FixtureStarted,
    Notice,
    ProgressEvent,
    RunStarted,
    Working,
)
from harness.queueing import CALL_BUDGET, Costs, Item, ReadyQueue, group_items
from harness.recorder import GROUP_ATTEMPTS, Recorder
from harness.settling import Settler, Summary
from harness.signals import NeverStop, StopRequest

#: The longest the loop sleeps: limits, commits and Ctrl-C are looked at this often.
POLL_SECONDS = 0.1

#: Leases are taken for so much expected work at a time, but for no more than so many trials: one transaction for many short trials,
#: and yet enough left over for another coordinator.
CLAIM_SECONDS, CLAIM_TRIALS = 1.0, 500

#: With nothing to do but wait for an unreachable ledger, the run gives up after this long; what was measured is in the spool.
LEDGER_PATIENCE = 60.0

#: So many workers in a row that die before they begin anything are no accident.
BARREN_LOSSES = 20

#: Calls of lost workers whose results would still be taken if they came.
GHOSTS = 1000


@dataclass(slots=True)
class _Running:
    """A call that is with the engine. `open` are the indices of units without a result."""

    call: Call
    items: Sequence[Item]
    open: set[int]


def run_plan(
    plan: Plan,
    run_id: str,
    ledger: Ledger,
    engine: Engine,
    settings: EngineSettings,
    *,
    spool: Spool,
    budget_seconds: float | None = None,
    budget_trials: int | None = None,
    on_event: Callable[[ProgressEvent], None] = lambda event: None,
    stop: StopRequest | None = None,
    group_attempts: int = GROUP_ATTEMPTS,
) -> Summary:
    """Run what the plan has to do. The run must have been started in the ledger. Raises EngineError when the engine can't start or its
    workers can't live; whatever was measured by then is in the ledger (or the spool) and every lease is given back.

    `budget_seconds` and `budget_trials` end the dispatch of new trials, not those that run.
    """
    return _Scheduler(plan, run_id, ledger, engine, settings, spool, budget_seconds, budget_trials, on_event, stop, group_attempts).run()


class _Scheduler:
    def __init__(
        self,
        plan: Plan,
        run_id: str,
        ledger: Ledger,
        engine: Engine,
        settings: EngineSettings,
        spool: Spool,
        budget_seconds: float | None,
        budget_trials: int | None,
        on_event: Callable[[ProgressEvent], None],
        stop: StopRequest | None,
        group_attempts: int,
    ) -> None:
        self._plan, self._run_id, self._ledger, self._engine, self._settings = plan, run_id, ledger, engine, settings
        self._emit, self._stop = on_event, stop or NeverStop()
        self._began = time.monotonic()
        self._deadline = None if budget_seconds is None else self._began + budget_seconds
        self._startable = budget_trials
        self._recorder = Recorder(ledger, spool, group_attempts=group_attempts, on_trouble=lambda sentence: on_event(Notice(sentence)))
        self._items = group_items(plan.todo)
        # An engine that executes units in this very thread comes back when the longest one is over.
        silence = 0.0 if engine.isolated else CALL_BUDGET + max((item.unit().timeout for item in self._items), default=0.0)
        self._leases = Leases(ledger, Path(settings.cache_dir) / "coordinators", silence=silence)
        self._settler = Settler(run_id, self._recorder, self._leases, on_event, interleave(self._items, run_id))
        self._gate = FixtureGate(plan.fixtures, self._release)
        self._costs = Costs()
        self._queues: dict[Shape, ReadyQueue] = {}
        self._foreign: dict[str, PlannedTrial] = {}
        self._recheck_at = 0.0
        self._running: dict[int, _Running] = {}
        self._in_flight: Counter[Shape] = Counter()
        self._ghosts: dict[int, _Running] = {}
        self._call_ids = itertools.count()
        self._mean = plan.seconds / max(1, len(plan.todo))  #: expected seconds of a trial
        self._barren = 0
        self._working_at = 0.0
        self._cancelling = False

    # -- the loop ---------------------------------------------------------------------------------------------------------------------
    def run(self) -> Summary:
        plan = self._plan
        self._emit(RunStarted(self._run_id, len(plan.todo), sum(not fixture.present for fixture in plan.fixtures), self._engine.name))
        self._ledger.submit(self._run_id, plan.trials)
        self._enqueue()
        self._leases.free_the_dead()
        gc.freeze()  # the plan lives until the end: looking for garbage in it, again and again, made each of 10^5 trials a third dearer
        with ExitStack() as leaving:  # last in, first out: results are safe before workers are ended, which takes seconds and may fail
            leaving.callback(gc.unfreeze)
            leaving.callback(self._leases.release)
            leaving.callback(self._engine.stop)
            leaving.callback(self._recorder.close)
            with suppress(KeyboardInterrupt), self._stop.idle():  # an engine that can't be had may be waited for for minutes
                self._engine.start(self._settings, list(self._queues) or [Shape()])
            while self._step():
                pass
        ended = self._settler
        left = self._left()
        interrupted = self._stop.is_set() and left > 0
        seconds = time.monotonic() - self._began
        return Summary(dict(ended.attempts), ended.done, ended.failed, left, interrupted, seconds, self._recorder.spooling)

    def _left(self) -> int:
        return len(self._plan.todo) - self._settler.done - self._settler.failed

    def _step(self) -> bool:
        """One turn of the loop; False when there is nothing left to do or to wait for."""
        stopping = self._stopping()
        if not stopping:
            self._recheck_foreign()
            self._dispatch()
        elif self._stop.now() and not self._cancelling:
            self._cancelling = True
            for call in self._running:
                self._engine.cancel(call)
        elif self._draining():
            self._engine.hand_back()
        self._recorder.tick()
        self._leases.tick()
        self._show_work()
        if not self._running:
            if stopping or not self._waiting():
                return False
            unavailable = self._leases.unavailable_since
            if unavailable is not None and time.monotonic() - unavailable > LEDGER_PATIENCE:
                self._emit(Notice("The ledger stays unreachable; the run ends here."))
                return False
            time.sleep(POLL_SECONDS)
            return True
        for event in self._engine.poll(POLL_SECONDS):
            if isinstance(event, UnitDone):
                self._unit_done(event)
            else:
                self._call_ended(event)
        return True

    def _stopping(self) -> bool:
        """Whether nothing new may start."""
        return self._startable == 0 or self._draining()

    def _draining(self) -> bool:
        """Whether what has not begun will not begin: Ctrl-C, or the time is up."""
        return self._stop.is_set() or (self._deadline is not None and time.monotonic() > self._deadline)

    def _waiting(self) -> int:
        return sum(map(len, self._queues.values())) + len(self._foreign) + self._gate.waiting()

    def _show_work(self) -> None:
        now = time.monotonic()
        if now < self._working_at:
            return
        self._working_at = now + 1.0
        running = sum(len(running.items[index].trials) for running in self._running.values() for index in running.open)
        waiting = self._left() - running
        usage = self._engine.usage()
        self._emit(Working(running, waiting, usage.workers, (running + waiting) * self._mean, usage.gpus, usage.waiting))

    # -- queues -----------------------------------------------------------------------------------------------------------------------
    def _enqueue(self) -> None:
        # Shapes get workers in this order: exclusive ones have nothing to make way for yet, and who comes first keeps its workers busy.
        self._items.sort(key=lambda item: (not item.shape.exclusive, -item.trials[0].priority))
        for item in self._items:
            self._queue(item.shape)  # the engine prepares for every shape, also for trials that wait
            self._gate.admit(item)
        self._items.clear()
        self._gate.open()

    def _release(self, item: Item) -> None:
        if item.fixture is None:
            self._queue(item.shape).push(item)
        else:
            # Fixtures need no lease (their store has locks) and go first: others wait for them.
            self._queue(self._gate.shape(item, next(iter(self._queues), Shape()))).leased.appendleft(item)

    def _queue(self, shape: Shape) -> ReadyQueue:
        if shape not in self._queues:
            self._queues[shape] = ReadyQueue(self._costs)
        return self._queues[shape]

    # -- dispatch ---------------------------------------------------------------------------------------------------------------------
    def _dispatch(self) -> None:
        now = time.monotonic()
        for shape, queue in self._queues.items():
            queue.wake(now)
            slots = self._engine.slots(shape)
            while self._in_flight[shape] < slots and len(queue):
                limit = self._startable if self._startable is not None else len(self._plan.todo) + 1
                if not queue.leased and not self._claim(queue, slots, slots - self._in_flight[shape]):
                    break
                items = queue.batch(slots, limit)
                if not items:
                    break
                self._submit(shape, items)

    def _claim(self, queue: ReadyQueue, slots: int, calls: int) -> bool:
        """Lease what the free slots will need; False when nothing was obtained."""
        size = max(queue.batch_size(slots) * calls, queue.worth(CLAIM_SECONDS, CLAIM_TRIALS))
        if self._startable is not None:
            size = min(size, self._startable)
        items = queue.take(size)
        if not items:
            return False
        got = self._leases.claim([key for item in items for key in item.keys])
        if got is None:
            for item in items:
                queue.push(item, time.monotonic() + 1.0, time.monotonic())
            return False
        for item in items:
            ours = tuple(planned for planned in item.trials if planned.trial.key in got)
            if len(ours) < len(item.trials):
                self._foreign.update({planned.trial.key: planned for planned in item.trials if planned.trial.key not in got})
                self._recheck_at = min(self._recheck_at, time.monotonic() + RECHECK_SECONDS)
                item = Item(ours, alone=item.alone)
            if ours:
                item.leased = True
                queue.leased.append(item)
        return bool(queue.leased)

    def _recheck_foreign(self) -> None:
        """Trials that another coordinator held: taken over when its lease has run out, counted when it has ended them."""
        now = time.monotonic()
        if not self._foreign or now < self._recheck_at:
            return
        self._recheck_at = now + RECHECK_SECONDS
        if any(map(len, self._queues.values())):
            return  # enough to do meanwhile
        for key in self._leases.claim(list(self._foreign)) or ():
            planned = self._foreign.pop(key)
            self._queue(planned.shape).push(Item((planned,), leased=True))
        for key, status in self._leases.statuses(list(self._foreign)).items():
            if status.state in ("pending", "leased"):
                continue
            del self._foreign[key]
            self._settler.ended_elsewhere(key, status.state)

    def _submit(self, shape: Shape, items: Sequence[Item]) -> None:
        if self._ghosts and not (
            items := [item for item in items if not (item.trials and all(map(self._settler.is_settled_late, item.keys)))]
        ):
            return
        seconds = sum(item.seconds(self._costs) for item in items)
        units = tuple(item.unit() for item in items)
        call = Call(next(self._call_ids), units, shape, self._plan.plugins, seconds, CALL_BUDGET, items[0].affinity)
        self._running[call.id] = _Running(call, items, set(range(len(items))))
        self._in_flight[shape] += 1
        if self._startable is not None:
            self._startable = max(0, self._startable - sum(len(item.trials) for item in items))
        if items[0].fixture is not None:
            self._emit(FixtureStarted(items[0].fixture.key, items[0].fixture.name))
        self._engine.submit(call)

    # -- what comes back --------------------------------------------------------------------------------------------------------------
    def _unit_done(self, event: UnitDone) -> None:
        running = self._running.get(event.call)
        late = running is None
        if running is None:
            running = self._ghosts.get(event.call)
        if running is None or event.unit not in running.open:
            return
        running.open.discard(event.unit)
        self._barren = 0
        item = running.items[event.unit]
        if item.fixture is not None:
            result = event.results[0]
            if (
                not late or result.outcome == "ok"
            ):  # that a worker believed dead failed to build it says nothing of the build that replaced it
                self._fixture_ended(item, result.outcome, result.error, event.seconds, event.worker)
            return
        share = len(item.trials)
        seconds, cpu_seconds = event.seconds / share, event.cpu_seconds / share
        for planned, result in zip(item.trials, event.results, strict=True):
            if late:
                self._settler.settle_late(planned, result, event, seconds, cpu_seconds)
                continue
            if result.outcome == "ok":
                self._costs.observe(planned, seconds)
            self._settle(planned, result, event, seconds, cpu_seconds)

    def _settle(self, planned: PlannedTrial, result: TrialResult, event: UnitDone | CallEnded, seconds: float, cpu_seconds: float) -> None:
        delay = self._settler.settle(planned, result, event, seconds, cpu_seconds)
        if delay is not None:
            now = time.monotonic()
            self._queue(planned.shape).push(Item((planned,), leased=True), now + delay, now)

    def _call_ended(self, event: CallEnded) -> None:
        running = self._running.pop(event.call, None)
        if running is None:
            return
        self._in_flight[running.call.shape] -= 1
        if not running.open:
            return
        if event.lost is not None:
            self._ghosts[event.call] = running
            if len(self._ghosts) > GHOSTS:
                del self._ghosts[next(iter(self._ghosts))]
        self._count_barren(event)
        culprit = event.unit if event.lost is not None and event.unit in running.open else None
        if culprit is not None:
            self._blame(running.items[culprit], event)
        # A loss that nobody can be blamed for: what was in the call runs alone from now on, so that the next loss has a name.
        suspect = event.lost in ("worker_lost", "oom") and culprit is None
        back = [running.items[index] for index in sorted(running.open) if index != culprit]
        for item in back:
            item.alone = item.alone or suspect
        self._queue(running.call.shape).leased.extendleft(reversed(back))
        if self._startable is not None:
            self._startable += sum(len(item.trials) for item in back)

    def _count_barren(self, event: CallEnded) -> None:
        if event.lost != "worker_lost" or event.unit is not None or event.unwatched:
            return  # of a lost node's calls, dozens at a time, nobody knows whether they had begun
        self._barren += 1
        if self._barren >= BARREN_LOSSES:
            raise EngineError(
                f"Workers of the engine {self._engine.name} die before they begin ({f'{event.detail} {event.stderr[-300:]}'.strip()})."
            )

    def _blame(self, item: Item, event: CallEnded) -> None:
        assert event.lost is not None
        if item.fixture is not None:
            self._fixture_ended(item, event.lost, event.detail, 0.0, event.worker, event.external)
            return
        seconds = (event.finished - event.started).total_seconds() if event.started and event.finished else 0.0
        for planned in item.trials:
            result = TrialResult(planned.trial.key, event.lost, error=event.detail)
            self._settle(planned, result, event, seconds / len(item.trials), 0.0)

    # -- fixtures ---------------------------------------------------------------------------------------------------------------------
    def _fixture_ended(self, item: Item, outcome: Outcome, error: str, seconds: float, worker: str, external: bool = False) -> None:
        assert item.fixture is not None
        if outcome == "ok":
            self._emit(FixtureBuilt(item.fixture.key, item.fixture.name, seconds))
            self._gate.built(item)
        elif not self._gate.retry(item, outcome, worker, external):
            self._give_up(item, f"Its fixture {item.fixture.name} can't be built: {error}")

    def _give_up(self, item: Item, sentence: str) -> None:
        """Everything that needs the fixture ends with that sentence: fixtures on top of it, and trials."""
        fixtures, trials = self._gate.failed(item)
        for fixture in fixtures:
            self._emit(FixtureBuilt(fixture.key, fixture.name, 0.0, sentence))
        got = self._leases.claim([planned.trial.key for planned in trials]) if trials else set()
        for planned in trials:
            if got is None or planned.trial.key in got:
                self._settler.fail(planned, sentence)
            else:
                self._foreign[planned.trial.key] = planned
