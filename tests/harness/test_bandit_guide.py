"""The policy of docs/bandits.md, run as a newcomer would run it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "bandits.md"


def test_the_guides_policy_lands_in_the_leaderboard(tmp_path: Path) -> None:
    text = GUIDE.read_text(encoding="utf-8")
    policy = re.search(r"runs this block and the suite below -->\n```python\n(.*?)```", text, re.S)
    suite = re.search(r"```yaml\n(name: my-policy.*?)```", text, re.S)
    assert policy is not None
    assert suite is not None
    (tmp_path / "explore.py").write_text(policy.group(1))
    (tmp_path / "mine.yaml").write_text(suite.group(1).replace("seeds: 5", "seeds: 3"))

    def assay(*arguments: str) -> str:
        command = [sys.executable, "-m", "harness.cli", *arguments, "--db", str(tmp_path / "assay.db")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assay("run", str(tmp_path / "mine.yaml"), "--engine", "inline")
    [board] = json.loads(assay("leaderboard", "bandit_regret", "--format", "json"))["sections"]
    text = json.dumps(board)
    assert text.count("explore, then commit") >= 2
    rows = assay("sql", "SELECT method, AVG(value) FROM scores WHERE metric = 'regret' GROUP BY method", "-f", "csv").split()[1:]
    means = {row.split(",")[0].split("/")[1]: float(row.split(",")[1]) for row in rows}
    assert means["explore-then-commit"] < means["uniform"]
