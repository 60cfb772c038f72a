"""Each training method against closed forms, identities or an independent implementation."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from kernels.robust_training.linf import Ball, fgsm, input_gradient
from tasks.robust_training.methods.elle import Elle, linearity_error
from tasks.robust_training.methods.elle_a import AdaptiveWeight, ElleA
from tasks.robust_training.methods.fgsm import Fgsm
from tasks.robust_training.methods.pgd_at import PgdAt
from tasks.robust_training.methods.sam import Sam
from tasks.robust_training.methods.standard import Standard
from tasks.robust_training.methods.trades import Trades, divergence
from tasks.robust_training.models import build
from tasks.robust_training.protocol import Problem, Recipe, Trainer
from tasks.robust_training.training import batches, learning_rate, make_optimizer, mode
from tasks.robust_training.weights import Shift, frozen_statistics


def problem(n: int = 24, epsilon: float = 0.1, epochs: int = 1, batch_size: int = 8, **recipe) -> Problem:
    generator = torch.Generator().manual_seed(7)
    settings = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"} | recipe
    return Problem(
        images=torch.rand(n, 64, generator=generator),
        labels=torch.randint(10, (n,), generator=generator),
        epsilon=epsilon,
        recipe=Recipe(epochs, batch_size, **settings),
        order=torch.Generator().manual_seed(1),
        noise=torch.Generator().manual_seed(2),
    )


def weights(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def trained(method: Trainer, **settings) -> Tensor:
    return weights(method.train(build("mlp", 16, 3), problem(**settings)))


def one_step(loss, lr: float = 0.1, n: int = 8) -> Tensor:
    """Weights after one plain SGD step on `loss(model, images, labels)` over all data, computed by autograd alone."""
    model, given = build("mlp", 16, 3), problem(n=n)
    images, labels = next(batches(given))
    gradients = torch.autograd.grad(loss(model, images, labels, given), list(model.parameters()))
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    return weights(model) - lr * flat


def test_standard_equals_a_plain_torch_loop():
    given, model = problem(epochs=3, momentum=0.9, weight_decay=1e-3), build("mlp", 16, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-3)
    for _ in range(3):
        for index in torch.randperm(24, generator=given.order).split(8):
            optimizer.zero_grad()
            functional.cross_entropy(model(given.images[index]), given.labels[index]).backward()
            optimizer.step()
    assert torch.equal(trained(Standard(), epochs=3, momentum=0.9, weight_decay=1e-3), weights(model))


def test_cosine_schedule_equals_torch_scheduler():
    model = nn.Linear(1, 1)
    recipe = Recipe(1, 1, "sgd", 0.3, 0.0, 0.0, "cosine")
    optimizer = make_optimizer(model, recipe)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    for step in range(20):
        assert learning_rate(recipe, step / 20) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("clean", [0.0, 0.3, 1.0])
def test_fgsm_step_equals_gradient_of_the_mixed_objective(clean: float):
    def mixed(model: nn.Module, images: Tensor, labels: Tensor, given: Problem) -> Tensor:
        sign = input_gradient(model, images, labels).sign()
        adversarial = (images + given.epsilon * sign).clamp(0, 1)
        return clean * functional.cross_entropy(model(images), labels) + (1 - clean) * functional.cross_entropy(model(adversarial), labels)

    torch.testing.assert_close(trained(Fgsm(clean=clean), n=8), one_step(mixed), rtol=1e-5, atol=1e-7)


def test_fgsm_with_only_the_clean_loss_equals_standard_training():
    torch.testing.assert_close(trained(Fgsm(clean=1.0), epochs=2), trained(Standard(), epochs=2))


def test_pgd_at_step_equals_gradient_at_hand_rolled_pgd_point():
    def at_pgd(model: nn.Module, images: Tensor, labels: Tensor, given: Problem) -> Tensor:
        low, high = (images - 0.1).clamp(0, 1), (images + 0.1).clamp(0, 1)
        x = low + torch.rand(images.shape, generator=given.noise) * (high - low)
        for _ in range(3):
            x = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(functional.cross_entropy(model(x), labels), x)
            x = torch.clamp(x + 0.05 * gradient.sign(), low, high)
        return functional.cross_entropy(model(x.detach()), labels)

    torch.testing.assert_close(trained(PgdAt(steps=3, step_size=0.5), n=8), one_step(at_pgd), rtol=1e-5, atol=1e-7)


def test_trades_divergence_equals_torch_kl():
    a, b = torch.randn(20, 10), torch.randn(20, 10)
    expected = functional.kl_div(b.log_softmax(1), a.softmax(1), reduction="none").sum(1)
    torch.testing.assert_close(divergence(a, b), expected)
    torch.testing.assert_close(divergence(a, a), torch.zeros(20))


def test_trades_without_divergence_equals_standard_training():
    torch.testing.assert_close(trained(Trades(beta=0.0), epochs=2), trained(Standard(), epochs=2))


def test_trades_step_equals_gradient_of_torch_kl_objective():
    def objective(model: nn.Module, images: Tensor, labels: Tensor, given: Problem) -> Tensor:
        low, high = (images - 0.1).clamp(0, 1), (images + 0.1).clamp(0, 1)
        x = torch.clamp(images + 0.001 * torch.randn(images.shape, generator=given.noise), low, high)
        target = model(images).softmax(1)
        for _ in range(2):
            x = x.detach().requires_grad_()
            divergence = functional.kl_div(model(x).log_softmax(1), target.detach(), reduction="sum")
            x = torch.clamp(x + 0.05 * torch.autograd.grad(divergence, x)[0].sign(), low, high)
        robust = functional.kl_div(model(x.detach()).log_softmax(1), target, reduction="batchmean")
        return functional.cross_entropy(model(images), labels) + 6 * robust

    torch.testing.assert_close(trained(Trades(steps=2, step_size=0.5), n=8), one_step(objective), rtol=1e-4, atol=1e-6)


class LinearLoss(nn.Module):
    """Two logits whose cross-entropy for label 0 is exactly u.x + 30 (up to float64 rounding), so linear in x."""

    def __init__(self) -> None:
        super().__init__()
        self.u = nn.Parameter(torch.linspace(-1, 1, 64, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        loss = x @ self.u + 40
        return torch.stack([-loss, torch.log1p(-torch.exp(-loss))], 1)


def test_elle_term_is_zero_for_a_linear_loss():
    images = torch.rand(16, 64, dtype=torch.float64)
    error = linearity_error(LinearLoss(), images, torch.zeros(16, dtype=torch.int64), 0.3, torch.Generator().manual_seed(0))
    assert float(error.detach()) < 1e-20


class QuadraticLoss(nn.Module):
    """Two logits whose cross-entropy for label 0 is exactly x'Qx + 60."""

    def __init__(self) -> None:
        super().__init__()
        q = torch.randn(64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) / 64
        self.q = nn.Parameter((q + q.T) / 2)

    def forward(self, x: Tensor) -> Tensor:
        loss = ((x @ self.q) * x).sum(1) + 60
        return torch.stack([-loss, torch.log1p(-torch.exp(-loss))], 1)


