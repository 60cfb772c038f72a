"""Numerical cores of pruning."""
