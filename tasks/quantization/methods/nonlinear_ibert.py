"""I-BERT's integer GELU, softmax and layer norm."""

from __future__ import annotations

from torch import Tensor

from tasks.quantization import integer_ops
from tasks.quantization.nonlinear import NonlinearScheme, Operation, OperationSite, rounded_output

FINER = 2.0**8  #: inputs are carried to this many times finer integers, because the constants are rounded in units of the input


class IBert(NonlinearScheme, name="nonlinear-ibert", label="I-BERT"):
    """I-BERT (Kim et al. 2021): parabolas for erf and for exp on one octave, an exact integer square root; uniform outputs."""

    def fit(self, site: OperationSite) -> Operation:
        def operation(x: Tensor) -> Tensor:
            q, unit = site.integers(x)
            if site.kind == "gelu":
                return integer_ops.i_gelu(q * FINER, unit / FINER)
            if site.kind == "softmax":
                return integer_ops.i_softmax(q * FINER, unit / FINER)
            roots = integer_ops.integer_sqrt(integer_ops.deviations(q).square().sum(-1, keepdim=True))
            return integer_ops.integer_norm(q, roots) * site.gain + site.bias

        return rounded_output(site, operation)
