"""Residual vector quantization as it is trained inside a codec."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tasks.quantization.lloyd import assign, lloyd
from tasks.quantization.methods.vq_residual import decode_residual, encode_residual
from tasks.quantization.vq import Code, Tables, VectorCodec


class ResidualAverages(VectorCodec, name="vq-residual-ema", label="Residual VQ (EMA)", paper=105):
    """Residual vector quantization of paper 105, "High Fidelity Neural Audio Compression", trained as there: all stages together, batch by
    batch, codewords as exponential moving averages of the vectors that chose them; k-means on the first batch as a start; codewords whose
    moving usage falls below `dead` are replaced by vectors of the batch; a random number of stages per batch (`dropout`)."""

    stages: int = Field(2, ge=1, le=16)
    codes: int = Field(16, ge=1, le=4096, description="codewords per stage")
    decay: float = Field(0.99, gt=0, lt=1)
    dead: float = Field(2.0, ge=0, description="moving usage per batch below which a codeword is replaced")
    batch: int = Field(2048, ge=1)
    steps: int = Field(600, ge=1)
    dropout: bool = Field(False, description="train a random number of stages per batch, as for several bandwidths at once")

    def fit(self, x: np.ndarray, rng: np.random.Generator) -> Code:
        first = x[rng.permutation(len(x))[: self.batch]]
        books = np.empty((self.stages, self.codes, x.shape[1]), dtype=np.float32)
        for stage in range(self.stages):
            books[stage] = lloyd(first, self.codes, 50, rng)
            first = first - books[stage][assign(first, books[stage])]
        usage = np.full((self.stages, self.codes), float(min(self.batch, len(x))) / self.codes)
        sums = books * usage[..., None]
        for _ in range(self.steps):
            rest = x[rng.integers(len(x), size=self.batch)]
            active = int(rng.integers(1, self.stages + 1)) if self.dropout else self.stages
            for stage in range(active):
                index = assign(rest, books[stage])
                counts = np.bincount(index, minlength=self.codes)
                total = np.stack([np.bincount(index, column, minlength=self.codes) for column in rest.T], 1)
                usage[stage] = self.decay * usage[stage] + (1 - self.decay) * counts
                sums[stage] = self.decay * sums[stage] + (1 - self.decay) * total
                dead = usage[stage] < self.dead
                if dead.any():
                    chosen = rest[rng.integers(len(rest), size=int(dead.sum()))]
                    usage[stage][dead], sums[stage][dead] = self.dead, self.dead * chosen
                before = books[stage][index]
                books[stage] = sums[stage] / usage[stage][:, None]
                rest = rest - before
        return Code(lambda vectors: encode_residual(vectors, books), (self.codes,) * self.stages, {"books": books})

    @staticmethod
    def decode(tables: Tables, indices: np.ndarray) -> np.ndarray:
        return decode_residual(tables["books"], indices)
