"""L-infinity attacks against hand-computed steps, closed forms and invariants."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from kernels.robust_training.apgd import apgd, checkpoints, targeted_dlr
from kernels.robust_training.linf import Ball, cross_entropy, fgsm, input_gradient, margin, pgd, pgd_breaks, value_and_gradient
from kernels.robust_training.square import square_breaks, square_side


def linear(weights: list[list[float]], bias: list[float]) -> nn.Linear:
    layer = nn.Linear(len(weights[0]), len(weights))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weights))
        layer.bias.copy_(torch.tensor(bias))
    return layer


def small_net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).eval()


def test_fgsm_step_equals_hand_computed_one():
    # Two classes, z = (x1 - 2 x2, 0): the loss of class 0 grows with -x1 and with x2.
    model = linear([[1.0, -2.0], [0.0, 0.0]], [0.0, 0.0])
    images, labels = torch.tensor([[0.5, 0.95]]), torch.tensor([0])
    gradient = input_gradient(model, images, labels)
    p1 = 1 / (1 + math.exp(0.5 - 1.9))
    torch.testing.assert_close(gradient, torch.tensor([[-p1, 2 * p1]]))
    moved = fgsm(gradient, images, 0.1, Ball.around(images, 0.1))
    torch.testing.assert_close(moved, torch.tensor([[0.4, 1.0]]))  # the second pixel stops at the edge of the box
    torch.testing.assert_close(fgsm(gradient, images, 0.1), torch.tensor([[0.4, 1.05]]))


def test_pgd_steps_equal_hand_computed_ones():
    model = linear([[1.0, -2.0], [0.0, 0.0]], [0.0, 0.0])
    images, labels = torch.tensor([[0.5, 0.5]]), torch.tensor([0])
    ball = Ball.around(images, 0.1)
    start = torch.tensor([[0.58, 0.42]])
    after = [pgd(lambda x: input_gradient(model, x, labels), start, ball, steps, 0.05) for steps in (1, 2, 4)]
    expected = [[[0.53, 0.47]], [[0.48, 0.52]], [[0.40, 0.60]]]
    for one, wanted in zip(after, expected, strict=True):
        torch.testing.assert_close(one, torch.tensor(wanted))


def test_worst_case_of_logistic_regression_equals_closed_form():
    """Paper 136, section 5: the worst perturbation lowers the margin of a linear model by epsilon times the L1 norm of its weights."""
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(20, generator=generator)
    model = linear([w.tolist(), [0.0] * 20], [0.1, 0.0])
    images = 0.3 + 0.4 * torch.rand(50, 20, generator=generator)
    labels, epsilon = torch.randint(2, (50,), generator=generator), 0.1
    sign = 1 - 2 * labels  # +1 for class 0, whose logit is w.x + b
    expected = functional.softplus(-(sign * (images @ w + 0.1) - epsilon * w.abs().sum()))
    ball = Ball.around(images, epsilon)
    by_fgsm = fgsm(input_gradient(model, images, labels), images, epsilon, ball)
    by_pgd = pgd(lambda x: input_gradient(model, x, labels), ball.uniform(generator), ball, 20, epsilon / 4)
    for adversarial in (by_fgsm, by_pgd):
        torch.testing.assert_close(cross_entropy(model(adversarial), labels).detach(), expected)


def test_input_gradient_equals_central_differences():
    model = small_net().double()
    images, labels = torch.rand(3, 64, dtype=torch.float64), torch.tensor([1, 2, 3])
    gradient = input_gradient(model, images, labels)
    for pixel in (0, 13, 63):
        step = torch.zeros(64, dtype=torch.float64)
        step[pixel] = 1e-6
        difference = (cross_entropy(model(images + step), labels) - cross_entropy(model(images - step), labels)) / 2e-6
        torch.testing.assert_close(gradient[:, pixel], difference.detach(), rtol=1e-5, atol=1e-8)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_margin_equals_loop_over_classes():
    logits, labels = torch.randn(30, 10), torch.randint(10, (30,))
    expected = [max(float(z[j]) for j in range(10) if j != y) - float(z[y]) for z, y in zip(logits, labels, strict=True)]
    torch.testing.assert_close(margin(logits, labels), torch.tensor(expected))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.001, 0.5))
def test_projection_is_the_nearest_point_idempotent_and_inside(seed: int, epsilon: float):
    generator = torch.Generator().manual_seed(seed)
    centre, point = torch.rand(4, 9, generator=generator), 3 * torch.randn(4, 9, generator=generator)
    ball = Ball.around(centre, epsilon)
    inside = ball.project(point)
    assert ((inside >= 0) & (inside <= 1)).all()
    assert ((inside - centre).abs() <= epsilon + 1e-6).all()
    assert torch.equal(ball.project(inside), inside)
    assert torch.equal(ball.project(centre), centre)
    other = ball.uniform(generator)
    assert torch.equal(ball.project(other), other)
    assert ((point - inside).abs() <= (point - other).abs() + 1e-6).all()


def test_pgd_breaks_exactly_what_a_linear_margin_allows():
    """A two-class linear margin falls by epsilon ||w||_1 (no pixel is near the edge): broken if and only if that is enough."""
    generator = torch.Generator().manual_seed(1)
    w = torch.randn(20, generator=generator)
    model = linear([w.tolist(), [0.0] * 20], [0.0, 0.0])
    images, epsilon = 0.3 + 0.4 * torch.rand(400, 20, generator=generator), 0.02
    labels = (images @ w < 0).long()
    expected = (images @ w).abs() < epsilon * w.abs().sum()
    assert 0.1 < expected.double().mean() < 0.9
    ball = Ball.around(images, epsilon)
    for loss in (cross_entropy, margin):
        assert torch.equal(pgd_breaks(model, images, labels, ball, 20, epsilon / 8, loss), expected)


def test_dropping_broken_examples_changes_no_other_verdict():
    model, generator = small_net(), torch.Generator().manual_seed(2)
    images = torch.rand(60, 64, generator=generator)
    labels = model(images).argmax(1)
    ball = Ball.around(images, 0.05)
    together = pgd_breaks(model, images, labels, ball, 20, 0.005)
    alone = [pgd_breaks(model, images[i : i + 1], labels[i : i + 1], ball.only(slice(i, i + 1)), 20, 0.005) for i in range(60)]
    assert 5 < together.sum() < 55
    assert torch.equal(together, torch.cat(alone))


def test_margin_attack_breaks_what_cross_entropy_cannot_when_logits_are_huge():
    """Scaling the logits makes the gradient of cross-entropy underflow to zero; the margin and the DLR loss don't notice."""
    model, generator = small_net(), torch.Generator().manual_seed(3)
    images = torch.rand(100, 64, generator=generator)
    labels = model(images).argmax(1)
    masked = nn.Sequential(model, linear((1e5 * torch.eye(10)).tolist(), [0.0] * 10))
    ball = Ball.around(images, 0.05)
    plain, fooled = (pgd_breaks(net, images, labels, ball, 20, 0.005).sum() for net in (model, masked))
    honest = pgd_breaks(masked, images, labels, ball, 20, 0.005, margin).sum()
    likely = model(images).scatter(1, labels[:, None], -torch.inf).argmax(1)
    dlr = apgd(masked, images, labels, ball, 0.05, 20, targeted_dlr(likely))[1].sum()
    black_box = square_breaks(masked, images, labels, 0.05, 200, generator).sum()
    assert fooled < 0.3 * plain
    assert min(honest, dlr) >= 0.9 * plain
    assert black_box > fooled


