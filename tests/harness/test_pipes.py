"""Whoever reads the output may leave early (`| head`): a run goes on, a report ends without a word."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOYS = Path(__file__).with_name("toy_plugin.py")
SUITE = f"""
name: pipe
plugins: [{TOYS}]
seeds: 30
tasks: [{{task: toy/single, methods: [{{method: ok, params: {{seconds: 0.03}}}}]}}]
"""


def assay(folder: Path, *arguments: str, leave: str | None = None) -> tuple[int, str]:
    """Exit code and stderr of a command. `leave`: the stream whose reader leaves after the first line ("both": of stdout and stderr)."""
    # Unbuffered, Python would not notice that a last long write was cut short.
    environment = {**os.environ, "ASSAY_CACHE": str(folder / "cache"), "PYTHONUNBUFFERED": ""}
    both = subprocess.STDOUT if leave == "both" else subprocess.PIPE
    command = [sys.executable, "-m", "harness.cli", *arguments]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=both, text=True) as process:
        assert process.stdout is not None
        if leave is not None:
            process.stdout.readline()
            process.stdout.close()
        said = process.stderr.read() if process.stderr else ""
        return process.wait(60), said


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "suite.yaml").write_text(SUITE)
    return tmp_path


@pytest.mark.parametrize(("json", "leave"), [(["--json"], "stdout"), ([], "both")])
def test_a_run_goes_on_when_nobody_reads_any_more(folder: Path, json: list[str], leave: str) -> None:
    code, said = assay(folder, "run", "suite.yaml", "--engine", "process", *json, leave=leave)
    assert code == 0, said
    if leave == "stdout":
        assert said.count("Whoever read the output has left; the run goes on") == 1
        assert said.splitlines()[-1].startswith("30 of 30 trials done")
    assert "Traceback" not in said
    assert assay(folder, "run", "suite.yaml", "--engine", "process")[1].startswith("pipe: nothing to do, 30 of 30 trials are done")


def test_a_report_that_nobody_reads_any_more_ends_as_after_sigpipe(folder: Path) -> None:
    assay(folder, "run", "suite.yaml", "--engine", "inline", "--max-trials", "3")
    product = "SELECT a.trial AS one, b.trial AS other FROM trials a, trials b, trials c"
    for arguments in (["sql", product, "-f", "csv", "--limit", "0"], ["sql", product, "--limit", "3000"]):
        code, said = assay(folder, *arguments, leave="stdout")
        assert (code, said) == (141, "")


@pytest.mark.parametrize("arguments", [["--help"], ["sql", "--help"], ["db"], ["sql", "--list"]])
def test_help_that_nobody_reads_ends_as_after_sigpipe(tmp_path: Path, arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run([sys.executable, "-m", "harness.cli", *arguments], cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("arguments", [["--help"], ["sql", "--list"], ["tasks", "--json"]])
def test_a_full_disk_behind_stdout_is_one_sentence(tmp_path: Path, arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "harness.cli", *arguments], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == "assay: the output can't be written: No space left on device."
    assert "Traceback" not in done.stderr
