"""Which claims are still open after several looks at the data: the group-sequential rule of `reports.stats.sequential`, for claims.

At look k a claim is closed when its evidence passes alpha_k / claims to support it, or a fifth of that to refute it (the levels of verdicts
are 5 % and 1 %). The alpha_k are those of Lan & DeMets (1983) and add up to 5 %. By the union bound over looks and claims, the chance that
any claim that fails is ever called supported is at most 5 %, and that any claim that holds is ever called refuted at most 1 %.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from db.ledger import Ledger
from reports.boards import Board
from reports.claims.definition import Arm, Definition, parse
from reports.claims.evidence import Material, Selection, Unusable, select
from reports.claims.kinds import KIND_TESTS, SUPPORT_LEVEL, noise_floor
from reports.claims.verdicts import gather, words
from reports.curves import Curve
from reports.stats.sequential import Look

Config = tuple[str, str, str, str]  #: task, its params, method, its params (canonical JSON)


@dataclass(frozen=True, slots=True)
class OpenClaim:
    """A claim that no look has closed, and the configurations that it needs more seeds of."""

    claim: str
    configs: frozenset[Config]


def open_claims(
    ledger: Ledger, family: str, configs: Collection[Config], seeds: Mapping[tuple[str, str], Sequence[int]], levels: Sequence[Look]
) -> list[OpenClaim]:
    """The family's claims about these configurations that no look has closed. `seeds`: per task and its params, in the looks' order."""
    rows = ledger.query(
        "SELECT claim, paper, family, statement, definition, hash FROM claims WHERE family = :family ORDER BY claim", {"family": family}
    ).to_pylist()
    definitions = [parse(row) for row in rows]
    return undecided(definitions, gather(ledger, family, definitions), configs, seeds, levels) if definitions else []


def undecided(
    definitions: Sequence[Definition],
    material: Material,
    configs: Collection[Config],
    seeds: Mapping[tuple[str, str], Sequence[int]],
    levels: Sequence[Look],
) -> list[OpenClaim]:
    """The same for what has been gathered already."""
    *_, last = after_each(definitions, material, configs, seeds, levels)
    return last


def after_each(
    definitions: Sequence[Definition],
    material: Material,
    configs: Collection[Config],
    seeds: Mapping[tuple[str, str], Sequence[int]],
    levels: Sequence[Look],
) -> Iterator[list[OpenClaim]]:
    """The open claims before the first look, and after each."""
    asked = {definition.id: needed for definition in definitions if (needed := _configs(definition, material)) and needed <= set(configs)}
    still_open = [definition for definition in definitions if definition.id in asked]
    yield [OpenClaim(definition.id, asked[definition.id]) for definition in still_open]
    for look in levels:
        here = _first(material, seeds, look.seeds)
        still_open = [definition for definition in still_open if not _closed(definition, here, look, len(asked))]
        yield [OpenClaim(definition.id, asked[definition.id]) for definition in still_open]


def _closed(definition: Definition, material: Material, look: Look, claims: int) -> bool:
    try:
        selection = select(definition, material)
        outcome = KIND_TESTS[definition.kind](selection)
        stop = noise_floor(selection, definition.arms)
    except Unusable:
        return False
    if outcome.n < look.seeds:
        return False  # it takes no part in this look
    scale = claims * SUPPORT_LEVEL / look.alpha
    return words(definition, outcome, outcome.p_support * scale, outcome.p_refute * scale, stop)[0] != "inconclusive"


def _configs(definition: Definition, material: Material) -> frozenset[Config]:
    """The configurations that the claim speaks about; none when somebody has yet to run an arm of it, or nothing here can test it."""
    try:
        selection = select(definition, material)
        picked = [(board, entry) for board in selection.boards for arm in definition.arms for entry in _entries(selection, board, arm)]
    except Unusable:
        return frozenset()
    return frozenset((board.task, board.task_params, board.entries[entry].method, board.entries[entry].params) for board, entry in picked)


def _entries(selection: Selection, board: Board, arm: Arm) -> list[int]:
    by_param = selection.definition.kind == "slope" and selection.definition.options.get("x", "step") != "step"
    if by_param or selection.definition.kind == "front":  # every configuration that matches is a point
        if not (found := selection.entries(board, arm)):
            raise Unusable("Nobody has run it.")
        return found
    return [selection.one_entry(board, arm)]


def _first(material: Material, seeds: Mapping[tuple[str, str], Sequence[int]], count: int) -> Material:
    """What is known from the first `count` seeds of each task."""
    boards: dict[str, list[Board]] = {}
    curves: dict[str, Mapping[str, Curve]] = {}
    for task, group in material.boards.items():
        for board in group:
            wanted = set(list(seeds.get((board.task, board.task_params), ()))[:count])
            columns = [at for at, seed in enumerate(board.seeds) if seed in wanted]
            cut = replace(
                board,
                seeds=[board.seeds[at] for at in columns],
                trials=board.trials[:, columns],
                states=board.states[:, columns],
                values={name: values[:, columns] for name, values in board.values.items()},
                nonfinite={name: marks[:, columns] for name, marks in board.nonfinite.items()},
            )
            boards.setdefault(task, []).append(cut)
            known = material.curves.get(board.anchor, {})
            curves[board.anchor] = {name: Curve(curve.steps, curve.values[:, columns]) for name, curve in known.items()}
    return Material(boards, curves, material.defaults)
