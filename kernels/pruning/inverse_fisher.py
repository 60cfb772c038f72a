"""M-FAC's static algorithm: products with, and the diagonal of, the inverse of a damped empirical Fisher matrix that is never formed."""

from __future__ import annotations

import numpy as np

#: Gradients handled together: what they owe to earlier ones is one matrix product, which is bound by arithmetic and not by memory.
PAGE = 32


class InverseFisher:
    """F^-1 for F = damping I + (1/m) sum of g g^T over gradients g, block-diagonal in blocks of consecutive weights.

    Paper 207, "M-FAC: Efficient Matrix-Free Approximations of Second-Order Information". With F_i built from the first i gradients, a
    rank-one update gives F_i^-1 = F_{i-1}^-1 - v_i v_i^T / q_i, where v_i = F_{i-1}^-1 g_i and q_i = m + g_i^T v_i; only the v_i and q_i
    are stored. Precomputation costs O(d m^2), a product or the diagonal O(d m), for d weights; with blocks the same, block by block.

    gradients [m, d]; `block` is the number of weights in a block (the last one may be shorter), None for one block of all d.
    """

    def __init__(self, gradients: np.ndarray, damping: float, block: int | None = None) -> None:
        self.m, self.d = gradients.shape
        self.damping = damping
        self.block = min(block or self.d, self.d)
        blocks = -(-self.d // self.block)
        padded = np.zeros((self.m, blocks * self.block), dtype=np.float64)
        padded[:, : self.d] = gradients
        # [blocks, m, block]: padding has zero gradients, so it touches nothing else
        self._v = np.ascontiguousarray(padded.reshape(self.m, blocks, self.block).transpose(1, 0, 2))
        self._q = np.empty((blocks, self.m))
        self._precompute()

    def _precompute(self) -> None:
        v, q = self._v, self._q
        for start in range(0, self.m, PAGE):
            page = v[:, start : start + PAGE]
            gradients = page.copy()
            page /= self.damping
            if start:
                earlier = v[:, :start]
                page -= (gradients @ earlier.transpose(0, 2, 1) / q[:, None, :start]) @ earlier
            for i in range(page.shape[1]):
                gradient = gradients[:, i, :, None]
                if i:
                    weights = (page[:, :i] @ gradient)[:, :, 0] / q[:, start : start + i]
                    page[:, i] -= (weights[:, None, :] @ page[:, :i])[:, 0]
                q[:, start + i] = self.m + (page[:, None, i] @ gradient)[:, 0, 0]

    def diagonal(self) -> np.ndarray:
        """The diagonal [d] of F^-1."""
        return (1 / self.damping - np.einsum("bmk,bmk,bm->bk", self._v, self._v, 1 / self._q)).ravel()[: self.d]

    def multiply(self, vector: np.ndarray) -> np.ndarray:
        """F^-1 times vector [d]."""
        blocks = np.zeros(self._v.shape[0] * self.block)
        blocks[: self.d] = vector
        blocks = blocks.reshape(-1, self.block)
        weights = np.einsum("bmk,bk->bm", self._v, blocks) / self._q
        return (blocks / self.damping - np.einsum("bm,bmk->bk", weights, self._v)).ravel()[: self.d]
