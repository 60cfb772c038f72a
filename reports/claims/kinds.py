"""One function per kind of claim: from the selected measurements to an `Outcome`.

Signs: inside, numbers are turned so that positive means that the claim holds. Effects and intervals (95 %, two-sided) stay in the claim's
own terms: difference A - B, ratio A / B, slope, or the value itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np

from reports.boards import Board
from reports.claims.definition import Arm
from reports.claims.evidence import Selection, Unusable
from reports.claims.outcome import Outcome, combined, one_sided
from reports.stats.distributions import Floats
from reports.stats.intervals import ratio_interval, t_interval
from reports.stats.paired import differences

#: Evidence to support: one-sided 5 %. To refute: 1 %, because our small protocol may be why a claim made elsewhere fails here.
SUPPORT_LEVEL, REFUTE_LEVEL = 0.05, 0.01


def better(selection: Selection) -> Outcome:
    """A is better than B by the margin."""
    claim = selection.definition
    found = selection.seeds_of([claim.a, claim.b], [claim.metric])
    a, b = found[claim.a.text, claim.metric], found[claim.b.text, claim.metric]
    return _pair(selection, a, b, claim.margin, claim.effect)


def _pair(selection: Selection, a: Floats, b: Floats, margin: float, effect: str, lower_is_better: bool | None = None) -> Outcome:
    lower = selection.lower_is_better if lower_is_better is None else lower_is_better
    sign = 1.0 if lower else -1.0
    values = {"mean_a": float(a.mean()), "mean_b": float(b.mean()), "margin": margin}
    if effect == "difference":
        d = differences(a, b)
        shown = t_interval(d)
        return one_sided(
            -sign * d - margin,
            f"paired t and sign flips of A - B against {'' if not margin else 'a margin of '}{margin:g}, {len(d)} seeds",
            effect=shown.value,
            low=shown.low,
            high=shown.high,
            level=SUPPORT_LEVEL,
            detail=values,
        )
    if (a > 0).all() and (b > 0).all():
        logs = differences(np.log(a), np.log(b))
        shown = t_interval(logs)
        return one_sided(
            sign * (np.log(margin) - logs),
            f"paired t and sign flips of log(A / B) against a ratio of {margin:g}, {len(logs)} seeds",
            effect=float(np.exp(shown.value)),
            low=float(np.exp(shown.low)),
            high=float(np.exp(shown.high)),
            level=SUPPORT_LEVEL,
            detail=values,
        )
    # Values at or below zero have no ratio per seed: test A - margin * B, which is the same statement.
    interval = ratio_interval(a, b)
    if not b.mean():
        selection.notes.append(f"The mean of {selection.definition.b.text} is 0, so the ratio A / B has no value; the test needs none.")
    elif np.isinf(interval.low):
        selection.notes.append("The mean of B can't be told from 0, so the interval of the ratio A / B is unbounded; the test needs none.")
    return one_sided(
        sign * (margin * b - a),
        f"paired t and sign flips of A - {margin:g} B (some values are not positive; interval of the ratio by Fieller), {len(a)} seeds",
        effect=interval.value,
        low=interval.low,
        high=interval.high,
        level=SUPPORT_LEVEL,
        detail=values,
    )


def equivalent(selection: Selection) -> Outcome:
    """A and B differ by less than the margin, both ways (two one-sided tests)."""
    claim = selection.definition
    found = selection.seeds_of([claim.a, claim.b], [claim.metric])
    a, b = found[claim.a.text, claim.metric], found[claim.b.text, claim.metric]
    values = {"mean_a": float(a.mean()), "mean_b": float(b.mean()), "margin": claim.margin}
    if claim.effect == "ratio":
        return _within(a - b, -claim.margin * b, claim.margin * b, "A - B within a share of B", values)
    d = differences(a, b)
    return _within(d, np.full_like(d, -claim.margin), np.full_like(d, claim.margin), "A - B within the margin", values)


def _within(d: Floats, low: Floats, high: Floats, what: str, detail: Mapping[str, object]) -> Outcome:
    shown = t_interval(d)
    sides = [
        one_sided(room, what, effect=shown.value, low=shown.low, high=shown.high, level=SUPPORT_LEVEL, detail={})
        for room in (high - d, d - low)
        if np.isfinite(room).all()
    ]
    narrow = min((side.detail.get("detectable", np.nan) for side in sides), default=np.nan)
    tests = "two one-sided t tests" if len(sides) == 2 else "one-sided t test"
    return combined(sides, f"{tests} and sign flips of {what}, {len(d)} seeds", sides[0], {**detail, "detectable": narrow})


def ratio(selection: Selection) -> Outcome:
    """A's metric is at most `margin` times B's (at least, where higher is better) while A's quality is worse by no more than the band.

    options: `quality` (metric id), `within` (largest loss of quality), `relative` (as a share of B's).
    """
    claim = selection.definition
    quality, within = str(claim.options["quality"]), float(claim.options.get("within", 0.0))
    found = selection.seeds_of([claim.a, claim.b], [claim.metric, quality])
    size = _pair(selection, found[claim.a.text, claim.metric], found[claim.b.text, claim.metric], claim.margin, "ratio")
    a, b = found[claim.a.text, quality], found[claim.b.text, quality]
    sign = -1.0 if selection.metric_named(quality).direction == "higher" else 1.0
    band = within * np.abs(b) if claim.options.get("relative") else np.full_like(b, within)
    loss = t_interval(sign * (a - b))
    kept = one_sided(band - sign * (a - b), "quality", effect=loss.value, low=loss.low, high=loss.high, level=SUPPORT_LEVEL, detail={})
    detail = {**size.detail, "quality_loss": loss.value, "quality_loss_low": loss.low, "quality_loss_high": loss.high, "within": within}
    return combined([size, kept], f"{size.test}; and loss of {quality} within {within:g}: both must hold", size, detail)


def ordering(selection: Selection) -> Outcome:
    """Each arm is better than the next by the margin."""
    claim = selection.definition
    found = selection.seeds_of(claim.arms, [claim.metric])
    values = [found[arm.text, claim.metric] for arm in claim.arms]
    steps = [_pair(selection, a, b, claim.margin, claim.effect) for a, b in pairwise(values)]
    weakest = max(steps, key=lambda one: one.p_support)
    detail = {
        "means": [float(one.mean()) for one in values],
        "arms": [arm.text for arm in claim.arms],
        "steps": [{"effect": one.effect, "low": one.low, "high": one.high, "p": one.p_support} for one in steps],
        **{name: weakest.detail[name] for name in ("detectable", "sd", "seeds_needed") if name in weakest.detail},
    }
    return combined(steps, f"paired t and sign flips of {len(steps)} neighbours, all must hold; effect of the weakest", weakest, detail)


def slope(selection: Selection) -> Outcome:
    """The slope of the metric over x lies between `low` and `high` (either may be missing), fitted per seed by least squares.

    options: `x` ("step" for a curve, or the name of a method or task param), `scale` ("loglog", "linear", "semilog": log y over x),
    `low`, `high`, `from` (smallest x used).
    """
    claim = selection.definition
    scale, start = str(claim.options.get("scale", "loglog")), float(claim.options.get("from", -np.inf))
    x, y = _curve_points(selection) if claim.options.get("x", "step") == "step" else _param_points(selection, str(claim.options["x"]))
    keep = x >= start
    x, y = x[keep], y[:, keep]
    if scale in ("loglog", "semilog"):
        if (y <= 0).any():
            raise Unusable("A logarithmic slope needs positive values.", attempted=True)
        y = np.log(y)
    if scale == "loglog":
        y, x = y[:, x > 0], np.log(x[x > 0])
    if len(x) < 2:
        raise Unusable("A slope needs at least two points per seed.", attempted=True)
    centred = x - x.mean()
    slopes = (y - y.mean(axis=1, keepdims=True)) @ centred / float(centred @ centred)
    low, high = float(claim.options.get("low", -np.inf)), float(claim.options.get("high", np.inf))
    detail: dict[str, object] = {
        "slope_low": low if np.isfinite(low) else None,
        "slope_high": high if np.isfinite(high) else None,
        "points": len(x),
    }
    return _within(slopes, np.full_like(slopes, low), np.full_like(slopes, high), f"the {scale} slope {_range(low, high)}", detail)


def _range(low: float, high: float) -> str:
    if np.isinf(low):
        return f"at most {high:g}"
    return f"at least {low:g}" if np.isinf(high) else f"within [{low:g}, {high:g}]"


def _curve_points(selection: Selection) -> tuple[Floats, Floats]:
    claim = selection.definition
    board = selection.boards[0]
    entry = selection.one_entry(board, claim.a)
    curve = selection.material.curves.get(board.anchor, {}).get(claim.metric)
    if curve is None:
        raise Unusable(f"The ledger holds no curve {claim.metric!r} of {claim.a.text}.", attempted=True)
    values = curve.values[entry]
    steps = ~np.isnan(values).all(axis=0)
    whole = ~np.isnan(values[:, steps]).any(axis=1)
    if not whole.any():
        raise Unusable("No seed has a complete curve.", attempted=True)
    selection.trials += [key for key, used in zip(board.trials[entry], whole, strict=True) if used]
    return curve.steps[steps], values[np.ix_(whole, steps)]


def _param_points(selection: Selection, name: str) -> tuple[Floats, Floats]:
    """Points over a param of the method (entries) or of the task (boards); seeds complete over all of them."""
    claim = selection.definition
    points: dict[float, tuple[Board, int]] = {}
    boards = [
        board
        for board in selection.material.boards.get(claim.task, ())
        if board in selection.boards or name in json.loads(board.task_params)
    ]
    for board in boards:
        task_params = json.loads(board.task_params)
        if any(task_params.get(key) != value for key, value in claim.task_params.items()):
            continue
        for entry in selection.entries(board, claim.a):
            params = {**task_params, **json.loads(board.entries[entry].params)}
            if name in params:
                points[float(params[name])] = (board, entry)
    if len(points) < 2:
        raise Unusable(f"The slope over {name} needs at least two values of it in the ledger.", attempted=bool(points))
    xs = np.array(sorted(points))
    by_seed: dict[int, dict[float, tuple[float, str]]] = {}
    for x, (board, entry) in points.items():
        for at, seed in enumerate(board.seeds):
            value = board.values[claim.metric][entry][at]
            if not np.isnan(value):
                by_seed.setdefault(seed, {})[x] = (float(value), board.trials[entry][at])
    whole = [seed for seed in sorted(by_seed) if len(by_seed[seed]) == len(xs)]
    if not whole:
        raise Unusable(f"No seed has a result at every value of {name}.", attempted=True)
    selection.trials += [by_seed[seed][x][1] for seed in whole for x in xs]
    return xs, np.array([[by_seed[seed][x][0] for x in xs] for seed in whole])


def front(selection: Selection) -> Outcome:
    """For every configuration of B some configuration of A costs no more and is worse by at most the margin.

    Cost is the metric `options.x`, lower is cheaper. Tested on the worst shortfall per seed. B's configurations cheaper than all of A's are
    outside the comparison and counted in the detail.
    """
    claim = selection.definition
    cost, board = str(claim.options["x"]), selection.boards[0]
    sides = [selection.entries(board, arm) for arm in (claim.a, claim.b)]
    if not all(sides):
        raise Unusable(f"Nobody has run both {claim.a.text} and {claim.b.text} on {board.name} yet.")
    sign = 1.0 if selection.lower_is_better else -1.0
    x, y = board.values[cost], sign * board.values[claim.metric]
    chosen = sides[0] + sides[1]
    seeds = np.flatnonzero(~(np.isnan(x[chosen]) | np.isnan(y[chosen])).any(axis=0))
    if not len(seeds):
        raise Unusable("No seed has a finite result of every configuration of both arms.", attempted=True)
    worst, outside = [], 0
    for seed in seeds:
        gaps = []
        for b in sides[1]:
            cheap = [float(y[a, seed]) for a in sides[0] if x[a, seed] <= x[b, seed] * (1 + 1e-9)]
            if cheap:
                gaps.append(min(cheap) - float(y[b, seed]))
            else:
                outside += 1
        if gaps:
            worst.append(max(gaps))
    if not worst:
        raise Unusable("Every configuration of B is cheaper than all of A's: the fronts share no range.", attempted=True)
    selection.trials += [board.trials[entry][seed] for entry in chosen for seed in seeds]
    d = np.array(worst)
    shown = t_interval(d)
    return one_sided(
        claim.margin - d,
        f"paired t and sign flips of the worst shortfall of A's front, {len(d)} seeds",
        effect=shown.value,
        low=shown.low,
        high=shown.high,
        level=SUPPORT_LEVEL,
        detail={
            "configurations_a": len(sides[0]),
            "configurations_b": len(sides[1]),
            "outside": outside // len(seeds),
            "margin": claim.margin,
        },
    )


def prediction(selection: Selection) -> Outcome:
    """The measured metric equals the prediction (`options.predicted`: a metric id or a number) within the margin (a share of it for ratio).

    With margin 0 the margin is two standard errors of a simulation whose relative standard error may be `options.precision` (default .02).
    """
    claim = selection.definition
    predicted = claim.options["predicted"]
    names = [claim.metric, predicted] if isinstance(predicted, str) else [claim.metric]
    found = selection.seeds_of([claim.a], names)
    measured = found[claim.a.text, claim.metric]
    target = found[claim.a.text, predicted] if isinstance(predicted, str) else np.full_like(measured, float(predicted))
    precision = float(claim.options.get("precision", 0.02))
    if claim.margin == 0:
        band = 2 * precision * np.abs(target)
    else:
        band = claim.margin * np.abs(target) if claim.effect == "ratio" else np.full_like(target, claim.margin)
    detail: dict[str, object] = {"measured": float(measured.mean()), "predicted": float(target.mean()), "band": float(band.mean())}
    return _within(measured - target, -band, band, "measured - predicted within the band", detail)


def line(selection: Selection) -> Outcome:
    """Over the arms, the metric follows the prediction along a line through the origin: per seed, least squares leaves a coefficient of
    determination R^2 of `margin` or more and a slope between `low` and `high`.

    options: `arms` (at least three), `predicted` (metric id), `low`, `high`. R^2 compares with the mean over the arms.
    """
    claim = selection.definition
    predicted = str(claim.options["predicted"])
    if len(claim.arms) < 3:
        raise Unusable("A line needs three arms or more.")
    found = selection.seeds_of(claim.arms, [claim.metric, predicted])
    y, x = (np.stack([found[arm.text, name] for arm in claim.arms]) for name in (claim.metric, predicted))
    slopes = (x * y).sum(axis=0) / (x * x).sum(axis=0)
    explained = 1 - np.square(y - slopes * x).sum(axis=0) / np.square(y - y.mean(axis=0)).sum(axis=0)
    shown = t_interval(explained)
    fit = one_sided(explained - claim.margin, "R^2", effect=shown.value, low=shown.low, high=shown.high, level=SUPPORT_LEVEL, detail={})
    low, high = float(claim.options.get("low", -np.inf)), float(claim.options.get("high", np.inf))
    steep = _within(slopes, np.full_like(slopes, low), np.full_like(slopes, high), "slope", {})
    detail = {**fit.detail, "slope": float(slopes.mean()), "slope_low": low, "slope_high": high, "points": len(claim.arms)}
    test = f"t and sign flips of R^2 against {claim.margin:g} and of the slope {_range(low, high)}: both must hold; effect: R^2"
    return combined([fit, steep], f"{test}, {len(slopes)} seeds", fit, detail)


def bound(selection: Selection) -> Outcome:
    """A's metric stays on the good side of `margin`: on average, or with `options.every` on every seed (one violation then refutes)."""
    claim = selection.definition
    values = selection.seeds_of([claim.a], [claim.metric])[claim.a.text, claim.metric]
    sign = 1.0 if selection.lower_is_better else -1.0
    shown = t_interval(values, bounds=selection.metric.bounds)
    room = sign * (claim.margin - values)
    if claim.options.get("every"):
        broken = int((room < 0).sum())
        p_support, p_refute = (1.0, 0.0) if broken else (0.0, 1.0)
        detail = {"violations": broken, "worst": float(values.max() if sign > 0 else values.min()), "margin": claim.margin}
        return Outcome(
            f"every one of {len(values)} seeds",
            shown.value,
            shown.low,
            shown.high,
            len(values),
            p_support,
            p_refute,
            p_support,
            p_refute,
            detail,
        )
    return one_sided(
        room,
        f"t and sign flips of the value against {claim.margin:g}, {len(values)} seeds",
        effect=shown.value,
        low=shown.low,
        high=shown.high,
        level=SUPPORT_LEVEL,
        detail={"margin": claim.margin},
    )


KIND_TESTS: dict[str, Callable[[Selection], Outcome]] = {
    "better": better,
    "equivalent": equivalent,
    "ratio": ratio,
    "ordering": ordering,
    "slope": slope,
    "front": front,
    "prediction": prediction,
    "line": line,
    "bound": bound,
}


def noise_floor(selection: Selection, arms: tuple[Arm, ...]) -> str:
    """A reason not to trust a difference when every arm lies within the metric's noise floor (`METRIC_null95`, for instance of ECE)."""
    claim = selection.definition
    name = str(claim.options.get("noise_floor", f"{claim.metric}_null95"))
    if claim.kind not in ("better", "ordering", "ratio") or any(name not in board.values for board in selection.boards):
        return ""
    inside = []
    for arm in arms:
        for board in selection.boards:
            entry = selection.one_entry(board, arm)
            value, floor = np.nanmean(board.values[claim.metric][entry]), np.nanmean(board.values[name][entry])
            inside.append(bool(value <= floor))
    return (
        f"Every arm lies within the noise floor {name}: at this sample size they are as good as perfect." if inside and all(inside) else ""
    )