def test_targeted_dlr_equals_formula_and_ignores_scale():
    logits = torch.tensor([[3.0, 1.0, 0.5, -1.0, 2.0]])
    loss = targeted_dlr(torch.tensor([1]))
    expected = torch.tensor([-(3.0 - 1.0) / (3.0 - (1.0 + 0.5) / 2)])
    torch.testing.assert_close(loss(logits, torch.tensor([0])), expected)
    torch.testing.assert_close(loss(1000 * logits, torch.tensor([0])), expected)


def test_apgd_checkpoints_equal_published_ones():
    """Croce and Hein 2020: shares 0, 0.22, 0.41, 0.57, 0.70, 0.80, 0.87, 0.93, 0.99 of 100 steps."""
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]


def test_apgd_reaches_the_corner_of_a_linear_loss_and_never_loses_its_best_point():
    model, generator = small_net(), torch.Generator().manual_seed(4)
    images, labels = torch.rand(50, 64, generator=generator), torch.randint(10, (50,), generator=generator)
    ball = Ball.around(images, 0.1)
    best, broken = apgd(model, ball.uniform(generator), labels, ball, 0.1, 40, cross_entropy)
    assert torch.equal(ball.project(best), best)
    assert (broken | (model(best).argmax(1) == labels)).all()
    by_pgd = pgd(lambda x: input_gradient(model, x, labels), images, ball, 40, 0.01)
    values = [value_and_gradient(model, x, labels, cross_entropy)[0].mean() for x in (images, by_pgd, best)]
    assert values[0] < values[1]
    assert values[2] > 0.99 * values[1]

    line = linear([[1.0, -2.0, 0.5], [0.0] * 3], [0.0, 0.0])
    centre = torch.full((1, 3), 0.5)
    corner, _ = apgd(line, centre, torch.tensor([0]), Ball.around(centre, 0.2), 0.2, 10, cross_entropy)
    torch.testing.assert_close(corner, torch.tensor([[0.3, 0.7, 0.3]]))


