"""The line through the origin against least squares, and what a verdict says when sign flips alone hold it back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.stats as ss
from test_verdicts import TASK, definition, material, noisy, verdict

from reports.claims.definition import parse
from reports.claims.evidence import Material, select
from reports.claims.kinds import KIND_TESTS
from reports.claims.verdicts import words

LINE = definition(
    "line",
    b=None,
    margin=0.9,
    options={"arms": [{"method": f"toy/{x}"} for x in "abcd"], "predicted": "theory", "low": 0.8, "high": 1.25},
)


def along(slope: float, sd: float) -> Material:
    """Four arms predicted at 1, 2, 3 and 4, measured `slope` times as large with some noise."""
    measured = {name: noisy(slope * (at + 1), sd=sd, seed=at) for at, name in enumerate("abcd")}
    return material({"loss": measured, "theory": {name: [at + 1.0] * 12 for at, name in enumerate("abcd")}})


CASES = [
    ("measured along the predicted line", (1.1, 0.02), "supported"),
    ("along a line that is too steep", (1.6, 0.02), "refuted"),
    ("too scattered for a line", (1.1, 2.0), "refuted"),
    ("the scatter lies about where the limit does", (1.1, 0.4), "inconclusive"),
]


@pytest.mark.parametrize(("slope_and_noise", "want"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_line_is_decided_as_it_is(slope_and_noise: tuple[float, float], want: str) -> None:
    assert verdict(LINE, along(*slope_and_noise)) == want


def test_the_line_is_scipys_regression_through_the_origin() -> None:
    found = parse({"claim": "c", "paper": 6, "family": "toy", "statement": "", "definition": json.dumps(LINE), "hash": "h"})
    of = along(1.1, 0.3)
    outcome = KIND_TESTS["line"](select(found, of))
    measured = of.boards[TASK][0].values["loss"]
    x = np.arange(1.0, 5.0)
    slopes, explained = [], []
    for y in measured.T:
        [slope], [residual], _, _ = np.linalg.lstsq(x[:, None], y, rcond=None)
        slopes.append(slope)
        explained.append(1 - residual / (np.var(y) * len(y)))
    assert outcome.effect == pytest.approx(np.mean(explained), rel=1e-9)
    assert outcome.detail["slope"] == pytest.approx(np.mean(slopes), rel=1e-9)
    assert outcome.p_support == pytest.approx(
        max(
            ss.ttest_1samp(explained, 0.9, alternative="greater").pvalue,
            ss.ttest_1samp(slopes, 0.8, alternative="greater").pvalue,
            ss.ttest_1samp(slopes, 1.25, alternative="less").pvalue,
        ),
        rel=1e-9,
    )


def test_a_t_test_that_sign_flips_cannot_confirm_with_few_seeds_says_so() -> None:
    claim = definition("equivalent", margin=0.3)
    found = parse({"claim": "c", "paper": 6, "family": "toy", "statement": "", "definition": json.dumps(claim), "hash": "h"})
    outcome = KIND_TESTS["equivalent"](select(found, material({"loss": {"a": noisy(1, 5), "b": noisy(9, 5, seed=1)}})))
    verdict, reason = words(found, outcome, outcome.p_support, outcome.p_refute)
    assert verdict == "inconclusive"
    assert reason.startswith("Against it after correction")
    assert reason.endswith("but sign flips, which assume less, don't confirm it (p = 0.062, 5 seeds).")
