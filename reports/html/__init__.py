"""The self-contained HTML report: one file, no request leaves it."""

from reports.html.page import render

__all__ = ["render"]
