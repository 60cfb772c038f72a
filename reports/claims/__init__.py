"""Verdicts on what papers claim. A verdict needs more evidence to refute than to support, names its test, and keeps its trials."""