def test_elle_term_of_a_quadratic_loss_equals_closed_form():
    """l((1-t)a + tb) - (1-t)l(a) - t l(b) = -t (1-t) (a-b)'Q(a-b) for l = x'Qx."""
    model, images = QuadraticLoss(), torch.rand(16, 64, dtype=torch.float64)
    error = linearity_error(model, images, torch.zeros(16, dtype=torch.int64), 0.3, torch.Generator().manual_seed(5))
    again = torch.Generator().manual_seed(5)  # the draws, in the documented order: a, b, t
    a, b = (images - 0.3 + 0.6 * torch.rand(16, 64, dtype=torch.float64, generator=again) for _ in range(2))
    t = torch.rand(16, dtype=torch.float64, generator=again)
    expected = (-t * (1 - t) * (((a - b) @ model.q) * (a - b)).sum(1)).square().mean()
    torch.testing.assert_close(error, expected, rtol=1e-6, atol=1e-12)
    assert expected > 1e-6


def test_elle_without_weight_equals_fgsm_training_unclipped():
    def unclipped(model: nn.Module, images: Tensor, labels: Tensor, given: Problem) -> Tensor:
        return functional.cross_entropy(model(fgsm(input_gradient(model, images, labels), images, given.epsilon)), labels)

    torch.testing.assert_close(trained(Elle(weight=0.0), n=8), one_step(unclipped), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(trained(Elle(weight=0.0, clip=True), epochs=2), trained(Fgsm(clean=0.0), epochs=2))


def test_elle_a_schedule_equals_its_definition():
    errors = [1.0, 1.1, 5.0, 1.0, 9.0, 1.2, 1.1, 40.0, 1.0]
    weight, seen, value = AdaptiveWeight(4000.0, 0.99, 2.0), [], 0.0
    expected = []
    for index, error in enumerate(errors):
        past = errors[:index]
        jump = len(past) > 2 and error > statistics.fmean(past) + 2 * statistics.pstdev(past)
        value = 4000.0 if jump else 0.99 * value
        expected.append(value)
        weight.observe(error)
        seen.append(weight.value)
    assert seen == pytest.approx(expected)
    assert seen[:4] == [0.0] * 4  # three errors of history are needed, and 1.0 is no outlier
    assert seen[4] == 4000.0
    assert seen[5] == pytest.approx(3960.0)


def test_elle_a_equals_unclipped_fgsm_training_until_the_first_jump():
    torch.testing.assert_close(trained(ElleA(), n=24), trained(Elle(weight=0.0), n=24))


def test_elle_a_equals_hand_rolled_loop_through_jumps_and_decay():
    def double() -> tuple[Problem, nn.Module]:  # signs of gradients make rounding errors grow
        given = problem(n=24, epochs=4)
        return dataclasses.replace(given, images=given.images.double()), build("mlp", 16, 3).double()

    given, model = double()
    order, errors, value, used = torch.Generator().manual_seed(1), [], 0.0, []
    for _ in range(4):
        for index in torch.randperm(24, generator=order).split(8):
            images, labels = given.images[index], given.labels[index]
            adversarial = images + 0.1 * input_gradient(model, images, labels).sign()
            error = linearity_error(model, images, labels, 0.1, given.noise)
            loss = functional.cross_entropy(model(adversarial), labels) + value * error
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            used.append(value)
            jump = len(errors) > 2 and float(error.detach()) > statistics.fmean(errors) + 0.5 * statistics.pstdev(errors)
            value = 1e5 if jump else 0.9 * value
            errors.append(float(error.detach()))
            with torch.no_grad():
                for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                    parameter -= 0.1 * gradient
    assert 1e5 in used
    assert any(0 < value < 1e5 for value in used)
    adaptive, plain = double(), double()
    after = weights(ElleA(peak=1e5, decay=0.9, deviations=0.5).train(adaptive[1], adaptive[0]))
    torch.testing.assert_close(after, weights(model), rtol=1e-4, atol=1e-6)
    assert (after - weights(Elle(weight=0.0).train(plain[1], plain[0]))).abs().max() > 0.05


class Bowl(nn.Module):
    """Cross-entropy that is quadratic in the weights: label 0's loss is w'diag(curvature)w / 2 + 60, whatever the image."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
        self.v = nn.Parameter(torch.tensor([0.25], dtype=torch.float64))
        self.curvature = torch.tensor([1.0, 3.0, 10.0, 2.0], dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        loss = (self.curvature * torch.cat([self.w, self.v]).square()).sum() / 2 + 60
        return torch.stack([-loss, torch.log1p(-torch.exp(-loss))]).expand(len(x), 2)


def bowl_problem(n: int = 8) -> Problem:
    given = problem(n=n)
    given.labels.zero_()
    return given


def test_sam_step_on_a_quadratic_equals_closed_form():
    """w <- w - lr H (w + rho Hw / ||Hw||), one norm over all parameters together."""
    model = Bowl()
    w, h = weights(model), model.curvature
    expected = w - 0.1 * h * (w + 0.05 * h * w / (h * w).norm())
    torch.testing.assert_close(weights(Sam(rho=0.05).train(model, bowl_problem())), expected, rtol=1e-9, atol=1e-12)


def test_sam_with_radius_zero_equals_standard_training():
    torch.testing.assert_close(trained(Sam(rho=0.0), epochs=2), trained(Standard(), epochs=2))


def test_sam_keeps_running_averages_of_the_first_pass_only():
    given, model, reference = problem(n=8), build("cnn-bn", 32, 0), build("cnn-bn", 32, 0)
    Sam(rho=0.5).train(model, given)
    reference.train()
    images, _ = next(batches(problem(n=8)))
    reference(images)
    for name, buffer in reference.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            torch.testing.assert_close(model.get_buffer(name), buffer)


def test_shift_restores_the_exact_weights_even_after_an_error():
    model = build("mlp", 16, 0)
    before = weights(model)
    with contextlib.suppress(RuntimeError), Shift(model, lambda parameter: torch.full_like(parameter, 1e-3)):
        assert not torch.equal(weights(model), before)
        raise RuntimeError
    assert torch.equal(weights(model), before)


def test_modes_and_statistics_are_restored():
    model = build("cnn-bn", 32, 0).train()
    with mode(model, "eval"):
        assert not model.training
    assert model.training
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers() if "running" in name}
    with frozen_statistics(model):
        model(torch.rand(8, 64))
    assert all(torch.equal(model.get_buffer(name), value) for name, value in buffers.items())
    model(torch.rand(8, 64))
    assert not all(torch.equal(model.get_buffer(name), value) for name, value in buffers.items())


def test_attack_in_evaluation_mode_leaves_running_averages_to_the_outer_pass():
    images, _ = next(batches(problem(n=8)))
    reference = build("cnn-bn", 32, 0).train()
    with mode(reference, "eval"):
        gradient = input_gradient(reference, images, next(batches(problem(n=8)))[1])
    reference(fgsm(gradient, images, 0.1, Ball.around(images, 0.1)))
    model = Fgsm(clean=0.0, attack_mode="eval").train(build("cnn-bn", 32, 0), problem(n=8))
    for name, buffer in reference.named_buffers():
        torch.testing.assert_close(model.get_buffer(name), buffer)
