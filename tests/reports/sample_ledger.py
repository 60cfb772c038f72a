"""A real ledger with synthetic results whose truth is known: five families, effects, ties, failures, curves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from db import open_ledger
from db.ledger import Ledger
from db.records import Attempt, Catalogue, ClaimRow, Curve, Environment, MethodRow, MetricRow, PaperRow, Run, TaskRow, Trial

NOW = datetime(2026, 11, 23, 15, tzinfo=UTC)
ENVIRONMENT = Environment("e" * 64, {"python": "3.11.7", "cpu": "test", "packages": {}})


@dataclass
class Result:
    """One trial's result; `metrics` empty means it failed."""

    task: str
    method: str
    seed: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Sequence[Curve] = ()
    task_params: Mapping[str, Any] = field(default_factory=dict)
    method_params: Mapping[str, Any] = field(default_factory=dict)
    method_version: int = 1
    task_version: int = 1
    error: str = "ValueError: it broke"
    seconds: float = 0.5


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def trial_of(result: Result) -> Trial:
    parts = [result.task, result.task_version, result.task_params, result.method, result.method_version, result.method_params, result.seed]
    key = hashlib.sha256(canonical(parts).encode()).hexdigest()
    family = result.method.split("/")[0]
    return Trial(
        key,
        family,
        result.task,
        result.task_version,
        result.task_params,
        result.method,
        result.method_version,
        result.method_params,
        result.seed,
        "f" * 64,
        1,
    )


def fill(ledger: Ledger, catalogue: Catalogue, results: Iterable[Result], run: str = "run-1") -> None:
    """Write the catalogue and record every result as the harness would."""
    ledger.write_catalogue(catalogue)
    chosen = list(results)
    trials = [trial_of(result) for result in chosen]
    ledger.start_run(Run(run, "sample", "name: sample\n", "inline", ["assay", "run", "sample"], len(trials)), ENVIRONMENT)
    ledger.submit(run, trials)
    attempts = [
        Attempt(
            id=hashlib.sha256(f"{run}{trial.key}".encode()).hexdigest()[:32],
            trial=trial.key,
            run=run,
            outcome="ok" if result.metrics else "error",
            started=NOW,
            finished=NOW,
            seconds=result.seconds,
            cpu_seconds=result.seconds,
            worker="test",
            environment=ENVIRONMENT.hash,
            metrics=result.metrics,
            curves=result.curves,
            error="" if result.metrics else result.error,
            traceback="" if result.metrics else "Traceback (most recent call last):\n  <frame>\n" + result.error,
            next_state="done" if result.metrics else "failed",
        )
        for trial, result in zip(trials, chosen, strict=True)
    ]
    for start in range(0, len(attempts), 5000):
        ledger.record(attempts[start : start + 5000], [ENVIRONMENT])
    ledger.finish_run(run, "complete")


def metric(task: str, name: str, direction: str, unit: str = "", primary: bool = False, curve: str | None = None) -> MetricRow:
    return MetricRow(task, name, unit, direction, f"What {name} means.", primary, curve)


def method(name: str, label: str, paper: int | None = None, version: int = 1) -> MethodRow:
    return MethodRow(name, name.split("/")[0], version, label, f"{label}: a method.", paper, (), {})


def task(name: str, label: str, metrics: Sequence[MetricRow], version: int = 1) -> TaskRow:
    return TaskRow(name, name.split("/")[0], version, label, f"{label}: one line.\n\nMore.", {}, metrics)


def _rng(*parts: object) -> np.random.Generator:
    return np.random.default_rng(list("|".join(map(str, parts)).encode()))


