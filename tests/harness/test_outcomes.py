"""The retry policy as a state machine: it ends, it never takes back a result, and killers are found."""

from __future__ import annotations

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from db.records import OUTCOMES, TrialState
from harness.outcomes import KILLS_TO_QUARANTINE, RULES, History, decide

FAILURES = [outcome for outcome in OUTCOMES if outcome not in ("ok", "cancelled")]
steps = st.lists(st.tuples(st.sampled_from(OUTCOMES), st.sampled_from(["w1", "w2", "w3"]), st.booleans()), max_size=60)


def test_every_outcome_has_a_rule():
    assert set(RULES) == set(OUTCOMES)
    assert {rule.final for rule in RULES.values()} <= set(get_args(TrialState))


@given(steps)
def test_a_trial_is_done_exactly_when_an_attempt_was_ok(history_of_steps):
    history = History()
    for outcome, worker, external in history_of_steps:
        decision = decide(history, outcome, worker, external)
        assert (decision.state == "done") == (outcome == "ok")
        assert decision.state in ("done", "pending", "failed", "quarantined")
        assert 0.0 <= decision.delay <= 60.0
        assert decision.delay == 0.0 or decision.state == "pending"


@given(steps)
def test_every_trial_ends_within_its_budgets(history_of_steps):
    """Invariant: the number of attempts that leave a trial pending is bounded by the sum of the retries, cancellations aside."""
    history, pending = History(), 0
    for outcome, worker, external in history_of_steps:
        if outcome == "cancelled":
            assert decide(history, outcome, worker, external).state == "pending"
            continue
        state = decide(history, outcome, worker, external).state
        pending += state == "pending"
        if state != "pending":
            break
    assert pending <= sum(rule.retries for outcome, rule in RULES.items() if outcome in FAILURES)


@given(st.lists(st.sampled_from(["w1", "w2", "w3"]), min_size=1, max_size=12))
def test_two_different_workers_brought_down_mean_quarantine_and_one_alone_does_not(workers):
    history = History()
    for number, worker in enumerate(workers, 1):
        state = decide(history, "worker_lost", worker).state
        if len(set(workers[:number])) >= KILLS_TO_QUARANTINE or number > RULES["worker_lost"].retries:
            assert state == "quarantined"
            break
        assert state == "pending"


def test_workers_taken_away_from_outside_do_not_count_as_killed():
    history = History()
    states = [decide(history, "worker_lost", f"w{number}", external=True).state for number in range(6)]
    assert states == ["pending"] * 5 + ["quarantined"]


@given(st.sampled_from(FAILURES), st.integers(0, 30))
def test_attempts_of_earlier_runs_count(outcome, earlier):
    history = History({outcome: earlier})
    rule = RULES[outcome]
    assert (decide(history, outcome, "w1").state == "pending") == (earlier + 1 <= rule.retries)


@given(steps)
def test_no_class_of_failures_gets_more_attempts_than_its_budget_and_none_spends_anothers(history_of_steps):
    """Invariant: a decision depends on its outcome's own count (and, for lost workers, on whom the trial brought down) alone, whatever else
    happened in between; while a trial lives, no class has had more attempts than its retries."""
    history, seen, killed = History(), dict.fromkeys(OUTCOMES, 0), set()
    for outcome, worker, external in history_of_steps:
        seen[outcome] += 1
        if outcome == "worker_lost" and not external:
            killed.add(worker)
        rule, state = RULES[outcome], decide(history, outcome, worker, external).state
        fatal = outcome == "worker_lost" and not external and len(killed) >= KILLS_TO_QUARANTINE
        spent = rule.retries is not None and seen[outcome] > rule.retries
        assert state == ("quarantined" if fatal else rule.final if spent else "pending")
        assert history.counts == {name: count for name, count in seen.items() if count}
        if state != "pending":
            break
        assert all(rule.retries is None or seen[name] <= rule.retries for name, rule in RULES.items())


@given(
    st.permutations([("error", "w1", False), ("oom", "w1", False), *[("worker_lost", "w1", True)] * 5, *[("cancelled", "w1", False)] * 3])
)
def test_in_whatever_order_a_trial_may_use_up_every_budget_and_still_be_done(order):
    history = History()
    assert {decide(history, *step).state for step in order} == {"pending"}
    assert decide(history, "ok").state == "done"


@given(steps)
def test_the_pauses_of_each_class_never_get_shorter(history_of_steps):
    history, last = History(), dict.fromkeys(OUTCOMES, 0.0)
    for outcome, worker, external in history_of_steps:
        decision = decide(history, outcome, worker, external)
        if decision.state == "pending":
            assert last[outcome] <= decision.delay <= 60.0
            last[outcome] = decision.delay


def test_backoff_doubles():
    history = History()
    delays = [decide(history, "worker_lost", "w", external=True).delay for _ in range(4)]
    assert delays == [0.1, 0.2, 0.4, 0.8]


def test_budgets_of_outcomes_are_separate():
    history = History()
    assert decide(history, "error").state == "pending"
    assert decide(history, "oom").state == "pending"
    assert decide(history, "worker_lost", "w1").state == "pending"
    assert decide(history, "error").state == "failed"
