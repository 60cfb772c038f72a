"""Single-step variants, weight perturbations and other losses against closed forms, identities or an independent implementation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from kernels.robust_training.linf import cross_entropy, input_gradient
from tasks.robust_training.methods.amp import Amp
from tasks.robust_training.methods.asam import Asam
from tasks.robust_training.methods.awp import Awp
from tasks.robust_training.methods.comp_sum import CompSum, comp_sum, differences
from tasks.robust_training.methods.fast_at import FastAt
from tasks.robust_training.methods.fgsm import Fgsm
from tasks.robust_training.methods.free_at import FreeAt
from tasks.robust_training.methods.gradalign import GradAlign, misalignment
from tasks.robust_training.methods.mart import Mart, boosted_cross_entropy
from tasks.robust_training.methods.n_fgsm import NFgsm
from tasks.robust_training.methods.pgd_at import PgdAt
from tasks.robust_training.methods.rwp import Rwp
from tasks.robust_training.methods.sam import Sam
from tasks.robust_training.methods.standard import Standard
from tasks.robust_training.models import build
from tasks.robust_training.protocol import Problem
from tests.tasks.robust_training.test_methods import Bowl, LinearLoss, bowl_problem, one_step, problem, trained, weights


def test_fast_at_step_equals_gradient_at_hand_computed_point():
    def objective(model: nn.Module, images: Tensor, labels: Tensor, given: Problem) -> Tensor:
        low, high = (images - 0.1).clamp(0, 1), (images + 0.1).clamp(0, 1)
        x = (low + torch.rand(images.shape, generator=given.noise) * (high - low)).requires_grad_()
        (gradient,) = torch.autograd.grad(functional.cross_entropy(model(x), labels), x)
        return functional.cross_entropy(model(torch.clamp(x + 0.125 * gradient.sign(), low, high).detach()), labels)

    torch.testing.assert_close(trained(FastAt(), n=8), one_step(objective), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(trained(FastAt(), n=24), trained(PgdAt(steps=1, step_size=1.25), n=24))


def test_n_fgsm_without_noise_equals_fgsm():
    torch.testing.assert_close(trained(NFgsm(noise=0.0, clip=True), epochs=2), trained(Fgsm(clean=0.0), epochs=2))


def test_n_fgsm_step_equals_gradient_at_unprojected_point():
    def objective(model: nn.Module, images: Tensor, labels: Tensor, given: Problem) -> Tensor:
        x = (images - 0.2 + 0.4 * torch.rand(images.shape, generator=given.noise)).requires_grad_()
        (gradient,) = torch.autograd.grad(functional.cross_entropy(model(x), labels), x)
        return functional.cross_entropy(model((x + 0.1 * gradient.sign()).detach()), labels)

    torch.testing.assert_close(trained(NFgsm(noise=2.0), n=8), one_step(objective), rtol=1e-5, atol=1e-7)


def test_free_at_equals_hand_rolled_replays():
    given, model = problem(n=16, epochs=4), build("mlp", 16, 3)
    delta, order = torch.zeros(8, 64), torch.Generator().manual_seed(1)
    for _ in range(2):
        for index in torch.randperm(16, generator=order).split(8):
            for _ in range(2):
                x = (given.images[index] + delta).clamp(0, 1).requires_grad_()
                gradients = torch.autograd.grad(functional.cross_entropy(model(x), given.labels[index]), [x, *model.parameters()])
                delta = (delta + 0.1 * gradients[0].sign()).clamp(-0.1, 0.1)
                with torch.no_grad():
                    for parameter, gradient in zip(model.parameters(), gradients[1:], strict=True):
                        parameter -= 0.1 * gradient
    torch.testing.assert_close(trained(FreeAt(replays=2), n=16, epochs=4), weights(model), rtol=1e-4, atol=1e-6)


def test_gradalign_term_is_zero_for_a_linear_loss_and_equals_torch_cosine():
    images = torch.rand(8, 64, dtype=torch.float64)
    error = misalignment(LinearLoss(), images, torch.zeros(8, dtype=torch.int64), 0.3, torch.Generator().manual_seed(0))
    assert abs(float(error.detach())) < 1e-6

    model, x, y = build("mlp", 16, 3), torch.rand(8, 64), torch.arange(8)
    term = misalignment(model, x, y, 0.3, torch.Generator().manual_seed(0))
    moved = x - 0.3 + 0.6 * torch.rand(8, 64, generator=torch.Generator().manual_seed(0))
    a, b = input_gradient(model, x, y), input_gradient(model, moved, y)
    torch.testing.assert_close(term.detach(), 1 - ((a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))).mean())
    torch.testing.assert_close(trained(GradAlign(weight=0.0)), trained(Fgsm(clean=0.0)))


def test_gradalign_step_equals_gradient_of_its_objective():
    def objective(model: nn.Module, images: Tensor, labels: Tensor, given: Problem) -> Tensor:
        a = input_gradient(model, images, labels)
        adversarial = (images + 0.1 * a.sign()).clamp(0, 1)
        moved = (images - 0.1 + 0.2 * torch.rand(images.shape, generator=given.noise)).requires_grad_()
        loss = functional.cross_entropy(model(moved), labels, reduction="sum")
        (b,) = torch.autograd.grad(loss, moved, create_graph=True)
        cosine = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
        return functional.cross_entropy(model(adversarial), labels) + 3 * (1 - cosine).mean()

    torch.testing.assert_close(trained(GradAlign(weight=3.0), n=8), one_step(objective), rtol=1e-4, atol=1e-6)


def test_boosted_cross_entropy_equals_probabilities():
    logits, labels = torch.randn(20, 10), torch.randint(10, (20,))
    p = logits.softmax(1)
    wrong = torch.stack([torch.cat([row[:y], row[y + 1 :]]).max() for row, y in zip(p, labels, strict=True)])
    expected = -p[torch.arange(20), labels].log() - (1 - wrong).log()
    torch.testing.assert_close(boosted_cross_entropy(logits, labels), expected)
    sure = boosted_cross_entropy(torch.tensor([[100.0, 0.0], [0.0, 100.0]]), torch.tensor([0, 0]))
    assert torch.isfinite(sure).all()


def test_mart_step_equals_gradient_of_its_objective():
    def objective(model: nn.Module, images: Tensor, labels: Tensor, given: Problem) -> Tensor:
        low, high = (images - 0.1).clamp(0, 1), (images + 0.1).clamp(0, 1)
        x = (low + torch.rand(images.shape, generator=given.noise) * (high - low)).requires_grad_()
        (gradient,) = torch.autograd.grad(functional.cross_entropy(model(x), labels), x)
        x = torch.clamp(x + 0.05 * gradient.sign(), low, high).detach()
        p, q, rows = model(images).softmax(1), model(x).softmax(1), torch.arange(len(labels))
        wrong = q.scatter(1, labels[:, None], 0.0).amax(1)
        boosted = -q[rows, labels].log() - (1 - wrong).log()
        return (boosted + 5 * (p * (p.log() - q.log())).sum(1) * (1 - p[rows, labels])).mean()

    torch.testing.assert_close(trained(Mart(steps=1, step_size=0.5), n=8), one_step(objective), rtol=1e-4, atol=1e-6)


def test_asam_step_on_a_quadratic_equals_closed_form():
    """w <- w - lr H (w + rho T^2 g / ||T g||) with g = Hw and T = |w| + eta."""
    model = Bowl()
    w, h = weights(model), model.curvature
    t, g = w.abs() + 0.01, h * w
    expected = w - 0.1 * h * (w + 0.5 * t**2 * g / (t * g).norm())
    torch.testing.assert_close(weights(Asam().train(model, bowl_problem())), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2])
def test_amp_step_on_a_quadratic_equals_closed_form(steps: int):
    """Each tensor moves by the gradient and is clipped to the radius by itself; the first has a large gradient, the second a small one."""
    model = Bowl()
    w, v = model.w.detach().clone(), model.v.detach().clone()
    hw, hv = model.curvature[:3], model.curvature[3:]
    dw, dv = torch.zeros(3, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for _ in range(steps):
        dw = dw + 0.1 * hw * (w + dw)
        dv = dv + 0.1 * hv * (v + dv)
        dw, dv = (d * min(1.0, 0.3 / float(d.norm())) for d in (dw, dv))
    assert dw.norm() == pytest.approx(0.3)
    assert dv.norm() < 0.3
    expected = torch.cat([w - 0.1 * hw * (w + dw), v - 0.1 * hv * (v + dv)])
    after = weights(Amp(radius=0.3, rate=0.1, steps=steps).train(model, bowl_problem()))
    torch.testing.assert_close(after, expected, rtol=1e-9, atol=1e-12)


def test_weight_perturbations_of_size_zero_equal_their_base_methods():
    torch.testing.assert_close(trained(Asam(rho=0.0), epochs=2), trained(Standard(), epochs=2))
    torch.testing.assert_close(trained(Amp(radius=0.0), epochs=2), trained(Standard(), epochs=2))
    torch.testing.assert_close(trained(Awp(gamma=0.0, steps=2)), trained(PgdAt(steps=2)))
    torch.testing.assert_close(trained(Rwp(gamma=0.0, steps=2)), trained(PgdAt(steps=2)))
    torch.testing.assert_close(trained(Rwp(threshold=0.0, steps=2)), trained(PgdAt(steps=2)))


def test_awp_perturbs_each_weight_tensor_by_gamma_of_its_norm():
    """Recomputed by autograd alone: the gradient at w_l + gamma ||w_l|| g_l / ||g_l||, biases untouched."""
    given, model = problem(n=8), build("mlp", 16, 3)
    base = [parameter.detach().clone() for parameter in model.parameters()]
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    images, labels = given.images[order], given.labels[order]
    low, high = (images - 0.1).clamp(0, 1), (images + 0.1).clamp(0, 1)
    x = low + torch.rand(images.shape, generator=torch.Generator().manual_seed(2)) * (high - low)
    x = torch.clamp(x + 0.05 * input_gradient(model, x, labels).sign(), low, high)
    gradients = torch.autograd.grad(functional.cross_entropy(model(x), labels), list(model.parameters()))
    with torch.no_grad():
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            if parameter.dim() > 1:
                parameter += 0.05 * parameter.norm() * gradient / gradient.norm()
    outer = torch.autograd.grad(functional.cross_entropy(model(x), labels), list(model.parameters()))
    expected = torch.cat([(old - 0.1 * gradient).flatten() for old, gradient in zip(base, outer, strict=True)])
    torch.testing.assert_close(trained(Awp(gamma=0.05, steps=1, step_size=0.5), n=8), expected, rtol=1e-4, atol=1e-6)


def test_rwp_perturbation_has_one_global_ratio_and_ignores_examples_above_the_threshold():
    model, images, labels = build("mlp", 16, 3), torch.rand(16, 64), torch.randint(10, (16,))
    losses = cross_entropy(model(images), labels).detach()
    threshold = float(losses.median()) + 1e-4
    method = Rwp(threshold=threshold, gamma=0.05, weight_steps=1)
    offset = method.perturbation(model, images, labels)
    tensors = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    size = torch.cat([tensor.detach().flatten() for tensor in tensors]).norm()
    assert torch.cat([offset[tensor].flatten() for tensor in tensors]).norm() == pytest.approx(0.05 * float(size), rel=1e-5)
    assert all(not offset[parameter].any() for parameter in model.parameters() if parameter.dim() < 2)
    below = losses < threshold
    gradients = torch.autograd.grad(functional.cross_entropy(model(images[below]), labels[below]), tensors)
    direction = torch.cat([gradient.flatten() for gradient in gradients])
    found = torch.cat([offset[tensor].flatten() for tensor in tensors])
    torch.testing.assert_close(found / found.norm(), direction / direction.norm(), rtol=1e-4, atol=1e-6)
    alone = method.perturbation(model, images[below], labels[below])
    torch.testing.assert_close(torch.cat([alone[tensor].flatten() for tensor in tensors]), found, rtol=1e-4, atol=1e-6)
    assert all(not value.any() for value in Rwp(threshold=0.0).perturbation(model, images, labels).values())


def test_comp_sum_losses_equal_their_closed_forms():
    logits, labels = torch.randn(20, 10, dtype=torch.float64), torch.randint(10, (20,))
    gaps, p = differences(logits, labels), logits.softmax(1)[torch.arange(20), labels]
    torch.testing.assert_close(comp_sum(gaps, labels, 1.0), cross_entropy(logits, labels))
    torch.testing.assert_close(comp_sum(gaps, labels, 2.0), 1 - p)
    torch.testing.assert_close(comp_sum(gaps, labels, 1.5), (1 - p**0.5) / 0.5)
    torch.testing.assert_close(comp_sum(gaps, labels, 0.0), 1 / p - 1)
    torch.testing.assert_close(comp_sum(gaps, labels, 1 + 1e-9), comp_sum(gaps, labels, 1.0))
    assert comp_sum(torch.tensor([[0.0, math.inf]]), torch.tensor([0]), 1.0).item() == 0.0


def test_comp_sum_step_equals_gradient_of_its_objective():
    def objective(model: nn.Module, images: Tensor, labels: Tensor, given: Problem) -> Tensor:
        def d(x: Tensor) -> Tensor:
            z = model(x)
            return z[torch.arange(len(z)), labels][:, None] - z

        low, high = (images - 0.1).clamp(0, 1), (images + 0.1).clamp(0, 1)
        x = torch.clamp(images + 0.001 * torch.randn(images.shape, generator=given.noise), low, high).requires_grad_()
        distance = (d(x) - d(images).detach()).square().sum()
        x = torch.clamp(x + 0.05 * torch.autograd.grad(distance, x)[0].sign(), low, high).detach()
        others = torch.ones(len(labels), 10).scatter(1, labels[:, None], 0.0)
        total = (others * (-d(images) / 0.5).exp()).sum(1)
        phi = ((1 + total) ** (1 - 1.5) - 1) / (1 - 1.5)
        return (phi + 0.7 * (d(x) - d(images)).norm(dim=1)).mean()

    method = CompSum(tau=1.5, rho=0.5, nu=0.7, steps=1, step_size=0.5)
    torch.testing.assert_close(trained(method, n=8), one_step(objective), rtol=1e-4, atol=1e-6)


def test_comp_sum_without_smooth_term_equals_standard_training():
    torch.testing.assert_close(trained(CompSum(nu=0.0), epochs=2), trained(Standard(), epochs=2), rtol=1e-4, atol=1e-6)


def flat_gradient(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    gradients = torch.autograd.grad(functional.cross_entropy(model(images), labels), list(model.parameters()))
    return torch.cat([gradient.flatten() for gradient in gradients])


def test_sam_step_equals_pytorch_gradient_at_shifted_weights():
    given, model = problem(n=8), build("mlp", 16, 3)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    images, labels = given.images[order], given.labels[order]
    base, gradient = weights(model), flat_gradient(model, images, labels)
    nn.utils.vector_to_parameters(base + 0.2 * gradient / gradient.norm(), model.parameters())
    torch.testing.assert_close(trained(Sam(rho=0.2), n=8), base - 0.1 * flat_gradient(model, images, labels), rtol=1e-4, atol=1e-6)
