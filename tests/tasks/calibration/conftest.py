from __future__ import annotations

import numpy as np
import pytest

from kernels.mlp import softmax


@pytest.fixture(scope="session")
def over5() -> tuple[np.ndarray, np.ndarray]:
    """A calibrated 5-class problem whose logits were tripled: logits [1000, 5], labels [1000]. Peers' scores on it are recorded."""
    rng = np.random.RandomState(12345)
    logits = 1.5 * rng.normal(size=(1000, 5))
    labels = np.array([rng.choice(5, p=row) for row in softmax(logits)])
    return 3 * logits, labels
