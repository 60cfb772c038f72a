"""The task `robust_training/digits-linf`."""

from __future__ import annotations

import copy
import time
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from kernels.robust_training.sharpness import largest_eigenvalue
from tasks.api import Context, Measured, Method, Metric, Task
from tasks.datasets import digits_fingerprint
from tasks.errors import InvalidResult
from tasks.robust_training.data import TRAIN, load
from tasks.robust_training.evaluation import attack
from tasks.robust_training.models import Architecture, build
from tasks.robust_training.protocol import Problem, Recipe, Trainer

#: What each preset sets. "quick" is the fields' own defaults: a trial takes seconds.
PRESETS: dict[str, dict[str, Any]] = {"quick": {}, "standard": {"epochs": 60, "width": 256}}


class DigitsLinf(
    Task, family="robust_training", name="digits-linf", label="Digits, L-infinity", accepts=(Trainer,), seconds=2.0, timeout=600.0
):
    """Classify 8x8 digits whose pixels (in [0, 1]) an adversary may each change by up to epsilon.

    Data: scikit-learn's digits, stratified, a new split per seed (1,203 training and 594 test images). The method trains a network that the
    task initialised; the task then attacks a copy of it on the test images with FGSM, PGD-20, PGD-50 with five restarts, PGD-50 on the
    margin, targeted APGD and a black-box search. The method sees neither the test images nor the attacks' seed.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("robust_accuracy", "fraction", "higher", "test examples that no attack of the suite breaks", primary=True, low=0, high=1),
        Metric("clean_accuracy", "fraction", "higher", "accuracy on the unperturbed test images", low=0, high=1),
        Metric("fgsm_accuracy", "fraction", "higher", "accuracy under one gradient sign step of length epsilon", low=0, high=1),
        Metric("pgd20_accuracy", "fraction", "higher", "accuracy under PGD-20 (steps of epsilon / 8, one random start)", low=0, high=1),
        Metric("pgd50_accuracy", "fraction", "higher", "accuracy under FGSM, PGD-20 and PGD-50 with five restarts together", low=0, high=1),
        Metric(
            "masking_gap",
            "fraction",
            "lower",
            "PGD-20 accuracy minus robust accuracy: above 0.05, gradients are masked and PGD-20 alone misleads",
            low=0,
            high=1,
        ),
        Metric("sharpness", "1", "lower", "largest Hessian eigenvalue of the loss on the clean training images, labels as trained on"),
        Metric("train_seconds", "s", "lower", "wall time of the method's training", low=0),
    )
    check_params: ClassVar[dict[str, Any]] = {"epochs": 2, "n_train": 120, "width": 32}

    preset: Literal["quick", "standard"] = Field("quick", description="sets epochs and width unless they are given")
    epsilon: float = Field(0.1, gt=0, le=0.5, description="radius of the L-infinity ball, in pixel units")
    architecture: Architecture = "mlp"
    width: int = Field(128, ge=16, le=4096, description="hidden units (mlp); a cnn has width/16 and width/8 channels")
    n_train: int = Field(TRAIN, ge=20, le=TRAIN, description="training images; fewer than all are a stratified subset")
    label_noise: float = Field(0.0, ge=0, le=0.9, description="share of training labels replaced by another class; test labels stay right")
    epochs: int = Field(25, ge=1, le=10_000)
    batch_size: int = Field(64, ge=2)
    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: float = Field(0.1, gt=0, description="initial learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="of SGD")
    weight_decay: float = Field(5e-4, ge=0)
    schedule: Literal["constant", "cosine"] = "cosine"

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, given: Any) -> Any:
        return PRESETS.get(str(given.get("preset")), {}) | given if isinstance(given, dict) else given

    def data_fingerprint(self) -> str:
        return digits_fingerprint()

    def run(self, method: Method, seed: int, context: Context) -> Measured:
        assert isinstance(method, Trainer)
        streams, device = self.streams(seed), torch.device(context.device)
        data = load(self.n_train, self.label_noise, streams.numpy("data"))
        fresh = build(self.architecture, self.width, streams.integer("init")).to(device)
        problem = Problem(
            images=torch.tensor(data.train_images, device=device),
            labels=torch.tensor(data.train_labels, device=device),
            epsilon=self.epsilon,
            recipe=Recipe(self.epochs, self.batch_size, self.optimizer, self.lr, self.momentum, self.weight_decay, self.schedule),
            order=streams.torch("order"),
            noise=streams.torch("method"),
        )
        # A process's first optimizer imports torch's compiler, which takes seconds: have it done before the method's clock starts.
        torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
        started = time.perf_counter()
        trained = method.train(copy.deepcopy(fresh), problem)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - started
        images, labels = torch.tensor(data.test_images, device=device), torch.tensor(data.test_labels, device=device)
        model = accepted(trained, fresh)
        if not torch.isfinite(model(images)).all():
            raise InvalidResult("The trained network's logits overflow on test images.")
        verdict = attack(model, images, labels, self.epsilon, streams.torch("eval"))
        return Measured(
            {
                "robust_accuracy": verdict.robust,
                "clean_accuracy": verdict.clean,
                "fgsm_accuracy": verdict.fgsm,
                "pgd20_accuracy": verdict.pgd20,
                "pgd50_accuracy": verdict.pgd50,
                "masking_gap": verdict.pgd20 - verdict.robust,
                "sharpness": largest_eigenvalue(model, problem.images, problem.labels, streams.torch("eval")),
                "train_seconds": seconds,
            },
            info={"first_broken": verdict.first_broken},
        )


def accepted(trained: object, fresh: nn.Module) -> nn.Module:
    """`fresh` in evaluation mode with the weights of `trained`, or InvalidResult if those don't fit the architecture or aren't finite."""
    if not isinstance(trained, nn.Module):
        raise InvalidResult(f"The method returned {type(trained).__name__} instead of a torch module.")
    state, wanted = trained.state_dict(), fresh.state_dict()
    if state.keys() != wanted.keys():
        difference = ", ".join(sorted(state.keys() ^ wanted.keys()))
        raise InvalidResult(f"The returned network is not the architecture asked for: its state dictionary differs in {difference}.")
    for name, value in state.items():
        if value.shape != wanted[name].shape or value.dtype != wanted[name].dtype:
            raise InvalidResult(
                f"The returned network's {name} is {value.dtype} {tuple(value.shape)} instead of "
                f"{wanted[name].dtype} {tuple(wanted[name].shape)}."
            )
        if not torch.isfinite(value).all():
            raise InvalidResult(f"The returned network's {name} has values that are not finite: training diverged.")
    fresh.load_state_dict(state)
    return fresh.eval()