def quantization(seeds: int) -> tuple[Catalogue, list[Result]]:
    name = "quantization/lm-weights"
    metrics = [
        metric(name, "bits_per_byte_increase", "lower", "bits/byte", primary=True),
        metric(name, "bits_per_byte", "lower", "bits/byte"),
        metric(name, "bits_per_weight", "lower", "bits"),
        metric(name, "output_error", "lower"),
        metric(name, "seconds", "lower", "s"),
    ]
    base = {"rtn": 1.0, "nf4": 0.75, "hqq": 0.6, "gptq": 0.35, "higgs": 0.42}
    labels = {"rtn": "RTN", "nf4": "NF4", "hqq": "HQQ", "gptq": "GPTQ", "higgs": "HIGGS"}
    out = []
    for short, factor in base.items():
        for bits in (4,) if short == "nf4" else (2, 3, 4):
            params = {"bits": bits, "group": 64}
            for seed in range(seeds):
                hard = _rng("q", seed).normal(0, 0.02)
                loss = factor * 4.0 ** (3 - bits) * 0.3 * np.exp(hard + _rng(short, bits, seed).normal(0, 0.05))
                values = {
                    "bits_per_byte_increase": loss,
                    "bits_per_byte": 2.0 + loss,
                    "bits_per_weight": bits + (0.5 if short in ("rtn", "hqq") else 0.25 if short != "higgs" else 0.02),
                    "output_error": 0.2 * np.sqrt(loss),
                    "seconds": 0.2 if short != "gptq" else 4.0,
                }
                if (short, bits, seed) == ("hqq", 2, 1):
                    values = {}
                out.append(Result(name, f"quantization/{short}", seed, values, method_params=params, task_params={"preset": "quick"}))
    methods = [method(f"quantization/{short}", label, 6 if short == "higgs" else None) for short, label in labels.items()]
    return Catalogue(tasks=[task(name, "Language-model weights", metrics)], methods=methods), out


def pruning(seeds: int) -> tuple[Catalogue, list[Result]]:
    name = "pruning/digits-one-shot"
    metrics = [
        metric(name, "sparsity_auc", "higher", primary=True),
        metric(name, "accuracy_at_90", "higher"),
        metric(name, "accuracy", "higher", curve="sparsity"),
    ]
    strength = {"random": 55.0, "magnitude-global": 88.0, "magnitude-layer": 84.0, "snip": 90.0, "obd": 92.0, "m-fac": 93.0}
    steps = [0.0, 50.0, 70.0, 80.0, 90.0, 95.0, 98.0]
    out = []
    for short, half in strength.items():
        for seed in range(seeds):
            noise = _rng("p", seed).normal(0, 0.6) + _rng(short, seed).normal(0, 0.5)
            values = [0.97 / (1 + np.exp((s - half - noise) / 4)) + 0.1 * (s / 100) for s in steps]
            auc = float(np.mean(values))
            result = {"sparsity_auc": auc, "accuracy_at_90": values[4]}
            out.append(Result(name, f"pruning/{short}", seed, result, [Curve("accuracy", steps, values)], method_params={"block": 64}))
    return Catalogue(tasks=[task(name, "One-shot pruning on digits", metrics)], methods=[method(f"pruning/{s}", s) for s in strength]), out


def calibration(seeds: int) -> tuple[Catalogue, list[Result]]:
    name = "calibration/digits-noisy"
    metrics = [
        metric(name, "ece", "lower", primary=True),
        metric(name, "ece_null95", "none"),
        metric(name, "nll", "lower", "nats"),
        metric(name, "brier", "lower"),
        metric(name, "accuracy_change", "higher"),
        *(metric(name, f"reliability_{part}", "none", curve="bin") for part in ("accuracy", "confidence", "count")),
    ]
    over = {"none": 0.13, "temperature": 0.02, "vector": 0.025, "isotonic": 0.03, "histogram": 0.035, "correctness-aware": 0.018}
    out = []
    bins = np.arange(15.0)
    for short, gap in over.items():
        for seed in range(seeds):
            rng = _rng(short, seed)
            count = np.round(400 * np.exp((bins - 14) / 4) / 3.6) + 1
            confidence = (bins + 0.5) / 15
            accuracy = np.clip(confidence - gap * np.minimum(1, confidence) + rng.normal(0, 0.02, 15), 0, 1)
            curves = [
                Curve(f"reliability_{part}", bins, list(map(float, v)))
                for part, v in (("accuracy", accuracy), ("confidence", confidence), ("count", count))
            ]
            ece = float(np.abs(accuracy - confidence) @ count / count.sum())
            values = {"ece": ece, "ece_null95": 0.03, "nll": 0.4 + gap, "brier": 0.2 + gap / 2, "accuracy_change": 0.0}
            out.append(Result(name, f"calibration/{short}", seed, values, curves))
    return Catalogue(
        tasks=[task(name, "Overconfident digits", metrics)], methods=[method(f"calibration/{s}", s.capitalize()) for s in over]
    ), out


