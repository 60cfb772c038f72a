"""Random blocks: how trials whose metric is a clock take turns, so that a machine that slows down slows every method alike."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import count

from harness.identity import canonical_json
from harness.queueing import Item


def interleave(items: Iterable[Item], seed: str) -> dict[str, int]:
    """Give the items that want the machine to themselves their `turn`; returns the block (1, 2, ...) of each of their trials by key.

    A block holds each method configuration once, on one task configuration and one seed (a randomised complete block design); blocks
    come in random order, and so do the methods in each. `seed` decides both orders: the same seed gives the same turns whatever the
    order of `items`.
    """
    blocks: dict[str, list[Item]] = {}
    for item in items:
        if item.trials and item.shape.exclusive:
            trial = item.trials[0].trial
            # A group of seeds travels as one unit: it is the method's one turn in the block.
            seeds = sorted(planned.trial.seed for planned in item.trials)
            place = canonical_json([trial.task, trial.task_params, trial.data_fingerprint, seeds])
            blocks.setdefault(place, []).append(item)
    dice, turns = random.Random(seed), count(1)
    shuffled = [blocks[place] for place in sorted(blocks)]
    dice.shuffle(shuffled)
    shuffled.sort(key=lambda block: -block[0].trials[0].priority)
    found: dict[str, int] = {}
    for number, block in enumerate(shuffled, 1):
        block.sort(key=lambda item: item.keys)
        dice.shuffle(block)
        for item in block:
            item.turn = next(turns)
            found.update(dict.fromkeys(item.keys, number))
    return found
