"""Numerical cores of post-hoc calibration."""
