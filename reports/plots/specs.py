"""Which plots a family gets, as data keyed by metric ids. A family without an entry, or a board without the metrics, gets intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ScaleName = Literal["linear", "log"]


@dataclass(frozen=True, slots=True)
class TradeOff:
    """Mean of one metric against mean of another, one point per entry, one colour per method, with the front of undominated entries.

    `within`: the values that neither metric can leave. `diagonal`: both are the same quantity, told apart by a line where they are equal.
    """

    x: str
    y: str
    x_scale: ScaleName = "linear"
    y_scale: ScaleName = "linear"
    title: str = ""
    within: tuple[float, float] | None = None
    diagonal: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.x, self.y)


@dataclass(frozen=True, slots=True)
class Curves:
    """A metric over its steps, one line per entry with a band over seeds. `within`: the values that the metric can't leave."""

    metric: str
    x_title: str
    y_title: str
    x_scale: ScaleName = "linear"
    y_scale: ScaleName = "linear"
    title: str = ""
    within: tuple[float, float] | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.metric,)


@dataclass(frozen=True, slots=True)
class Reliability:
    """Reliability diagrams, one panel per entry: accuracy against confidence per bin, and how many examples fall into each bin."""

    accuracy: str = "reliability_accuracy"
    confidence: str = "reliability_confidence"
    count: str = "reliability_count"
    score: str = "ece"

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.accuracy, self.confidence, self.count)


@dataclass(frozen=True, slots=True)
class Intervals:
    """Mean and interval of a metric, one row per entry; `null` names a metric drawn as the band where no effect would lie."""

    metric: str = ""  #: the primary metric when empty
    null: str = ""
    null_title: str = ""

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(name for name in (self.metric, self.null) if name)


Spec = TradeOff | Curves | Reliability | Intervals

FAMILY_PLOTS: dict[str, tuple[Spec, ...]] = {
    "quantization": (
        TradeOff("bits_per_weight", "bits_per_byte_increase", y_scale="log", title="Loss against size"),
        TradeOff("bits_per_weight", "output_error", y_scale="log", title="Output error against size"),
        TradeOff("predicted_increase", "bits_per_byte_increase", "log", "log", "Measured against predicted increase", diagonal=True),
        TradeOff("bits_per_weight", "cosine", title="Fidelity against size"),
        TradeOff("linear_cost", "accuracy", x_scale="log", title="Accuracy against cost of multiplications"),
        TradeOff("compressed_share", "accuracy_loss", x_scale="log", title="Loss of accuracy against size"),
        TradeOff("compressed_share", "relative_increase", x_scale="log", title="Loss against size"),
        TradeOff("compressed_share", "quality_loss", x_scale="log", title="Loss of quality against size"),
        TradeOff("bits_per_dimension", "distortion", y_scale="log", title="Distortion against rate"),
        TradeOff("bits_per_frame", "prediction_error", title="Prediction error against rate"),
        TradeOff("saved_share", "accuracy", x_scale="log", title="Accuracy against memory"),
    ),
    "pruning": (Curves("accuracy", "sparsity (%)", "accuracy", title="Accuracy over sparsity", within=(0.0, 1.0)),),
    "calibration": (
        Intervals("ece", null="ece_null95", null_title="shaded: ECE that a perfectly calibrated model stays below 95 % of the time"),
        Reliability(),
    ),
    "robust_training": (TradeOff("clean_accuracy", "robust_accuracy", title="Robust against clean accuracy", within=(0.0, 1.0)),),
    "bandit_regret": (
        Curves("regret_curve", "round", "cumulative pseudo-regret", x_scale="log", y_scale="log", title="Regret over rounds"),
    ),
}

FALLBACK: tuple[Spec, ...] = (Intervals(),)


def curve_metrics(family: str) -> list[str]:
    """Curve metrics that the family's plots read."""
    return [name for spec in FAMILY_PLOTS.get(family, ()) if isinstance(spec, Curves | Reliability) for name in spec.needs]
