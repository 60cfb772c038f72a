"""What papers say about the policies of this family, made checkable. Thresholds leave room over effects measured on other seeds."""

from __future__ import annotations

from tasks.api import Arm, Claim

_T3 = {
    "d": 16,
    "arms": 100,
    "horizon": 10_000,
    "arm_set": "fixed",
    "gap": 0.18,
    "zeta": 0.02,
    "misspecification": "random_sign",
    "noise": 1.0,
}

CLAIMS = (
    Claim(
        id="bandits-b1-ds-oful-lower-regret",
        paper=144,
        statement="Under misspecification zeta = .02 and gap .18, DS-OFUL with gamma = .05 has at most .85 times the regret of OFUL.",
        kind="better",
        task="bandit_regret/linear",
        metric="regret",
        a=Arm("bandit_regret/ds-oful", {"gamma": 0.05, "beta": 3.0}),
        b=Arm("bandit_regret/oful", {"beta": 3.0, "radius": "flat"}),
        task_params=_T3,
        effect="ratio",
        margin=0.85,
        min_seeds=20,
    ),
    Claim(
        id="bandits-b2-ds-oful-constant-regret",
        paper=144,
        statement="The regret of DS-OFUL with gamma = .05 has stopped growing: none in the last tenth of the rounds.",
        kind="bound",
        task="bandit_regret/linear",
        metric="last_tenth_regret",
        a=Arm("bandit_regret/ds-oful", {"gamma": 0.05, "beta": 3.0}),
        task_params=_T3,
        margin=0.5,
        min_seeds=20,
        note="The paper bounds the regret by a constant in T; one wrong play costs about .18, the mean is held to .5.",
    ),
    Claim(
        id="bandits-b2-oful-control",
        paper=144,
        statement="The regret of OFUL has stopped growing as well (negative control: it has not).",
        kind="bound",
        task="bandit_regret/linear",
        metric="last_tenth_regret",
        a=Arm("bandit_regret/oful", {"beta": 3.0, "radius": "flat"}),
        task_params=_T3,
        margin=0.5,
        min_seeds=20,
        control=True,
    ),
    Claim(
        id="bandits-b3-threshold-at-gap-is-linear",
        paper=144,
        statement="A threshold as large as the gap (gamma = .18) stops learning too early: its regret goes on growing.",
        kind="better",
        task="bandit_regret/linear",
        metric="last_tenth_regret",
        a=Arm("bandit_regret/ds-oful", {"gamma": 0.05, "beta": 3.0}),
        b=Arm("bandit_regret/ds-oful", {"gamma": 0.18, "beta": 3.0}),
        task_params=_T3,
        effect="difference",
        margin=50.0,
        min_seeds=20,
    ),
)
