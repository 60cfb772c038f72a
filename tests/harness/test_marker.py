"""The shared memory by which a supervisor knows what its worker executes."""

from __future__ import annotations

import os
import signal
import time

from harness.engines.marker import Marker


def test_a_reader_never_sees_a_unit_with_the_time_of_another(tmp_path):
    fd = os.open(tmp_path / "marker", os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, Marker.SIZE)
    marker = Marker(fd)
    marker.reset()
    writer = os.fork()
    if writer == 0:
        while True:  # calls of one unit, as fast as they come
            for call in range(1000):
                marker.begin(Marker.position(call, 0))
                marker.begin(-1)
    try:
        deadline, seen, oldest = time.monotonic() + 0.7, 0, 0.0
        while time.monotonic() < deadline:
            for _ in range(200):
                position, began = marker.current()
                if position >= 0:
                    seen += 1
                    oldest = max(oldest, time.monotonic() - began)
    finally:
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
    assert seen > 1000
    assert oldest < 5.0, f"a unit seemed to have begun {oldest:.0f} s ago"


def test_reset_forgets_the_unit_and_the_wish_to_stop_it(tmp_path):
    fd = os.open(tmp_path / "marker", os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, Marker.SIZE)
    marker = Marker(fd)
    marker.begin(Marker.position(7, 3))
    marker.ask_stop(1, Marker.position(7, 3))
    assert (marker.current_unit(7)[0], marker.current_unit(8)[0], marker.stop_asked()) == (3, -1, (1, Marker.position(7, 3)))
    marker.reset()
    assert (marker.current()[0], marker.stop_asked()) == (-1, (0, -1))
    assert time.monotonic() - marker.current()[1] < 5.0, "a reader between the two writes must not see a time long ago"
