"""The named parameter choices of this family, `theory` and `tuned`, from the record that `tasks.bandit_regret.tune` writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tasks.api import Setting

RECORD = Path(__file__).with_name("tuned.json")


def _settings() -> Iterator[Setting]:
    for one in json.loads(RECORD.read_text()):
        for name in ("theory", "tuned"):
            params, why = (None, one[name]) if isinstance(one[name], str) else (one[name], "")
            told = tuple(one["told"]) if name == "theory" else ()
            yield Setting(name, f"bandit_regret/{one['task']}", one["task_params"], f"bandit_regret/{one['method']}", params, why, told)


SETTINGS = tuple(_settings())
