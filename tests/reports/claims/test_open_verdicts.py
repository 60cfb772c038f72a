"""Why a claim stays open, in words: sign flips that disagree, metrics that nobody measured, several sets of task params."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from test_verdicts import TASK, definition, material, noisy

from reports.claims.definition import parse
from reports.claims.evidence import Material, Unusable, select
from reports.claims.kinds import KIND_TESTS
from reports.claims.verdicts import words


def test_a_verdict_that_sign_flips_hold_back_says_so() -> None:
    found = parse(
        {"claim": "c", "paper": 6, "family": "toy", "statement": "", "definition": json.dumps(definition(min_seeds=4)), "hash": "h"}
    )
    for a, what in ((1, "In favour"), (3, "Against it")):
        outcome = KIND_TESTS["better"](select(found, material({"loss": {"a": noisy(a, 4, 0.001), "b": noisy(2, 4, 0.001, seed=1)}})))
        given, reason = words(found, outcome, outcome.p_support, outcome.p_refute)
        assert (given, reason.partition(" after")[0]) == ("inconclusive", what)
        assert "sign flips, which assume less, don't confirm it (p = 0.062, 4 seeds)" in reason


@pytest.mark.parametrize(
    "more", [{"kind": "front", "options": {"x": "size"}}, {"kind": "slope", "metric": "other", "options": {"x": "bits", "scale": "linear"}}]
)
def test_a_metric_that_nobody_measured_leaves_the_claim_open_instead_of_ending_the_report(more: dict[str, Any]) -> None:
    of = material({"loss": {"a?bits=2": noisy(1), "a?bits=3": noisy(2), "b": noisy(2, seed=1)}})
    found = parse({"claim": "c", "paper": 6, "family": "toy", "statement": "", "definition": json.dumps(definition(**more)), "hash": "h"})
    with pytest.raises(Unusable, match="has no scalar metric"):
        KIND_TESTS[found.kind](select(found, of))


def test_a_front_over_several_sets_of_task_params_says_which_one_it_used() -> None:
    of = material({"loss": {"a": noisy(1), "b": noisy(2, seed=1)}, "size": {"a": np.ones(12), "b": np.ones(12)}})
    [board] = of.boards[TASK]
    both = Material({TASK: [board, replace(board, task_params='{"n":2}', short="n=2")]}, {}, {})
    claim = json.dumps(definition("front", options={"x": "size"}))
    found = parse({"claim": "c", "paper": 6, "family": "toy", "statement": "", "definition": claim, "hash": "h"})
    selection = select(found, both)
    KIND_TESTS["front"](selection)
    assert len(selection.boards) == 1
    assert selection.notes == ["Only Toy is used, of 2 sets of task params that match; fix task_params."]
