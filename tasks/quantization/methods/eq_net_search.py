"""EQ-Net's search: which quantization for which layer of the elastic network?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from tasks.quantization.elastic import BITS, Mode, Supernet, random_modes, trained_supernet
from tasks.quantization.networks import TRAINING_IMAGES, NetworkProblem, NetworkTrainer, QuantisedNetwork

Genes = tuple[int, ...]  #: per elastic layer: places of weight and activation bits in BITS, granularity and symmetry as 0 or 1
CHOICES = (len(BITS), len(BITS), 2, 2)
SLACK = 0.5  #: a candidate's bits lie at most this far below the target
HIDDEN, EPOCHS = 400, 100  #: of the predictor, as in the paper


class SearchedElasticNetwork(NetworkTrainer, name="eq-net-search", label="EQ-Net, searched", paper=116, knowledge=(TRAINING_IMAGES,)):
    """Paper 116, "EQ-Net: Elastic Quantization Neural Networks": the supernet of `eq-net`, then a network that predicts how good a
    sub-network is from its configuration, fitted on `samples` measured ones, and a genetic search through its predictions for the best
    configuration of at most `average` bits (mean over weights and activations of the elastic layers).

    The paper measures accuracy on a validation set; digits leave none, so the cross-entropy on the training images is measured.
    """

    average: float = Field(3.0, ge=2, le=8, description="most bits on average")
    samples: int = Field(150, ge=8, description="sub-networks measured for the predictor")
    population: int = Field(50, ge=4, description="of the genetic search")
    generations: int = Field(40, ge=1)
    rate: float = Field(1e-3, gt=0, description="Adam's learning rate of the weights, falling along a cosine")

    def train(self, problem: NetworkProblem) -> QuantisedNetwork:
        supernet = trained_supernet(problem, self.rate, True)
        generator, layers = problem.generator, len(supernet.elastic)
        measured = [genes_of(random_modes(supernet, generator)) for _ in range(self.samples)]
        losses = torch.tensor([self._loss(supernet, genes, problem) for genes in measured])
        predict = fitted_predictor(measured, losses, generator)
        best = self.search(predict, layers, generator)
        return supernet.deployed(modes_of(best, list(supernet.elastic)), problem.images)

    @torch.no_grad()
    def _loss(self, supernet: Supernet, genes: Genes, problem: NetworkProblem) -> float:
        supernet.switch(modes_of(genes, list(supernet.elastic)))
        supernet.recalibrate(problem.images)
        return float(F.cross_entropy(supernet.network(problem.images), problem.labels))

    def search(self, predict: Predictor, layers: int, generator: torch.Generator) -> Genes:
        """The configuration with the least predicted loss that a genetic algorithm finds: a quarter are parents, half of the children
        mutate a parent (each gene with probability 0.1), half cross two."""
        population: list[Genes] = [tuple([0, 0, 1, 1] * layers)]  # the fewest bits fit any target
        while len(population) < self.population:
            self._add(population, random_genes(layers, generator))
        for _ in range(self.generations):
            scores = predict(population)
            parents = [population[place] for place in scores.argsort()[: max(2, self.population // 4)].tolist()]
            children = list(parents)
            while len(children) < self.population:
                first, second = (parents[place] for place in torch.randint(len(parents), (2,), generator=generator).tolist())
                draws = torch.rand(len(first), generator=generator).tolist()
                if len(children) % 2:
                    fresh = random_genes(layers, generator)
                    child = tuple(new if draw < 0.1 else old for old, new, draw in zip(first, fresh, draws, strict=True))
                else:
                    child = tuple(a if draw < 0.5 else b for a, b, draw in zip(first, second, draws, strict=True))
                self._add(children, child)
            population = children
        return population[int(predict(population).argmin())]

    def _add(self, population: list[Genes], genes: Genes) -> None:
        """Take `genes` in, brought below the target by narrowing its widest parts."""
        fitted = list(genes)
        while average_bits(fitted) > self.average:
            widest = max((place for place in range(len(fitted)) if place % 4 < 2), key=lambda place: fitted[place])
            fitted[widest] -= 1
        if average_bits(fitted) > self.average - SLACK or self.average - SLACK < BITS[0]:
            population.append(tuple(fitted))


class Predictor:
    """Predicted loss of configurations."""

    def __init__(self, network: nn.Module, mean: Tensor, deviation: Tensor) -> None:
        self.network, self.mean, self.deviation = network, mean, deviation

    @torch.no_grad()
    def __call__(self, candidates: Sequence[Genes]) -> Tensor:
        return self.network(one_hot(candidates))[:, 0] * self.deviation + self.mean


def fitted_predictor(measured: Sequence[Genes], losses: Tensor, generator: torch.Generator) -> Predictor:
    """A multilayer perceptron of three hidden layers from one-hot configurations to the logarithm of the loss, by Adam."""
    x, y = one_hot(measured), losses.clamp(min=1e-6).log()
    mean, deviation = y.mean(), y.std().clamp(min=1e-6)
    sizes = [x.shape[1], HIDDEN, HIDDEN, HIDDEN, 1]
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layer = nn.Linear(fan_in, fan_out)
        layer.weight.data = torch.randn(layer.weight.shape, generator=generator) * (2 / fan_in) ** 0.5
        layer.bias.data.zero_()
        layers += [layer, nn.ReLU()]
    network = nn.Sequential(*layers[:-1])
    adam = torch.optim.Adam(network.parameters(), lr=4e-4, weight_decay=1e-5)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x), generator=generator).split(32):
            loss = F.mse_loss(network(x[rows])[:, 0], (y[rows] - mean) / deviation)
            adam.zero_grad()
            loss.backward()
            adam.step()
    return Predictor(network, mean, deviation)


def one_hot(candidates: Sequence[Genes]) -> Tensor:
    """[candidates, 18 per layer] float32."""
    genes = torch.tensor(candidates)
    columns = [F.one_hot(genes[:, place], CHOICES[place % 4]) for place in range(genes.shape[1])]
    return torch.cat(columns, 1).float()


def random_genes(layers: int, generator: torch.Generator) -> Genes:
    return tuple(int(torch.randint(count, (1,), generator=generator)) for _ in range(layers) for count in CHOICES)


def average_bits(genes: Sequence[int]) -> float:
    """Mean bits of weights and activations."""
    bits = [BITS[gene] for place, gene in enumerate(genes) if place % 4 < 2]
    return sum(bits) / len(bits)


def genes_of(modes: dict[str, Mode]) -> Genes:
    parts = [(BITS.index(m.weight_bits), BITS.index(m.activation_bits), int(m.per == "channel"), int(m.symmetric)) for m in modes.values()]
    return tuple(gene for part in parts for gene in part)


def modes_of(genes: Sequence[int], names: Sequence[str]) -> dict[str, Mode]:
    """Inverse of `genes_of`."""
    parts = [genes[place : place + 4] for place in range(0, len(genes), 4)]
    return {
        name: Mode(BITS[weight], BITS[activation], "channel" if per else "layer", bool(symmetric))
        for name, (weight, activation, per, symmetric) in zip(names, parts, strict=True)
    }