def robust_training(seeds: int) -> tuple[Catalogue, list[Result]]:
    name = "robust_training/digits-linf"
    metrics = [
        metric(name, "robust_accuracy", "higher", primary=True),
        metric(name, "clean_accuracy", "higher"),
        metric(name, "fgsm_accuracy", "higher"),
    ]
    truth = {
        "standard": (0.98, 0.12),
        "fgsm": (0.95, 0.58),
        "pgd": (0.94, 0.71),
        "trades": (0.92, 0.73),
        "elle": (0.94, 0.70),
        "sam": (0.98, 0.21),
    }
    out = []
    for short, (clean, robust) in truth.items():
        for seed in range(seeds):
            rng, hard = _rng(short, seed), _rng("r", seed).normal(0, 0.01)
            values = {
                "robust_accuracy": robust + hard + rng.normal(0, 0.012),
                "clean_accuracy": clean + rng.normal(0, 0.004),
                "fgsm_accuracy": robust + 0.05,
            }
            out.append(Result(name, f"robust_training/{short}", seed, values, method_params={"epsilon": 0.1}))
    return Catalogue(tasks=[task(name, "L-inf digits", metrics)], methods=[method(f"robust_training/{s}", s.upper()) for s in truth]), out


def bandit_regret(seeds: int) -> tuple[Catalogue, list[Result]]:
    metrics: Callable[[str], list[MetricRow]] = lambda name: [  # noqa: E731
        metric(name, "regret", "lower", primary=True),
        metric(name, "regret_curve", "lower", curve="round"),
    ]
    name = "bandit_regret/linear"
    power = {
        "uniform": (0.5, 1.0),
        "epsilon-greedy": (0.9, 0.75),
        "linucb": (1.2, 0.55),
        "lints": (1.5, 0.55),
        "ds-oful": (1.15, 0.55),
        "suplinucb": (2.4, 0.6),
    }
    rounds = np.unique(np.round(np.logspace(0.5, 3.7, 30)))
    out = []
    for short, (scale, exponent) in power.items():
        for misspecified in (0.0, 0.1):
            for seed in range(seeds):
                noise = np.exp(_rng("b", seed).normal(0, 0.08) + _rng(short, seed, misspecified).normal(0, 0.08))
                values = scale * noise * rounds**exponent + misspecified * rounds * (0.2 if short == "ds-oful" else 0.5)
                curve = Curve("regret_curve", rounds.tolist(), values.tolist())
                params = {"misspecification": misspecified}
                out.append(Result(name, f"bandit_regret/{short}", seed, {"regret": float(values[-1])}, [curve], task_params=params))
    labels = {"linucb": "LinUCB", "lints": "LinTS", "ds-oful": "DS-OFUL", "suplinucb": "SupLinUCB"}
    methods = [method(f"bandit_regret/{s}", labels.get(s, s)) for s in power]
    return Catalogue(tasks=[task(name, "Linear bandit on the sphere", metrics(name))], methods=methods), out


FAMILIES = (quantization, pruning, calibration, robust_training, bandit_regret)


def sample(path: Path, seeds: int = 5) -> Ledger:
    """A writable ledger at `path` with the results of the five families."""
    ledger = open_ledger(str(path), create=True)
    papers = [PaperRow(6, "Pushing the limits of LLM quantization", "quantization", "A", "lm-weights")]
    ledger.write_catalogue(Catalogue(papers=papers))
    for number, make in enumerate(FAMILIES):
        catalogue, results = make(seeds)
        fill(ledger, catalogue, results, f"run-{number}")
    return ledger


def claim_row(definition: Mapping[str, Any], family: str) -> ClaimRow:
    text = canonical(definition)
    return ClaimRow(
        definition["id"],
        definition["paper"],
        family,
        definition["statement"],
        definition["task"],
        definition["metric"],
        definition,
        hashlib.sha256(text.encode()).hexdigest(),
    )


CLAIM: dict[str, Any] = {
    "id": "trades-beats-standard",
    "paper": 6,
    "statement": "TRADES is at least .3 more robust than standard training.",
    "kind": "better",
    "task": "robust_training/digits-linf",
    "metric": "robust_accuracy",
    "a": {"method": "robust_training/trades", "params": {}},
    "b": {"method": "robust_training/standard", "params": {}},
    "margin": 0.3,
    "min_seeds": 5,
}
