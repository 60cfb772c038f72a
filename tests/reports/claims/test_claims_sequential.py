"""Claims under the group-sequential rule: its error rates by simulation, and that more seeds go only to what an open claim is about."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from test_verdicts import TASK, definition, material

from reports.claims.definition import Definition, parse
from reports.claims.evidence import Material, select
from reports.claims.kinds import KIND_TESTS
from reports.claims.sequential import Config, OpenClaim, undecided
from reports.claims.verdicts import words
from reports.stats.sequential import looks

LEVELS = looks(8, 40)
SEEDS: Mapping[tuple[str, str], Sequence[int]] = {(TASK, "{}"): list(range(40))}


def claims(*declared: Mapping[str, Any]) -> list[Definition]:
    fixed = {"paper": 6, "family": "toy", "statement": "", "hash": "h"}
    return [parse({"claim": one["id"], "definition": json.dumps(one), **fixed}) for one in declared]


def configs(of: Material) -> set[Config]:
    return {(board.task, board.task_params, entry.method, entry.params) for board in of.boards[TASK] for entry in board.entries}


def still_open(declared: Sequence[Definition], of: Material, looks_taken: int = len(LEVELS)) -> list[OpenClaim]:
    return undecided(declared, of, configs(of), SEEDS, LEVELS[:looks_taken])


def four(gap: float, rng: np.random.Generator, n: int = 40) -> Material:
    """toy/a and three rivals whose losses are `gap` above its own, on average."""
    return material({"loss": {"a": rng.standard_normal(n), **{name: gap + rng.standard_normal(n) for name in "bde"}}})


THREE = claims(*(definition(id=name, margin=1.0, b={"method": f"toy/{name}", "params": {}}) for name in "bde"))


def ever(word: str, of: Material) -> bool:
    """Whether a claim was closed with this verdict: it is one that closes at some look, and its evidence points that way."""
    closed = {one.id for one in THREE} - {one.claim for one in still_open(THREE, of)}
    effects = {one.id: KIND_TESTS[one.kind](select(one, of)) for one in THREE if one.id in closed}
    return any((found.p_support < found.p_refute) == (word == "supported") for found in effects.values())


@pytest.mark.parametrize(("word", "level"), [("supported", 0.05), ("refuted", 0.01)])
def test_simulated_chance_that_a_claim_at_its_margin_is_ever_closed_stays_below_alpha(word: str, level: float) -> None:
    """600 ledgers with three claims exactly at their margin (the least favourable truth of both hypotheses), looks from 8 to 40 seeds. The
    Monte-Carlo error of a rate of 5 % is .9 %, of 1 % .4 %: three of them are allowed."""
    rng = np.random.default_rng(11)
    wrong = sum(ever(word, four(1.0, rng)) for _ in range(600))
    assert wrong / 600 <= level + 3 * (level * (1 - level) / 600) ** 0.5


def test_a_claim_with_a_clear_answer_is_closed_early_and_what_it_is_about_gets_no_more_seeds() -> None:
    rng = np.random.default_rng(3)
    means = {"a": 0.0, "b": 9.0, "d": 1.0, "e": -9.0}
    values = {name: mean + rng.standard_normal(8) for name, mean in means.items()}
    found = still_open(THREE, material({"loss": values}), 1)
    assert [one.claim for one in found] == ["d"], "b is supported, e refuted"
    assert found[0].configs == {(TASK, "{}", "toy/a", "{}"), (TASK, "{}", "toy/d", "{}")}


def test_once_closed_a_claim_stays_closed() -> None:
    rng = np.random.default_rng(4)
    values = {name: (5.0 if name != "a" else 0.0) + rng.standard_normal(12) for name in "abde"}
    values["b"][8:] = -99.0
    of = material({"loss": values})
    claim = THREE[0]
    outcome = KIND_TESTS[claim.kind](select(claim, of))
    assert words(claim, outcome, outcome.p_support, outcome.p_refute)[0] == "inconclusive"
    assert claim.id not in {one.claim for one in still_open(THREE, of, 2)}


def test_a_claim_whose_arm_nobody_has_run_or_that_is_about_other_configurations_is_nobodys_business() -> None:
    of = four(1.0, np.random.default_rng(5))
    missing = claims(definition(id="missing", b={"method": "toy/nobody", "params": {}}))
    assert still_open(missing, of) == []
    assert undecided(THREE, of, configs(of) - {(TASK, "{}", "toy/a", "{}")}, SEEDS, LEVELS) == []


def test_an_arm_without_its_seeds_takes_no_part_in_a_look() -> None:
    rng = np.random.default_rng(6)
    values = {"a": rng.standard_normal(8), "b": 9 + rng.standard_normal(8)}
    values["b"][7] = np.nan
    one = claims(definition(id="c", b={"method": "toy/b", "params": {}}))
    assert [found.claim for found in still_open(one, material({"loss": values}), 1)] == ["c"]
    one = [replace(one[0], min_seeds=12)]
    values["b"][7] = 9.0
    assert [found.claim for found in still_open(one, material({"loss": values}), 1)] == ["c"], "it asks for more seeds than the look has"
