"""Exact operations with rounded results."""

from __future__ import annotations

from tasks.quantization.nonlinear import NonlinearScheme, Operation, OperationSite, rounded_output


class ExactOperations(NonlinearScheme, name="nonlinear-exact", label="Exact, rounded output"):
    """Every operation in float32, its output rounded uniformly: what integer schemes could reach at these bits."""

    def fit(self, site: OperationSite) -> Operation:
        return rounded_output(site, site.exact)
