"""The figures on attacks in docs/reports.md and reports/guard/board.py: the ladder alone, random labels, n = 500."""

from __future__ import annotations

import numpy as np
import pytest

from reports.guard.mechanisms import ladder

N = 500


class Ladder:
    """Answers submissions about hidden labels as a guarded board does, without budgets."""

    def __init__(self, labels: np.ndarray) -> None:
        self.labels, self.shown = labels, 1.0
        self.best: np.ndarray | None = None

    def submit(self, guess: np.ndarray) -> bool:
        """Whether the guess set a new best."""
        losses = (guess != self.labels).astype(float)
        answer = ladder(losses, self.best, self.shown)
        self.shown = answer.shown
        if answer.improved:
            self.best = losses
        return answer.improved


@pytest.mark.slow
def test_majority_vote_over_1000_submissions_in_200_simulations() -> None:
    guarded, open_board = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        board = Ladder(rng.integers(0, 2, N))
        guesses = rng.integers(0, 2, (1000, N))
        kept = [guess for guess in guesses if (board.submit(guess), board.shown < 0.5)[1]]
        board.submit((np.mean(kept, axis=0) > 0.5).astype(int))
        guarded.append(board.shown)
        errors = (guesses != board.labels).mean(axis=1)
        open_board.append(((guesses[errors < 0.5].mean(axis=0) > 0.5) != board.labels).mean())
    print(f"guarded {np.quantile(guarded, [0, 0.5])}, {np.mean(np.array(guarded) >= 0.42):.3f} at .42 or more; open "
          f"{np.median(open_board):.3f}, at worst {max(open_board):.3f}")  # fmt: skip
    assert np.median(guarded) >= 0.43
    assert np.mean(np.array(guarded) >= 0.42) >= 0.93
    assert min(guarded) >= 0.39
    assert max(open_board) <= 0.34


@pytest.mark.slow
def test_who_climbs_in_small_steps_gets_far_with_1000_submissions_and_not_with_the_default_budget() -> None:
    """Why the budget is part of the defence."""
    within, beyond = [], []
    for seed in range(20):
        rng = np.random.default_rng([seed, 3])
        board = Ladder(rng.integers(0, 2, N))
        current = rng.integers(0, 2, N)
        board.submit(current)
        for at in range(1, 1000):
            step = current.copy()
            step[rng.choice(N, 25, replace=False)] ^= 1
            if board.submit(step):
                current = step
            if at == 99:
                within.append(board.shown)
        beyond.append(board.shown)
    print(f"100 submissions: {np.mean(within):.3f}, at worst {min(within):.3f}; 1000: {np.mean(beyond):.3f}")
    assert min(within) >= 0.39
    assert np.mean(within) >= 0.41
    assert np.mean(beyond) <= 0.38
