"""L^2: learn what to prune and how coarsely to round with the coded size in the loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from tasks.quantization.methods.size_uniform import UniformCoded
from tasks.quantization.model_codec import Scale, Shapes, codable, fit_to, read, write
from tasks.quantization.size import Compressible, ModelCompressor

#: Once the model is small enough, size counts this much less (the reference's factor).
RELIEF = 0.01


class JointSize(ModelCompressor, name="size-l2", label="L2 (joint)", paper=95):
    """Paper 95, "Lossy and Lossless (L^2) Post-training Model Size Compression".

    Every weight tensor has a dead zone (pruning) and a step (quantization). They are learned together by gradient descent on the distance
    of the logits to the float32 model's plus the size that a differentiable counter expects of the entropy coder; then the weights follow
    with the grid fixed, through the rounding, under the same loss plus cross-entropy; `rounds` times. At last all grids are scaled by one
    factor so that the real bytes meet `ratio`. Differences from the paper: it starts from the uniform solution of equal size, distils from
    logits only, and takes fewer steps.
    """

    ratio: float = Field(10.0, gt=1, description="bytes of float32 over bytes stored, met from above")
    rounds: int = Field(2, ge=1)
    grid_steps: int = Field(60, ge=0, description="gradient steps on dead zones and steps per round")
    weight_steps: int = Field(120, ge=0, description="gradient steps on the weights per round; 0 leaves them as they are")
    grid_rate: float = Field(0.005, gt=0, description="Adam's rate for the logarithms of dead zone and step")
    weight_rate: float = Field(3e-5, gt=0)
    size_weight: float = Field(1.0, ge=0, description="weight of expected bits over the target's bits while above the target")

    def compress(self, problem: Compressible) -> bytes:
        limit = int(problem.float32_bytes() / self.ratio)
        teacher, tensors = problem.tensors(), problem.tensors()
        start = UniformCoded(ratio=self.ratio, unit="range")
        factor = fit_to(limit, lambda f: len(write(tensors, self._uniform(start, tensors, f))))
        # Logarithms of dead zone and step.
        grid = {name: torch.tensor([each.edge, each.step]).log() for name, each in self._uniform(start, tensors, factor).items()}
        overhead = 8 * len(write(tensors, self._scales(grid))) - float(sum(counted_bits(_places(tensors[n], grid[n])) for n in grid))
        for _ in range(self.rounds):
            self._learn_grid(problem, teacher, tensors, grid, 8 * limit - overhead)
            self._learn_weights(problem, teacher, tensors, grid, 8 * limit - overhead)
        scales = self._scales(grid)

        def coded(factor: float) -> bytes:
            return write(tensors, {name: scale.times(factor) for name, scale in scales.items()})

        return coded(fit_to(limit, lambda factor: len(coded(factor))))

    @staticmethod
    def _uniform(start: UniformCoded, tensors: dict[str, Tensor], factor: float) -> dict[str, Scale]:
        units = {name: factor * start.unit_of(tensor) for name, tensor in tensors.items() if codable(tensor)}
        return {name: Scale(unit / 2, unit) for name, unit in units.items()}

    @staticmethod
    def _scales(grid: dict[str, Tensor]) -> dict[str, Scale]:
        return {name: Scale(*values.detach().exp().tolist()) for name, values in grid.items()}

    def _learn_grid(
        self, problem: Compressible, teacher: dict[str, Tensor], tensors: dict[str, Tensor], grid: dict[str, Tensor], target: float
    ) -> None:
        learned = {name: values.requires_grad_(True) for name, values in grid.items()}
        adam = torch.optim.Adam(learned.values(), lr=self.grid_rate)
        for _ in range(self.grid_steps):
            inputs, _ = problem.batch()
            places = {name: _places(tensors[name], values) for name, values in learned.items()}
            rebuilt = {name: _through_rounding(places[name], values) for name, values in learned.items()}
            bits = torch.stack([counted_bits(each) for each in places.values()]).sum()
            weight = self.size_weight * (1.0 if float(bits.detach()) > target else RELIEF)
            loss = _distance(problem, teacher, inputs, problem.outputs({**tensors, **rebuilt}, inputs)) + weight * bits / target
            adam.zero_grad()
            loss.backward()
            adam.step()
        for values in learned.values():
            values.requires_grad_(False)

    def _learn_weights(
        self, problem: Compressible, teacher: dict[str, Tensor], tensors: dict[str, Tensor], grid: dict[str, Tensor], target: float
    ) -> None:
        for tensor in tensors.values():
            tensor.requires_grad_(True)
        adam = torch.optim.Adam(tensors.values(), lr=self.weight_rate)
        for step in range(self.weight_steps):
            adam.param_groups[0]["lr"] = self.weight_rate * (1 - step / self.weight_steps)
            inputs, labels = problem.batch()
            rebuilt = {name: _through_rounding(_places(tensors[name], values), values) for name, values in grid.items()}
            outputs = problem.outputs({**tensors, **rebuilt}, inputs)
            bits = torch.stack([counted_bits(_places(tensors[name], values)) for name, values in grid.items()]).sum()
            weight = self.size_weight * (1.0 if float(bits.detach()) > target else RELIEF)
            loss = _distance(problem, teacher, inputs, outputs) + F.cross_entropy(outputs, labels) + weight * bits / target
            adam.zero_grad()
            loss.backward()
            adam.step()
        for tensor in tensors.values():
            tensor.requires_grad_(False)

    @staticmethod
    def decompress(data: bytes, shapes: Shapes) -> dict[str, Tensor]:
        return read(data, shapes)


def _distance(problem: Compressible, teacher: dict[str, Tensor], inputs: Tensor, outputs: Tensor) -> Tensor:
    """Squared distance of logits [n, classes] to the teacher's on the same inputs, over the teacher's variance."""
    with torch.no_grad():
        truth = problem.outputs(teacher, inputs)
    return F.mse_loss(outputs, truth) / truth.var()


def _places(weight: Tensor, values: Tensor) -> Tensor:
    """Where weights lie on the code axis before rounding: the dead zone is (-1/2, 1/2), beyond it one step is one code."""
    edge, step = values.exp()
    size = weight.abs()
    return weight.sign() * torch.where(size <= edge, size / (2 * edge), 0.5 + (size - edge) / step)


def _through_rounding(places: Tensor, values: Tensor) -> Tensor:
    """Weights from rounded places; the gradient passes through the rounding to the places and reaches the grid directly, too."""
    edge, step = values.exp()
    codes = places + (torch.round(places) - places).detach()
    beyond = codes.sign() * (edge + (codes.abs() - 0.5) * step)
    return torch.where(codes.abs() < 0.5, codes * 2 * edge, beyond)


def counted_bits(places: Tensor, width: float = 0.5) -> Tensor:
    """Differentiable counter: bits of an ideal static coder for the rounded `places`, each spread over (-width, width) by a cosine kernel.

    As the width goes to 0 this is the empirical entropy of the codes times their number. width <= 1/2, so that a place touches at most two
    codes.
    """
    flat = places.reshape(-1)
    nearest = torch.round(flat.detach())
    offset = flat - nearest  # in [-1/2, 1/2]
    side = torch.where(offset >= 0, 1.0, -1.0)
    # Share that lies beyond the boundary towards the neighbour: the kernel's tail beyond 1/2 - |offset|.
    distance = ((0.5 - offset.abs()) / width).clamp(max=1)
    beyond = 0.5 * (1 - distance - torch.sin(torch.pi * distance) / torch.pi)
    low = int(nearest.min()) - 1
    size = int(nearest.max()) - low + 2
    index = (nearest - low).long()
    mass = flat.new_zeros(size).index_add(0, index, 1 - beyond).index_add(0, index + side.long(), beyond)
    mass = mass[mass > 0]
    return -(mass * (mass / len(flat)).log2()).sum()
