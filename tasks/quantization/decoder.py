"""Decoding in a process of its own: a method's encoder and decoder share no memory, so what is stored is all that passes between them."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, Pipe
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

from tasks.errors import InvalidResult

P = ParamSpec("P")
R = TypeVar("R")

#: What may raise in the main thread at any time: a time limit, a supervisor's wish to stop, Ctrl-C.
INTERRUPTS = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)


class _ChildTraceback(Exception):
    """The cause of an exception that was raised in the decoder; its text is the traceback there."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


@contextmanager
def decoder(decode: Callable[P, R], where: str, forget: Iterable[Tensor | np.ndarray] = ()) -> Iterator[Callable[P, R]]:
    """While the context is open, calls of the yielded function run `decode` in a child process that was forked when the context was opened.

    Open it before the method's encoder runs. `forget` is what `decode` must not find in the memory it inherits, by way of the stack or the
    garbage collector: in the child these tensors become empty and these arrays zero. Arguments, results and exceptions are pickled;
    `decode` itself need not be picklable. A child that dies raises InvalidResult, whose sentence begins with `where`. The child is gone
    when the context is left, however it is left.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # else the child would print what waits in the buffer once more
    ours, theirs = Pipe()
    secrets = list(forget)
    pid = 0
    try:
        unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)  # an interrupt between fork and assignment would lose the pid
        try:
            with warnings.catch_warnings():
                # Python 3.12 warns when other threads exist. The child takes none of their locks: it decodes on its only thread.
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
            if pid == 0:
                _live(decode, secrets, ours, theirs, unblocked)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        theirs.close()

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                ours.send_bytes(pickle.dumps((args, kwargs), protocol=5))
                result, error, trace = pickle.loads(ours.recv_bytes())
            except (EOFError, ConnectionError) as lost:
                raise InvalidResult(f"{where}: the process that decodes what was stored died.") from lost
            if error is not None:
                raise error from _ChildTraceback(trace)
            return result

        yield call
    finally:
        ours.close()
        theirs.close()
        if pid:
            _end(pid)


def _end(pid: int) -> None:
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTS)
    try:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):  # somebody else's handler of SIGCHLD was faster
            os.waitpid(pid, 0)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _forget(secrets: list[Tensor | np.ndarray]) -> None:
    for secret in secrets:
        if isinstance(secret, Tensor):
            secret.data = secret.data.new_empty(0)  # the memory itself is shared with the parent, or with a file
        else:
            secret.setflags(write=True)
            secret[...] = 0
    secrets.clear()


def _live(
    decode: Callable[..., Any],
    secrets: list[Tensor | np.ndarray],
    ours: Connection,
    theirs: Connection,
    unblocked: set[int | signal.Signals],
) -> None:
    """The child's life; it never returns."""
    try:
        _forget(secrets)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        ours.close()  # so that the pipe ends when the parent dies
        torch.set_num_threads(1)  # thread pools don't survive a fork
        while True:
            args, kwargs = pickle.loads(theirs.recv_bytes())
            theirs.send_bytes(_answer(decode, args, kwargs))
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
    except (EOFError, ConnectionError):
        pass
    finally:
        os._exit(0)


def _answer(decode: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """Pickled (result, exception, traceback)."""
    try:
        return pickle.dumps((decode(*args, **kwargs), None, ""), protocol=5)
    except BaseException as error:
        trace = traceback.format_exc()
        try:
            answer = pickle.dumps((None, error, trace))
            pickle.loads(answer)  # some exceptions pickle, but can't be made again
        except Exception:
            answer = pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}"), trace))
        return answer
