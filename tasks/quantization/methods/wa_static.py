"""Round weights and activations to nearest on grids from calibration images."""

from __future__ import annotations

from pydantic import Field

from tasks.quantization import affine
from tasks.quantization.networks import NetworkProblem, NetworkQuantizer, QuantisedNetwork, Ranges, calibrated


class StaticRanges(NetworkQuantizer, name="wa-static", label="Static ranges"):
    """Weights to nearest per output channel; a range per activation tensor from the calibration images (Krishnamoorthi 2018).

    `minmax` keeps every value, `percentile` 99.9 % on each side, `mse` what minimises the squared error; `mse` also searches the weights'.
    """

    bits: int = Field(8, ge=2, le=8, description="of a weight")
    ranges: Ranges = "minmax"
    symmetric: bool = Field(False, description="weights on a symmetric grid without zero points")

    def quantize_network(self, problem: NetworkProblem) -> QuantisedNetwork:
        network = problem.network.folded()
        weights = {}
        for name, layer in network.matrices().items():
            rows = affine.split(layer.weight.detach().flatten(1), "channel", 0)
            grid = affine.fit(rows, self.bits, self.symmetric, self.ranges == "mse")
            weights[name] = grid.packed(grid.encode(rows))
        return QuantisedNetwork(weights, calibrated(network, problem.calibration, problem.activation_bits, self.ranges), network.rest())
