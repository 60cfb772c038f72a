"""This process's connection to Ray: made beside other work, because a Ray that starts here takes seconds."""

from __future__ import annotations

import logging
import os
import socket
import threading
from pathlib import Path
from typing import Any

from harness.engines.base import EngineSettings
from harness.errors import EngineError

#: How long a head node may take to answer the first knock.
KNOCK_SECONDS = 10.0

#: How long a cluster's answer is waited for when nobody wants it any more: Ray itself tries for minutes.
CLOSE_SECONDS = 1.0

_OBJECT_STORE_BYTES = 256 << 20  #: results are kilobytes


class Connection(threading.Thread):
    """Connects to the cluster at `settings.address`, or to a Ray that it starts here with its files in `folder`.

    The thread lives as long as the connection: Linux ends the processes that Ray starts with the thread that started them. From a thread
    Ray takes no signal for itself, which suits us.
    """

    def __init__(self, ray: Any, settings: EngineSettings, folder: Path) -> None:
        super().__init__(daemon=True)
        self._ray, self._settings, self._folder = ray, settings, folder
        self._error: BaseException | None = None
        self._done, self._over = threading.Event(), threading.Event()
        self._abandoned = False

    def wait(self) -> None:
        """Return when it is connected. Raises EngineError with the reason when it can't be."""
        self._done.wait()
        if isinstance(self._error, EngineError):
            raise self._error
        if self._error is not None:
            where = f"the Ray cluster at {self._settings.address}" if self._settings.address else "a local Ray"
            said = " ".join(str(self._error).split()).rstrip(".")
            raise EngineError(f"Can't reach {where}: {said}; `--engine process` runs without Ray.") from self._error

    def close(self) -> None:
        """Disconnect, and end a Ray that was started here."""
        # A Ray that is being started here is waited for: some of its processes would outlive it otherwise.
        if not self._done.wait(CLOSE_SECONDS if self._settings.address else None):
            self._abandoned = True
            self._over.set()
            return
        if self._error is None:
            self._ray.shutdown()
        self._over.set()
        self.join()

    def run(self) -> None:
        logging.getLogger("ray._private.worker").setLevel(logging.ERROR)  # it would say that it takes no signal
        settings, common = self._settings, {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if settings.address:
                knock(settings.address)
                self._ray.init(address=settings.address, **common)
            else:
                self._ray.init(
                    address="local",  # without it RAY_ADDRESS would count
                    num_cpus=settings.workers or len(os.sched_getaffinity(0)),
                    object_store_memory=_OBJECT_STORE_BYTES,
                    include_dashboard=False,
                    _temp_dir=str(self._folder),
                    **common,
                )
        except BaseException as error:
            self._error = error
        self._done.set()
        self._over.wait()
        if self._abandoned and self._error is None:
            self._ray.shutdown()


def knock(address: str) -> None:
    """Raise EngineError when nothing listens at HOST:PORT: Ray itself would try for minutes, and not say so in words."""
    host, _, port = address.rpartition(":")
    if "://" in address or not port.isdigit():
        return  # "auto": Ray knows at once
    try:
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_SECONDS).close()
    except OSError as error:
        raise EngineError(
            f"Nothing answers at {address} ({error.strerror or error}); --address takes the address of a Ray head node, by default its port"
            " 6379, or auto for the cluster that this machine belongs to."
        ) from None
