"""stdout or stderr may be a pipe whose reader has left (`assay ... | head`): that must neither end a run nor print a traceback."""

from __future__ import annotations

import os
import select


def abandoned() -> list[int]:
    """Which of stdout (1) and stderr (2) are pipes that nobody reads any more."""
    watched = select.poll()
    for descriptor in (1, 2):
        watched.register(descriptor, 0)
    return [descriptor for descriptor, event in watched.poll(0) if event & select.POLLERR]


def silence(descriptors: list[int]) -> None:
    """From now on, what is written there goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
