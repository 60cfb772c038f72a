"""The small networks of several families against plain torch."""

from __future__ import annotations

import numpy as np
import torch

from kernels.mlp import Mlp, train_mlp


def test_training_equals_a_plain_torch_module_and_adamw():
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(30, 4)).astype(np.float32), rng.integers(0, 3, 30)
    trained = train_mlp(
        inputs,
        labels,
        (4, 8, 3),
        epochs=3,
        batch=10,
        lr=1e-2,
        weight_decay=0.1,
        init=torch.Generator().manual_seed(1),
        order=torch.Generator().manual_seed(2),
    )
    init, order = torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    with torch.no_grad():
        for parameter, fan_in in zip(module.parameters(), (4, 4, 8, 8), strict=True):
            parameter.uniform_(-(fan_in**-0.5), fan_in**-0.5, generator=init)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2, weight_decay=0.1)
    for _ in range(3):
        for rows in torch.randperm(30, generator=order).split(10):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(module(torch.tensor(inputs)[rows]), torch.tensor(labels)[rows]).backward()
            optimizer.step()
    np.testing.assert_allclose(trained.logits(inputs), module(torch.tensor(inputs)).detach(), atol=1e-5)


def test_saving_and_loading_keeps_every_bit_and_forbids_writing(tmp_path):
    rng = np.random.default_rng(0)
    mlp = Mlp((rng.normal(size=(3, 2)).astype(np.float32),), (rng.normal(size=3).astype(np.float32),))
    mlp.save(tmp_path / "mlp.npz")
    again = Mlp.load(tmp_path / "mlp.npz")
    assert again.weights[0].tobytes() == mlp.weights[0].tobytes()
    assert again.biases[0].tobytes() == mlp.biases[0].tobytes()
    assert not again.weights[0].flags.writeable
