"""One Ray for all tests of this session: starting it takes seconds."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest

from tests.db.conftest import postgres  # noqa: F401 (a fixture)


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """A Ray on this machine with two CPUs, to which this process is connected."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    folder = tempfile.mkdtemp(prefix="assay-ray-", dir="/tmp")  # short: Ray's sockets lie below it
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=200 << 20, _temp_dir=folder)
    yield
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
