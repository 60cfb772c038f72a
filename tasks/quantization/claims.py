"""What the quantization papers claim, as checks on the tasks of this family.

Margins were fixed before any run of the standard suite: superiority asks for 10 % of the opponent's loss increase where the paper claims a
clear gain. Methods meet at equal bits per weight, or the claimed winner stores fewer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from tasks.api import Arm, Claim

LM, INCREASE = "quantization/lm-weights", "bits_per_byte_increase"
MIXED, LINEARITY = "quantization/mixed-precision", "quantization/linearity"
PREDICTION = "quantization/loss-prediction"
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


def _adaround(bits: int) -> Arm:
    return Arm("quantization/adaround", {"bits": bits, "group": 128})


def _spqr(threshold: float) -> Arm:
    return Arm("quantization/spqr", {"bits": 3, "group": 16, "threshold": threshold})


def _allocated(name: str, average: float) -> tuple[Arm, dict[str, object]]:
    return Arm(f"quantization/allocate-{name}", {"sensitivity": "noise"}), {**STANDARD, "average": average}


def _linear(id: str, statement: str, arm: Arm, margin: float, **more: Any) -> Claim:
    """The actual increase lies within a share `margin` of the predicted one."""
    predicted = {"predicted": "predicted_increase"}
    return Claim(
        id, 6, statement, "prediction", LINEARITY, INCREASE, arm, None, STANDARD, effect="ratio", margin=margin, options=predicted, **more
    )


def _linearity_claims() -> Iterator[Claim]:
    """Bands are those of the methods' card, written before the recorded run: Pearson's correlation .97, ratios of .8 to 1.5, GPTQ's below
    .5. They were declared after it."""
    formats = [_higgs(4), _higgs(4, 1), _higgs(5, 1), _rtn(4), _nf4(64), _hqq(4)]
    yield Claim(
        "linearity-fit-4", 6, "Over six data-free formats of 4 to 5 bits the loss grows in proportion to sum alpha t^2 (R^2 at least .94, "
        "slope .8 to 1.5)", "line", LINEARITY, INCREASE, formats[0], None, STANDARD, margin=0.94,
        options={
            "arms": [{"method": arm.method, "params": dict(arm.params)} for arm in formats],
            "predicted": "predicted_increase", "low": 0.8, "high": 1.5,
        },
    )  # fmt: skip
    yield Claim(
        "linearity-breaks-for-gptq-4", 6, "GPTQ at 4 bits costs at most half of what sum alpha t^2 predicts: its errors are not noise",
        "bound", LINEARITY, "increase_ratio", _gptq(4), None, STANDARD, margin=0.5,
    )  # fmt: skip


def _allocation_claims() -> Iterator[Claim]:
    for average in (2.5, 3.0, 4.0):
        dp, params = _allocated("dp", average)
        uniform, _ = _allocated("uniform", average)
        if average % 1 == 0:  # uniform bits can't spend half a bit
            yield Claim(
                f"dp-below-uniform-{average:g}", 6, f"DP allocation at {average:g} bits on average loses 10 % less than uniform bits",
                "better", MIXED, INCREASE, dp, uniform, params, effect="ratio", margin=0.9,
            )  # fmt: skip
        yield Claim(
            f"dp-is-exact-{average:g}", 6, f"DP allocation at {average:g} bits on average reaches the exact optimum of its objective",
            "bound", MIXED, "objective_excess", dp, None, params, margin=1e-6, options={"every": True},
        )  # fmt: skip
    fill, params = _allocated("waterfill", 3.0)
    yield Claim(
        "waterfill-below-uniform-3", 188, "At 3 bits on average, allocation by sensitivity and variance loses less than uniform",
        "better", MIXED, INCREASE, fill, _allocated("uniform", 3.0)[0], params, effect="ratio", margin=1.0,
    )  # fmt: skip


def _prediction_claims() -> Iterator[Claim]:
    def predictor(name: str, **params: object) -> Arm:
        return Arm(f"quantization/predict-{name}", params)

    pqi, error = predictor("pqi", intervals=32), "relative_error"
    for bits in (3, 4):
        params = {**STANDARD, "bits": bits}
        yield Claim(
            f"pqi-within-10-percent-{bits}", 98, f"The post-quantization integral predicts the loss increase at {bits} bits within 10 %",
            "bound", PREDICTION, error, pqi, None, params, margin=0.1,
        )  # fmt: skip
    params = {**STANDARD, "bits": 3}
    rivals = {
        "first-order": ("the first-order expansion", predictor("first-order")),
        "fisher": ("the diagonal Fisher of window gradients", predictor("fisher", average="window")),
        "second-order": ("the exact second-order expansion", predictor("second-order")),
        "fisher-position": ("the diagonal Fisher per position", predictor("fisher", average="position")),
    }
    for name, (what, arm) in rivals.items():
        yield Claim(
            f"pqi-below-{name}", 98, f"At 3 bits the integral's error is a tenth of that of {what} or less",
            "better", PREDICTION, error, pqi, arm, params, effect="ratio", margin=0.1,
            note="The paper says that gradient and Hessian metrics underestimate by orders of magnitude; the estimator decides.",
        )  # fmt: skip
    yield Claim(
        "fisher-underestimates-tenfold", 98, "At 3 bits the diagonal Fisher of window gradients predicts less than a tenth of the increase",
        "bound", PREDICTION, "shortfall", rivals["fisher"][1], None, params, margin=0.9,
    )  # fmt: skip
    yield Claim(
        "hessian-underestimates-tenfold", 98, "At 3 bits the exact second-order expansion predicts less than a tenth of the increase",
        "bound", PREDICTION, "shortfall", rivals["second-order"][1], None, params, margin=0.9,
    )  # fmt: skip


def _restoring_claims() -> Iterator[Claim]:
    """Margins were fixed before any run on the standard preset."""

    def restored(select: str) -> Arm:
        return Arm("quantization/requant", {"bits": 3, "select": select})

    for select, ratio, what in (("magnitude", 0.9, "10 % less than by magnitude"), ("fisher", 1.0, "less than by the diagonal Fisher")):
        yield _below(
            f"requant-below-{select}", 98, f"At 3 bits, restoring half a percent of the weights by their integrals loses {what}",
            restored("pqi"), restored(select), ratio,
            note="The same number of weights is kept; bits differ by the width of their column indices, by a hundredth at most.",
        )  # fmt: skip


def _qat_claims() -> Iterator[Claim]:
    trained = {bits: Arm("quantization/qat-ste", {"bits": bits, "group": 128}) for bits in (2, 3, 4)}
    for bits, arm in trained.items():
        yield _below(
            f"qat-below-rtn-{bits}",
            188,
            f"Training through the rounding (60 steps) loses 10 % less than rounding at {bits} bits",
            arm,
            _rtn(bits),
            0.9,
        )
        yield _below(
            f"qat-below-gptq-{bits}", 188, f"Training through the rounding (60 steps) loses less than GPTQ at {bits} bits", arm, _gptq(bits)
        )
    yield Claim(
        "ptq-4-within-6-percent", 188, "Nearest rounding at 4 bits raises the loss by at most 6 %", "bound", LM, "relative_increase",
        _rtn(4), None, STANDARD, margin=0.06,
    )  # fmt: skip
    yield Claim(
        "ptq-4-saves-68-percent", 188, "At 4 bits with groups of 128 the whole model shrinks by at least 68 % against float16", "bound", LM,
        "size_reduction", _rtn(4), None, STANDARD, margin=0.68,
        note="Embedding, positions and norms stay in float16; the paper does not name its baseline.",
    )  # fmt: skip


def _encoder_claims() -> Iterator[Claim]:
    rivals = {
        "rtn-3": ("nearest rounding (3.15 bits)", _higgs(3), _rtn(3)),
        "hqq-3": ("HQQ (3.5 bits)", _higgs(3), _hqq(3)),
        "gptq-2": ("calibrated GPTQ at 2 bits", _higgs(2), _gptq(2)),
        "nf4": ("NF4 (4.25 bits)", _higgs(4), _nf4(128)),
    }
    for name, (what, ours, theirs) in rivals.items():
        yield Claim(
            f"encoder-higgs-above-{name}", 6, f"On MiniLM, HIGGS (p=2) keeps embeddings closer to float32 than {what}",
            "better", "quantization/encoder-weights", "cosine", ours, theirs, {"pairs": 300, "only": ""},
        )  # fmt: skip
    yield Claim(
        "encoder-rotation-helps-3", 6, "On MiniLM at 3 bits, HIGGS with p=1 keeps embeddings closer to float32 than its grid without the "
        "rotation", "better", "quantization/encoder-weights", "cosine", _higgs(3, 1),
        Arm("quantization/lloyd-max", {"bits": 3, "group": 128}), {"pairs": 300, "only": ""},
    )  # fmt: skip


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
    _linear("linearity-higgs-4", "At 4 bits HIGGS (p=2) costs what sum alpha t^2 predicts, within 50 %", _higgs(4), 0.5),
    _linear("linearity-higgs-3", "At 3 bits HIGGS (p=2) costs what sum alpha t^2 predicts, within 50 %", _higgs(3), 0.5),
    _linear("linearity-nf4", "NF4 costs what sum alpha t^2 predicts, within 50 %", _nf4(64), 0.5),
    _linear("linearity-rtn-4", "Round-to-nearest at 4 bits costs what sum alpha t^2 predicts, within 50 %", _rtn(4), 0.5),
    _linear(
        "linearity-gptq-4", "GPTQ at 4 bits costs what sum alpha t^2 predicts, within 50 %", _gptq(4), 0.5, control=True,
        note="Negative control: GPTQ steers its error into directions that hardly matter, so the theorem must overestimate it.",
    ),
    *_linearity_claims(),
    *_allocation_claims(),
    Claim(
        "spqr-near-lossless", 35, "SpQR with 3-bit codes stays within 1 % of the float32 perplexity per byte", "bound", LM, INCREASE,
        _spqr(0.2), None, STANDARD, margin=math.log2(1.01),
        note="About 4.1 bits per weight; the paper says within 1 % at 3.4 to 4.7 bits for models of 7 to 65 billion weights.",
    ),
    _below(
        "spqr-below-gptq", 35, "SpQR (3-bit codes, 4.1 bits in all) loses less than GPTQ (4.16 bits)",
        _spqr(0.2), _gptq(4),
    ),
    _below(
        "spqr-outliers-help", 35, "SpQR with 0.2 as threshold loses less than without outliers (fewer bits)",
        _spqr(0.2), _spqr(1000.0),
        note="Not at equal bits: outliers cost about 0.4 bits per weight.",
    ),
    _below("adaround-below-rtn-4", 65, "AdaRound at 4 bits loses 10 % less than nearest rounding", _adaround(4), _rtn(4), 0.9),
    _below("adaround-below-rtn-3", 65, "AdaRound at 3 bits loses 10 % less than nearest rounding", _adaround(3), _rtn(3), 0.9),
    _below(
        "adaround-below-stochastic-4", 65, "AdaRound at 4 bits loses 10 % less than stochastic rounding on the same grid",
        _adaround(4), Arm("quantization/stochastic", {"bits": 4, "group": 128}), 0.9,
    ),
    *_prediction_claims(),
    *_restoring_claims(),
    *_qat_claims(),
    *_encoder_claims(),
    *(
        Claim(
            f"data-{ratio}x-under-1-percent", 39, f"Error-bounded compression shrinks training tables {ratio}-fold at under 1 point, "
            "averaged over five data sets", "ratio", "quantization/data", "compressed_share",
            Arm("quantization/data-uniform", {"bound": 0.05}), Arm("quantization/data-raw"), {}, effect="ratio", margin=1 / ratio,
            options={"quality": "quality", "within": 0.01},
            note="The paper improves on 50 to 100-fold ratios of large scientific data; headers weigh on these tables of 1 to 320 kB.",
        )
        for ratio in (5, 10)
    ),
    Claim(
        "data-below-row-sampling", 39, "Error-bounded compression (bound 0.1) costs less quality than keeping one row in seven, which "
        "takes more bytes, averaged over five data sets", "better", "quantization/data", "quality_loss",
        Arm("quantization/data-uniform", {"bound": 0.1}), Arm("quantization/data-rows", {"keep": 7}),
    ),
]  # fmt: skip
