"""Standardised problems, the methods under test, and the claims made for them. May import `kernels` only."""
