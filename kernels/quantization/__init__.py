"""Numerical cores of the quantization family: grids, transforms, searches. Each has a plain reference beside the fast path."""
