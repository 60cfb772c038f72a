"""For each non-linear operation the integer scheme that suits it."""

from __future__ import annotations

from tasks.quantization.methods.nonlinear_fqvit import FqVit
from tasks.quantization.methods.nonlinear_ibert import IBert
from tasks.quantization.methods.nonlinear_ivit import IVit
from tasks.quantization.nonlinear import NonlinearScheme, Operation, OperationSite
from tasks.quantization.w_and_a import sqnr


class Mixed(NonlinearScheme, name="nonlinear-mixed", label="Mixed", paper=226):
    """Paper 226, "Mixed Non-linear Quantization for Vision Transformers": per operation, I-BERT, FQ-ViT or I-ViT, whichever loses least
    signal-to-quantisation-noise ratio.

    The ratio before the operation is the same for all three, so the least loss is the highest ratio after it, on calibration images.
    """

    def fit(self, site: OperationSite) -> Operation:
        exact = site.exact(site.x)
        fitted = [scheme.fit(site) for scheme in (IBert(), FqVit(), IVit())]
        return max(fitted, key=lambda operation: sqnr(exact, operation(site.x)))