class Bump(nn.Module):
    """Class 1 wins only within 0.05 of x = 0.6, where its logit 1 - ((x - 0.6) / 0.05)^2 is above that of class 0, which is zero."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([0 * x, 1 - ((x - 0.6) / 0.05) ** 2], 1)


def test_an_example_that_any_iterate_breaks_counts_as_broken():
    images, labels = torch.tensor([[0.58], [0.40]]), torch.tensor([0, 0])
    ball = Ball.around(images, 0.3)
    last = pgd(lambda x: input_gradient(Bump(), x, labels), images, ball, 1, 0.2)
    assert Bump()(last).argmax(1).tolist() == [0, 1]  # the first example leaves the bump again, the second reaches it
    assert pgd_breaks(Bump(), images, labels, ball, 1, 0.2).tolist() == [True, True]
    assert pgd_breaks(Bump(), images, labels, ball, 0, 0.2).tolist() == [True, False]


def published_apgd(f, grad, start: float, low: float, high: float, epsilon: float, steps: int, marks: list[int]) -> float:
    """Algorithm 1 of Croce and Hein 2020 for one pixel, line by line in plain floats: the largest loss found."""

    def project(x: float) -> float:
        return min(max(x, low), high)

    def sign(g: float) -> float:
        return (g > 0) - (g < 0)

    eta, x0 = 2 * epsilon, start
    x1 = project(x0 + eta * sign(grad(x0)))
    f_max, x_max = max((f(x0), x0), (f(x1), x1))
    values, etas, maxima, marks = [f(x0), f(x1)], [eta], [f(x0)], [0, *marks]
    previous, current = x0, x1
    rises = [f(x1) > f(x0)]
    for k in range(1, steps + 1):
        if k in marks:  # x_k is known: conditions 1 and 2 look at what happened since the last mark
            last = marks[marks.index(k) - 1]
            few = sum(rises[last:k]) < 0.75 * (k - last)
            same = len(etas) > 1 and etas[-1] == etas[-2] and maxima[-1] == f_max
            etas.append(eta)
            maxima.append(f_max)
            if few or same:
                eta /= 2
                etas[-1] = eta
                current, values[-1] = x_max, f_max
        if k == steps:
            break
        z = project(current + eta * sign(grad(current)))
        following = project(current + 0.75 * (z - current) + 0.25 * (current - previous))
        previous, current = current, following
        rises.append(f(current) > values[-1])
        values.append(f(current))
        f_max, x_max = max((f_max, x_max), (f(current), current))
    return f_max


@pytest.mark.parametrize("steps", [10, 20, 50])
def test_apgd_equals_published_algorithm_on_wavy_losses(steps: int):
    generator = torch.Generator().manual_seed(6)
    a, b, c = (torch.rand(40, generator=generator, dtype=torch.float64) for _ in range(3))

    class Waves(nn.Module):
        """One pixel per example; the loss of example i is a sum of two sines with its own phases."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            value = torch.sin(25 * x[:, 0] + 6 * a) + (0.5 + b) * torch.sin(60 * x[:, 0] + 6 * c)
            return torch.stack([-value, 0 * value], 1)

    def loss(logits: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return -logits[:, 0]

    start = torch.full((40, 1), 0.5, dtype=torch.float64)
    ball = Ball.around(start, 0.3)
    best, _ = apgd(Waves(), start, torch.zeros(40, dtype=torch.int64), ball, 0.3, steps, loss)
    found = loss(Waves()(best), best)
    for i in range(40):
        pa, pb, pc = (float(v[i]) for v in (a, b, c))
        expected = published_apgd(
            lambda x: math.sin(25 * x + 6 * pa) + (0.5 + pb) * math.sin(60 * x + 6 * pc),  # noqa: B023 (used at once)
            lambda x: 25 * math.cos(25 * x + 6 * pa) + 60 * (0.5 + pb) * math.cos(60 * x + 6 * pc),  # noqa: B023
            0.5,
            0.2,
            0.8,
            0.3,
            steps,
            checkpoints(steps),
        )
        assert float(found[i]) == pytest.approx(expected, rel=1e-9), i


def test_square_side_halves_its_area_with_the_budget():
    assert square_side(1, 200, 8) == 5  # 0.8 * 64 / 2 = 25.6 pixels after the first, immediate halving
    sides = [square_side(step, 200, 8) for step in range(1, 201)]
    assert sides == sorted(sides, reverse=True)
    assert sides[-1] == 1


def test_square_attack_stays_in_the_ball_and_breaks_less_than_gradients_do():
    model, generator = small_net(), torch.Generator().manual_seed(5)
    images = torch.rand(100, 64, generator=generator)
    labels = model(images).argmax(1)
    seen: list[torch.Tensor] = []
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    broken = square_breaks(model, images, labels, 0.05, 100, generator)
    ball = Ball.around(images, 0.05)
    assert all(torch.equal(ball.project(x), x) for x in seen)
    white_box = pgd_breaks(model, images, labels, ball, 50, 0.005)
    assert 0 < broken.sum() <= white_box.sum()
    with pytest.raises(RuntimeError):
        square_breaks(model, images[:, :50], labels, 0.05, 1, generator)
