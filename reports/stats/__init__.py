"""Statistics shown to people. Plain functions on numpy arrays: no ledger, no rendering.

Conventions: `values` and `differences` are 1-d float arrays with one entry per pair (task, seed); NaN means missing and is dropped by the
functions that say so. Intervals are two-sided at `level` (default .95). Tests are two-sided unless `alternative` is given.
"""
