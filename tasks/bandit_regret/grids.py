"""What is tuned: problems, and per method the published parameters that a fixed budget is spent on."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: The same for every method. Reporting seeds start at 2000.
TUNING_SEEDS = (0, 1, 2, 3, 4)
MOST_CONFIGURATIONS = 12


@dataclass(frozen=True, slots=True)
class Grid:
    """Configurations of one method: `fixed` parameters, and every combination of the others."""

    sweep: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def configurations(self) -> list[dict[str, Any]]:
        """In the order in which ties are broken."""
        return [dict(zip(self.sweep, point, strict=True)) | dict(self.fixed) for point in itertools.product(*self.sweep.values())]


@dataclass(frozen=True, slots=True)
class Tuning:
    """One problem with its methods. `size` is the task's parameter that is halved while tuning; `count` how many seeds are reported: as
    many as in the suite `bandit_regret`, so that no row of a board has more than another."""

    task: str
    params: Mapping[str, Any]
    methods: Mapping[str, Grid]
    size: str = "horizon"
    count: int = 20


_SCALES = Grid({"scale": [0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0]})
_RATES = Grid({"scale": [0.25, 0.5, 1.0, 2.0, 4.0, 8.0]})
_RADII = [0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0]
_STEPS = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]
_PENALTIES = Grid({"lam": [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]})

_BOUNDED = {
    "epsilon-greedy": Grid({"c": [0.3, 1.0, 3.0, 5.0, 10.0, 30.0, 100.0, 300.0]}),
    "ucb1": _SCALES,
    "moss": _SCALES,
    "kl-ucb": Grid({"c": [0.0, 0.3, 1.0, 3.0]}),
    "thompson": Grid(fixed={"prior": "beta"}),  # nothing to tune with the beta prior
    "exp3": _RATES,
    "exp3-ix": _RATES,
    "tsallis-inf": Grid({"estimator": ["iw", "rv"]}),
}
_HEAVY_ARMS = {
    "ucb1": Grid({"scale": [0.3, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0]}),
    "thompson": Grid({"scale": [0.3, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0]}, {"prior": "gaussian"}),
    "truncated-ucb": Grid({"c": [0.01, 0.03, 0.1, 0.3, 1.0]}),
    "mom-ucb": Grid({"c": [0.01, 0.03, 0.1, 0.3, 1.0]}),
}
_LINEAR = {
    "epsilon-greedy": Grid({"c": [0.1, 0.3, 1.0, 3.0, 10.0, 30.0]}),
    "oful": Grid({"beta": [0.1, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0]}, {"radius": "flat"}),
    "lints": Grid({"v": [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 2.0]}),
    "ds-oful": Grid({"gamma": [0.02, 0.05, 0.08], "beta": [0.5, 1.0, 2.0, 3.0]}),
    "suplinucb": Grid({"beta": [0.1, 0.3, 0.5, 1.0, 2.0, 3.0]}),
}
_GLM = {name: Grid({"c": _RADII}) for name in ("ol2m", "gloc", "glm-ucb", "ucb-glm")}
_HEAVY_GLM = {
    "ol2m": Grid({"c": _RADII}),
    "gloc": Grid({"c": _RADII}),
    "crtm": Grid({"c": [0.3, 1.0, 3.0], "g": [0.03, 0.1, 0.3, 1.0]}),
    "crmm": Grid({"c": _RADII}, {"plays": 11}),
}
_VARIANCE = {
    "oful": Grid({"beta": _RADII}, {"radius": "flat"}),
    "weighted-oful": Grid({"beta": [0.3, 0.5, 1.0, 2.0, 3.0], "g": [0.0, 0.5]}),
    "variance-levels": Grid({"beta": [0.3, 0.5, 1.0, 2.0, 3.0, 5.0]}),
}
_REGRESSION = {
    "ftrl": _PENALTIES,
    "vaw": _PENALTIES,
    "ons": Grid({"gamma": [0.1, 0.5, 1.0, 3.0], "lam": [1.0, 10.0, 100.0]}),
    **{name: Grid({"eta": _STEPS}) for name in ("ogd", "adagrad", "linearised-ftrl", "implicit-ftrl")},
    "omd": Grid({"eta": [0.1, 0.3, 1.0, 3.0], "radius": [1.0, 3.0, 10.0]}),
}
_LIKELIHOOD = {name: _REGRESSION[name] for name in ("ftrl", "ons", "ogd", "adagrad", "omd", "linearised-ftrl")}
_KERNELS = {
    "vaw": _PENALTIES,
    "aogd-ald": Grid({"bandwidth": [0.15, 0.25, 0.5, 1.0], "radius": [1.0, 2.0, 5.0]}),
    "nons-ald": Grid({"bandwidth": [0.15, 0.25, 0.5, 1.0], "mu": [0.1, 1.0, 10.0]}),
    "kernel-ogd": Grid({"bandwidth": [0.15, 0.25, 0.5, 1.0], "scale": [3.0, 10.0, 30.0]}),
    "budgeted-perceptron": Grid({"bandwidth": [0.15, 0.25, 0.5, 1.0], "scale": [3.0, 10.0, 30.0]}),
}
_CALM = {"arms": 8, "horizon": 100_000}
_FIXED = {"d": 16, "arms": 100, "horizon": 10_000, "gap": 0.18}
_MIXES = ({"share": 0.9}, {"share": 0.5}, {"share": 0.1}, {"spread": "log_uniform", "quiet": 0.02, "loud": 2.0}, {"spread": "constant"})

TUNINGS = (
    Tuning("linear", {**_FIXED, "zeta": 0.02}, _LINEAR, count=60),
    Tuning("linear", {**_FIXED, "zeta": 0.1, "misspecification": "adversarial"}, _LINEAR, count=60),
    Tuning("linear", {"d": 10, "arms": 20, "horizon": 10_000, "arm_set": "sphere", "gap": None}, _LINEAR),
    Tuning("stochastic", _CALM, _BOUNDED, count=40),
    *(Tuning("adversarial", {**_CALM, "schedule": schedule}, _BOUNDED, count=60) for schedule in ("constrained", "swap")),
    *(
        Tuning("stochastic", {"arms": 5, "horizon": 20_000, "gap": 0.2, "law": law, "tail": 1.5}, _HEAVY_ARMS, count=60)
        for law in ("gaussian", "student", "pareto")
    ),
    *(Tuning("glm", {"horizon": 20_000, "norm": norm}, _GLM) for norm in (1.0, 3.0)),
    Tuning("glm", {"horizon": 20_000, "norm": 1.0, "rewards": "poisson"}, _GLM),
    *(
        Tuning("heavy-tailed-glm", {"horizon": 50_000, "hold": 11, "tail": 1.5, "law": law}, _HEAVY_GLM)
        for law in ("gaussian", "student", "pareto")
    ),
    Tuning(
        "heavy-tailed-glm",
        {"horizon": 5005, "hold": 11, "tail": 1.5, "link": "identity", "law": "student"},
        {
            **{name: _HEAVY_GLM[name] for name in ("ol2m", "crtm", "crmm")},
            "menu": Grid({"c": [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 1.0]}, {"plays": 11}),
            "tofu": Grid({"c": [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 1.0]}),
        },
    ),
    *(Tuning("heteroscedastic", mix, _VARIANCE) for mix in _MIXES),
    *(Tuning("online-regression", {"d": d}, _REGRESSION, count=count) for d, count in ((5, 200), (20, 20))),
    *(Tuning("online-regression", {"d": 5, "horizon": 2000, "loss": loss}, _LIKELIHOOD) for loss in ("logistic", "poisson")),
    Tuning("online-regression", {"stream": "diabetes", "horizon": 1326}, _REGRESSION),
    Tuning("online-regression", {"stream": "visits", "loss": "poisson", "horizon": 10_000}, _LIKELIHOOD, count=5),
    Tuning("online-regression", {"stream": "sine", "noise": 0.05, "horizon": 4000}, _KERNELS, count=10),
    *(
        Tuning(
            "solver-tuning",
            {"law": law},
            {
                "fixed-omega": Grid({"omega": [1.0, 1.2, 1.4, 1.5, 1.55, 1.6, 1.65, 1.7, 1.75, 1.8, 1.85, 1.9]}),
                "tsallis-sor": Grid({"bins": [1, 2, 3, 5, 8, 12]}),
                "chebcb": Grid({"degree": [2, 3, 5, 8]}),
            },
            count=8,
        )
        for law in ("high_variance", "low_variance")
    ),
    *(
        Tuning(
            "linear-mdp",
            {"losses": losses},
            {
                "entropy-po": Grid({"scale": [0.3, 1.0, 3.0, 10.0]}),
                "log-barrier-po": Grid({"scale": [0.3, 1.0, 3.0, 10.0], "bonus": [0.0, 0.001]}),
            },
            size="episodes",
            count=10,
        )
        for losses in ("stochastic", "cyclic")
    ),
    *(
        Tuning(
            "linear-mdp",
            {"losses": losses, "features": "simplex"},
            {name: Grid({"scale": [0.3, 1.0, 3.0, 10.0]}) for name in ("entropy-po", "log-barrier-po", "magnitude-reduced-po")},
            size="episodes",
            count=10,
        )
        for losses in ("stochastic", "cyclic")
    ),
    *(
        Tuning(
            "classification",
            {"data": data},
            {
                "disjoint-linucb": Grid({"alpha": [0.0, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0]}),
                "disjoint-greedy": Grid({"epsilon": [0.0, 0.01, 0.02, 0.05, 0.1, 0.2]}),
                "banditron": Grid({"gamma": [0.01, 0.03, 0.1, 0.2, 0.3, 0.5]}),
            },
            size="rounds",
        )
        for data in ("digits", "wine", "breast_cancer")
    ),
    *(
        Tuning(
            "imputed-linear",
            {"d": d, "n": 500},
            {"imputed-sgd": Grid({"step": ["constant", "horizon"]}), "imputed-ridge": Grid({"lam": [0.0, 0.01, 0.1, 1.0, 10.0]})},
            size="n",
        )
        for d in (200, 1000)
    ),
    *(
        Tuning(
            "context-lp",
            {"degree": degree},
            {"optimality-margin": Grid({"lam": [0.001, 0.01, 0.1, 1.0]}), "spo-plus": Grid({"eta": [0.01, 0.03, 0.1, 0.3, 1.0]})},
            size="rows",
        )
        for degree in (4, 6)
    ),
    Tuning(
        "replay",
        {"sharpness": 2.0},
        {
            "ips": Grid({"clip": [3.0, 10.0, 30.0, 100.0, 1e9]}),
            **{name: Grid({"lam": [0.1, 1.0, 10.0, 100.0, 1000.0]}) for name in ("doubly-robust", "direct")},
        },
        size="rows",
    ),
    Tuning(
        "adaptive-holdout",
        {"signal": 0},
        {name: Grid({"scale": [0.1, 0.3, 1.0, 3.0]}) for name in ("noisy-holdout", "thresholdout")},
        size="n",
        count=60,
    ),
)
