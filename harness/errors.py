"""Every error that the room `harness` raises on purpose, and the exit codes of the command line."""

from __future__ import annotations


class HarnessError(Exception):
    """Base of the errors below; the text is one sentence that names the thing, the place and the remedy."""

    exit_code = 1


class SuiteError(HarnessError):
    """A suite file that can't be read or does not mean anything."""

    exit_code = 2


class NotInLedger(HarnessError):
    """A trial or a run that the ledger does not hold, or that a few characters do not name."""

    exit_code = 2


class EngineError(HarnessError):
    """An engine that can't start or can't satisfy a resource shape."""

    exit_code = 3


class ClusterError(HarnessError):
    """A Ray cluster that can't be reached, refuses, or does not fit what is sent to it."""

    exit_code = 3


class FixtureError(HarnessError):
    """A fixture that can't be built or stored, or whose files are damaged."""

    exit_code = 3


#: Exit codes: 0 all trials of the plan are done; 1 something of ours failed; 2 bad input; 3 the engine or the ledger could not be used;
#: 4 a regression (assay gate); 5 some trials failed and the rest is done; 6 the budget of a guarded board is spent; 7 a run's budget ended
#: and trials are left (run the same command to continue); 130 interrupted (likewise); 141 whoever read stdout has left (as after SIGPIPE; a
#: run goes on instead, and ends with its own code).
EXIT_BAD_INPUT, EXIT_UNAVAILABLE, EXIT_REGRESSION, EXIT_FAILED_TRIALS, EXIT_BUDGET_SPENT = 2, 3, 4, 5, 6
EXIT_TRIALS_LEFT, EXIT_INTERRUPTED, EXIT_PIPE = 7, 130, 141
