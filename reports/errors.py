"""Every error that the room `reports` raises on purpose. Each text is one sentence that names the thing and the remedy."""

from __future__ import annotations


class ReportError(Exception):
    """Base of the errors below."""


class NothingToReport(ReportError):
    """The ledger holds nothing that matches the question; the text names what it does hold."""


class BadQuestion(ReportError):
    """An unknown family, task, metric, column, policy or format; the text names the valid ones."""


class NoSuchParam(BadQuestion):
    """A condition on a param that nothing here has; another family may have it."""


class NotPaired(ReportError):
    """A comparison without common (task, seed) pairs, or an unpaired test where pairs exist."""


class BudgetSpent(ReportError):
    """A submission to a guarded board beyond the budget of the board or of the submitter."""
