from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from kernels.robust_training.linf import Ball
from tasks.robust_training.protocol import Problem, Trainer
from tasks.robust_training.training import batches, learning_rate, make_optimizer


class FreeAt(Trainer, name="free-at", label="Free AT"):
    """Free adversarial training (Shafahi et al., "Adversarial Training for Free!", 2019).

    Every batch is replayed `replays` times, and each backward pass serves twice: it updates the weights and moves the perturbation by
    epsilon along the sign of its gradient. The perturbation is carried over from batch to batch. There are epochs / `replays` passes over
    the data, so that the number of gradients equals that of standard training.
    """

    replays: int = Field(4, ge=1, le=32, description="updates per batch (m)")

    def train(self, model: nn.Module, problem: Problem) -> nn.Module:
        recipe = problem.recipe
        optimizer = make_optimizer(model, recipe)
        passes = max(1, round(recipe.epochs / self.replays))
        updates, done = passes * math.ceil(len(problem.labels) / recipe.batch_size) * self.replays, 0
        delta = torch.zeros_like(problem.images[: recipe.batch_size])
        model.train()
        for _ in range(passes):
            for images, labels in batches(problem):
                ball = Ball.around(images, problem.epsilon)
                for _ in range(self.replays):
                    for group in optimizer.param_groups:
                        group["lr"] = learning_rate(recipe, done / updates)
                    gradient = self.update(model, optimizer, ball.project(images + delta[: len(images)]), labels)
                    delta[: len(images)] += problem.epsilon * gradient.sign()
                    delta.clamp_(-problem.epsilon, problem.epsilon)
                    done += 1
        return model

    def update(self, model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> Tensor:
        """One step on the weights; returns the gradient with respect to `images` of the same backward pass."""
        images = images.detach().requires_grad_()
        optimizer.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        assert images.grad is not None
        return images.grad
