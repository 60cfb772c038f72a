"""What the quantization papers claim, as checks on the tasks of this family.

Margins were fixed before any run of the standard suite: superiority asks for 10 % of the opponent's loss increase where the paper claims a
clear gain. Methods meet at equal bits per weight, or the claimed winner stores fewer.
"""

from __future__ import annotations

from tasks.api import Arm, Claim

LM, INCREASE = "quantization/lm-weights", "bits_per_byte_increase"
STANDARD = {"preset": "standard"}


def _below(id: str, paper: int, statement: str, a: Arm, b: Arm, ratio: float = 1.0, note: str = "", metric: str = INCREASE) -> Claim:
    """A's loss increase is at most `ratio` times B's."""
    return Claim(id, paper, statement, "better", LM, metric, a, b, STANDARD, effect="ratio", margin=ratio, note=note)


def _higgs(bits: int, p: int = 2) -> Arm:
    return Arm("quantization/higgs", {"bits": bits, "p": p, "group": 128})


def _gptq(bits: int, act_order: bool = False) -> Arm:
    return Arm("quantization/gptq", {"bits": bits, "group": 128, "act_order": act_order})


def _rtn(bits: int) -> Arm:
    return Arm("quantization/rtn", {"bits": bits, "per": "group", "group": 128, "symmetric": False, "scales": "range"})


def _hqq(bits: int) -> Arm:
    return Arm("quantization/hqq", {"bits": bits, "group": 64})


def _nf4(block: int) -> Arm:
    return Arm("quantization/nf4", {"block": block})


CLAIMS = [
    _below(
        "higgs-below-nf4", 6, "HIGGS (p=2, 4.13 bits) loses less than NF4 (4.25 bits), both data-free", _higgs(4), _nf4(128),
        note="At this scale the two were equal within noise in development; the paper claims an improvement.",
    ),
    _below("higgs-below-hqq-4", 6, "HIGGS (p=2, 4.13 bits) loses less than HQQ (4.5 bits), both data-free", _higgs(4), _hqq(4)),
    _below("higgs-below-hqq-3", 6, "HIGGS (p=2, 3.13 bits) loses at least 10 % less than HQQ (3.5 bits)", _higgs(3), _hqq(3), 0.9),
    _below("higgs-below-rtn-3", 6, "HIGGS (p=2, 3.13 bits) loses 10 % less than nearest rounding (3.15 bits)", _higgs(3), _rtn(3), 0.9),
    _below("higgs-below-rtn-2", 6, "HIGGS (p=2, 2.13 bits) loses 10 % less than nearest rounding (2.14 bits)", _higgs(2), _rtn(2), 0.9),
    *(
        _below(f"higgs-p2-below-p1-{bits}", 6, f"At {bits} bits HIGGS with p=2 loses less than with p=1", _higgs(bits), _higgs(bits, 1))
        for bits in (2, 3, 4)
    ),
    _below(
        "higgs-below-gptq-3", 6, "Data-free HIGGS (p=2) loses less than calibrated GPTQ at 3 bits", _higgs(3), _gptq(3),
        note="The paper finds HIGGS competitive with calibrated methods on Llama 3; small models leave GPTQ more to correct.",
    ),
]  # fmt: skip
