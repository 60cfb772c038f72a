"""What paper 200 says about correctness-aware calibration, and about the baselines it is compared with, made checkable.

Thresholds come from runs recorded before this code was written (eight seeds of another draw), with room below the effects seen there.
"""

from __future__ import annotations

from typing import Any

from tasks.api import Arm, Claim

_NONE = Arm("calibration/none")
_TEMPERATURE = Arm("calibration/temperature", {"low": 0.05, "high": 100.0})
_MATRIX = Arm("calibration/matrix", {"penalty": 0.0, "bias_penalty": 0.0})
_HISTOGRAM = Arm("calibration/histogram", {"bins": 15, "spacing": "mass"})
_VENN_ABERS = Arm("calibration/venn-abers")


def _correctness(objective: str = "correctness", balanced: bool = True) -> Arm:
    return Arm(
        "calibration/correctness-aware",
        {
            "transforms": ["rotate", "blur", "contrast"],
            "top_k": 4,
            "hidden": 5,
            "lr": 0.01,
            "steps": 200,
            "objective": objective,
            "balanced": balanced,
        },
    )


def _claim(name: str, statement: str, metric: str, a: Arm, b: Arm, margin: float, base: str, shift: str = "none", **others: Any) -> Claim:
    """A beats B by `margin`. Verdicts on the ECE take its null band `ece_null95` into account by its name."""
    return Claim(
        id=f"calibration-{name}",
        paper=200,
        statement=statement,
        kind="better",
        task="calibration/digits",
        metric=metric,
        a=a,
        b=b,
        task_params={"base": base, "shift": shift, "bins": 15},
        margin=margin,
        min_seeds=8,
        **others,
    )


CLAIMS = (
    # paper 200's own statements
    _claim(
        "ca-shift-rotate15",
        "Out of distribution (digits rotated by 15 degrees) correctness-aware calibration has lower ECE than temperature scaling.",
        "ece",
        _correctness(),
        _TEMPERATURE,
        0.04,
        "noise20",
        "rotate15",
    ),
    _claim(
        "ca-shift-noise",
        "Out of distribution (noisy digits) correctness-aware calibration has lower ECE than temperature scaling.",
        "ece",
        _correctness(),
        _TEMPERATURE,
        0.04,
        "noise20",
        "noise",
    ),
    _claim(
        "ca-in-distribution",
        "In distribution, too, correctness-aware calibration has lower ECE than temperature scaling.",
        "ece",
        _correctness(),
        _TEMPERATURE,
        0.0,
        "noise20",
        note="Balancing right and wrong predictions made it underconfident in the recorded runs: ECE .148 against .033.",
    ),
    _claim(
        "ca-accurate-base",
        "On a classifier that is 94 % accurate correctness-aware calibration has lower ECE than temperature scaling.",
        "ece",
        _correctness(),
        _TEMPERATURE,
        0.0,
        "clean300",
        note="400 calibration rows hold about 23 wrong predictions, too few to learn what they look like.",
    ),
    _claim(
        "ca-auroc",
        "Correctness-aware confidence tells right from wrong predictions better than temperature scaling's.",
        "auroc",
        _correctness(),
        _TEMPERATURE,
        0.0,
        "noise20",
    ),
    _claim(
        "ca-objective",
        "Out of distribution the correctness-aware objective has lower ECE than cross-entropy on the same network.",
        "ece",
        _correctness(),
        _correctness("cross-entropy", balanced=False),
        0.04,
        "noise20",
        "noise",
    ),
    _claim(
        "ca-balance",
        "Out of distribution the class-balanced loss has lower ECE than the unweighted one.",
        "ece",
        _correctness(),
        _correctness(balanced=False),
        0.04,
        "noise20",
        "noise",
    ),
    # the baselines, so that a reader sees what the comparison rests on
    _claim("c1-temperature-ece", "Temperature scaling lowers the ECE by .05.", "ece", _TEMPERATURE, _NONE, 0.05, "noise20"),
    _claim("c2-temperature-nll", "Temperature scaling lowers the NLL by .03 nats.", "nll", _TEMPERATURE, _NONE, 0.03, "noise20"),
    _claim(
        "c2-temperature-nll-clean",
        "Temperature scaling lowers the NLL by .03 nats on the accurate classifier.",
        "nll",
        _TEMPERATURE,
        _NONE,
        0.03,
        "clean300",
    ),
    _claim(
        "c3-matrix-overfits",
        "Matrix scaling without a penalty overfits 400 rows: temperature scaling has lower ECE by .04.",
        "ece",
        _TEMPERATURE,
        _MATRIX,
        0.04,
        "clean300",
    ),
    _claim(
        "c5-venn-abers-shift",
        "On noisy digits Venn-Abers predictors have lower NLL than temperature scaling by .2 nats.",
        "nll",
        _VENN_ABERS,
        _TEMPERATURE,
        0.2,
        "noise20",
        "noise",
    ),
    _claim(
        "c5-venn-abers-shift-clean",
        "With the accurate classifier, too, Venn-Abers predictors have lower NLL on noisy digits by .2 nats.",
        "nll",
        _VENN_ABERS,
        _TEMPERATURE,
        0.2,
        "clean300",
        "noise",
        control=True,
    ),
    _claim(
        "c6-temperature-noisy-labels",
        "With 20 % wrong labels in every split temperature scaling lowers the ECE.",
        "ece",
        _TEMPERATURE,
        _NONE,
        0.0,
        "noise20-all",
        control=True,
        note="It lowers the NLL and raises the ECE: no single temperature fits.",
    ),
    _claim(
        "c7-histogram-accuracy",
        "Histogram binning in bins of equal mass costs 2 points of accuracy.",
        "accuracy",
        _NONE,
        _HISTOGRAM,
        0.02,
        "clean300",
    ),
)
