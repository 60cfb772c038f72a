"""The README's worked example, run as a newcomer would run it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def test_the_readmes_quantizer_lands_in_the_leaderboard(tmp_path: Path) -> None:
    text = README.read_text()
    method = re.search(r"runs this block and the suite below -->\n```python\n(.*?)```", text, re.S)
    suite = re.search(r"```yaml\n(name: sign-against-baselines.*?)```", text, re.S)
    assert method is not None
    assert suite is not None
    (tmp_path / "sign.py").write_text(method.group(1))
    (tmp_path / "sign.yaml").write_text("plugins: [sign.py]\n" + suite.group(1).replace("seeds: 3", "seeds: 2"))

    def assay(*arguments: str) -> str:
        command = [sys.executable, "-m", "harness.cli", *arguments, "--db", str(tmp_path / "assay.db")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assay("run", str(tmp_path / "sign.yaml"), "--engine", "inline")
    board = assay("leaderboard", "quantization")
    assert re.search(r"\bSign\b", board)
    bits = assay("sql", "SELECT value FROM scores WHERE method = 'quantization/sign' AND metric = 'bits_per_weight'", "-f", "csv")
    assert all(1.0 < float(value) < 1.2 for value in bits.split()[1:]), bits
