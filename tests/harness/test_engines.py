"""Every engine passes the conformance class, Ray on a real Ray."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.engines import ENGINES, make_engine
from harness.engines.base import Engine, EngineSettings, Shape
from harness.engines.connection import knock
from harness.errors import EngineError
from harness.testing import EngineConformance

PLUGIN = str(Path(__file__).with_name("toy_plugin.py"))


class TestInlineEngine(EngineConformance):
    plugin = PLUGIN

    @classmethod
    def make_engine(cls) -> Engine:
        return make_engine("inline")


class TestProcessEngine(EngineConformance):
    plugin = PLUGIN

    @classmethod
    def make_engine(cls) -> Engine:
        return make_engine("process")


@pytest.mark.usefixtures("local_ray")
class TestRayEngine(EngineConformance):
    plugin = PLUGIN

    @classmethod
    def make_engine(cls) -> Engine:
        return make_engine("ray")

    def test_a_shape_that_no_node_carries_is_refused_before_anything_starts(self, tmp_path):
        with pytest.raises(EngineError, match=r"1000 CPU.*lower `resources`"):
            make_engine("ray").start(EngineSettings(str(tmp_path)), [Shape(), Shape(cpus=1000)])


def test_process_engine_refuses_more_cpus_than_there_are(tmp_path):
    with pytest.raises(EngineError, match="asks for 3 CPUs"):
        make_engine("process").start(EngineSettings(str(tmp_path), workers=2), [Shape(cpus=3)])


@pytest.mark.parametrize("address", ["127.0.0.1:9", "[::1]:9", "no-such-host.invalid:6379"])
def test_an_address_where_nothing_answers_is_said_at_once(address):
    with pytest.raises(EngineError, match=rf"Nothing answers at {re.escape(address)} \(.+\); --address takes"):
        knock(address)


def test_unknown_engine_names_the_known():
    with pytest.raises(EngineError, match=", ".join(ENGINES)):
        make_engine("dask")
