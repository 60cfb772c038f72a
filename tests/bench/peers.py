"""No-op trials with three metrics each under other tools, as durable results: run as a script in an environment that has them.

`python peers.py PEER N FOLDER` prints JSON: {"rate": trials per second} (from the first result on where start-up could be told apart),
or {"missing": sentence}. Nothing of Assay is imported.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

METRICS = {"score": 0.5, "pid": 1.0, "draw": 0.25}


def optuna_rdb(trials: int, folder: Path) -> float:
    return _optuna(trials, f"sqlite:///{folder / 'optuna.db'}")


def optuna_journal(trials: int, folder: Path) -> float:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return _optuna(trials, JournalStorage(JournalFileBackend(str(folder / "journal.log"))))


def _optuna(trials: int, storage: object) -> float:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(storage=storage, sampler=sampler, directions=["maximize"] * 3)  # type: ignore[arg-type]

    def objective(trial: object) -> tuple[float, ...]:
        return tuple(METRICS.values())

    study.optimize(objective, n_trials=2)
    began = time.perf_counter()
    study.optimize(objective, n_trials=trials)
    rate = trials / (time.perf_counter() - began)
    assert len(study.trials) == trials + 2
    return rate


def mlflow(trials: int, folder: Path) -> float:
    import mlflow as flow

    logging.disable(logging.WARNING)
    flow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    flow.set_experiment("noop")

    def one() -> None:
        with flow.start_run():
            flow.log_metrics(METRICS)

    one()
    began = time.perf_counter()
    for _ in range(trials):
        one()
    return trials / (time.perf_counter() - began)


def ray_tune(trials: int, folder: Path) -> float:
    import ray
    from ray import tune

    class Noop(tune.Trainable):
        def step(self) -> dict[str, object]:
            return {**METRICS, "done": True}

        def reset_config(self, new_config: dict[str, object]) -> bool:
            return True

        def save_checkpoint(self, checkpoint_dir: str) -> None: ...

        def load_checkpoint(self, checkpoint: object) -> None: ...

    class Clock(tune.Callback):
        def __init__(self) -> None:
            self.times: list[float] = []

        def on_trial_complete(self, iteration: int, trials: list[object], trial: object, **info: object) -> None:
            self.times.append(time.perf_counter())

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    clock = Clock()
    tuner = tune.Tuner(
        Noop,
        tune_config=tune.TuneConfig(num_samples=trials, reuse_actors=True, metric="score", mode="max"),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0, callbacks=[clock]),
    )
    tuner.fit()
    ray.shutdown()
    return (len(clock.times) - 1) / (clock.times[-1] - clock.times[0])


OBJECTIVE = """
from benchopt import BaseObjective
class Objective(BaseObjective):
    name = "noop"
    sampling_strategy = "run_once"
    def set_data(self): pass
    def get_one_result(self): return {}
    def evaluate_result(self): return {"value": 0.5, "pid": 1.0, "draw": 0.25}
    def get_objective(self): return {}
"""
DATASET = """
from benchopt import BaseDataset
class Dataset(BaseDataset):
    name = "nothing"
    def get_data(self): return {}
"""
SOLVER = """
from benchopt import BaseSolver
class Solver(BaseSolver):
    name = "noop"
    sampling_strategy = "run_once"
    parameters = {"index": list(range(TRIALS))}
    def set_objective(self): pass
    def run(self, _): pass
    def get_result(self): return {}
"""


def benchopt(trials: int, folder: Path) -> float:
    from benchopt.benchmark import Benchmark
    from benchopt.runner import run_benchmark

    for name, text in {"objective": OBJECTIVE, "datasets/nothing": DATASET, "solvers/noop": SOLVER}.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace("TRIALS", str(trials)))
    began = time.perf_counter()
    run_benchmark(Benchmark(folder), n_repetitions=1, plot_result=False, display=False, show_progress=False)
    rate = trials / (time.perf_counter() - began)
    assert list((folder / "outputs").glob("*.parquet"))
    return rate


def joblib(trials: int, folder: Path) -> float:
    """With SQLite as it comes: a rollback journal and an fsync at each commit."""
    return _joblib(trials, folder, "")


def joblib_wal(trials: int, folder: Path) -> float:
    """With the ledger's own settings: what is committed survives the process, and the machine up to the last checkpoint."""
    return _joblib(trials, folder, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;")


def _joblib(trials: int, folder: Path, settings: str) -> float:
    from joblib import Parallel, delayed

    connection = sqlite3.connect(folder / "joblib.db", isolation_level=None)
    connection.executescript(f"{settings} CREATE TABLE result (trial INTEGER, metric TEXT, value REAL);")
    times: list[float] = []
    with Parallel(n_jobs=2, return_as="generator_unordered", batch_size=1) as parallel:
        for key in parallel(delayed(_noop)(number) for number in range(trials)):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO result VALUES (?, ?, ?)", [(key, *metric) for metric in METRICS.items()])
            connection.execute("COMMIT")
            times.append(time.perf_counter())
    assert connection.execute("SELECT COUNT(*) FROM result").fetchone() == (3 * trials,)
    return (trials - 1) / (times[-1] - times[0])


def _noop(number: int) -> int:
    return number


PEERS: dict[str, Callable[[int, Path], float]] = {
    "optuna_rdb": optuna_rdb,
    "optuna_journal": optuna_journal,
    "mlflow": mlflow,
    "ray_tune": ray_tune,
    "benchopt": benchopt,
    "joblib": joblib,
    "joblib_wal": joblib_wal,
}

if __name__ == "__main__":
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "MLFLOW_DISABLE_TELEMETRY": "1",
        "GIT_PYTHON_REFRESH": "quiet",
    }
    peer, number, place = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]).resolve()
    try:
        answer: dict[str, object] = {"rate": PEERS[peer](number, place)}
    except ImportError as error:
        answer = {"missing": f"{peer} can't be imported: {error}"}
    print(json.dumps(answer))
