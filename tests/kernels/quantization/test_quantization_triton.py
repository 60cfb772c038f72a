"""Triton's paths against float64: on a GPU where there is one, else under Triton's interpreter, which runs the same programs on the CPU."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
import torch

from kernels.quantization.gemv import gemv4_reference, gemv4_tensors
from kernels.quantization.hadamard import hadamard, hadamard_reference

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(scope="module")
def gpu() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        if DEVICE == "cpu":
            # Read when Triton is imported, for the functions of its own library, and when kernels are defined.
            if "triton" in sys.modules and os.environ.get("TRITON_INTERPRET") != "1":
                pytest.skip("Triton was imported without its interpreter: run this file alone, or with TRITON_INTERPRET=1.")
            patch.setenv("TRITON_INTERPRET", "1")
        pytest.importorskip("triton", reason="Triton is not installed: pip install --no-deps triton==3.4.0 (155 MB)")
        from kernels.quantization import gpu

        yield gpu


@pytest.mark.parametrize("n", [1, 2, 8, 128, 1024])
def test_triton_hadamard_equals_float64(gpu: ModuleType, n: int):
    x = torch.randn(3, 2, n, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    exact = hadamard_reference(x.double())
    assert torch.allclose(gpu.hadamard(x).double(), exact, atol=2e-6 * float(exact.abs().max()))
    assert torch.allclose(gpu.hadamard(x.half()).double(), exact, atol=4e-3)
    strided = x.transpose(0, 1)
    assert torch.equal(gpu.hadamard(strided), gpu.hadamard(strided.contiguous()))
    assert gpu.hadamard(x[:0]).shape == (0, 2, n)


def test_triton_hadamard_spreads_nan(gpu: ModuleType):
    x = torch.ones(2, 64, device=DEVICE)
    x[0, 3] = float("nan")
    assert gpu.hadamard(x).isnan().all(1).tolist() == [True, False]


@pytest.mark.parametrize(("rows", "columns", "size"), [(5, 256, 64), (1, 128, 128), (6, 640, 20), (3, 2304, 256), (2, 2, 2)])
def test_triton_gemv_equals_float64(gpu: ModuleType, rows: int, columns: int, size: int):
    rng = np.random.default_rng(rows)
    packed = rng.integers(0, 256, (rows, columns // 2)).astype(np.uint8)
    scale, zero = rng.random((rows, columns // size)).astype(np.float32), (rng.random((rows, columns // size)) * 15).astype(np.float32)
    x = rng.normal(size=columns).astype(np.float32)
    exact = gemv4_reference(packed, scale, zero, x)
    found = gpu.gemv4(*(torch.from_numpy(part).to(DEVICE) for part in (packed, scale, zero, x))).cpu().numpy()
    np.testing.assert_allclose(found, exact, atol=2e-6 * (np.abs(x).sum() * 15))
    x[0] = np.inf
    assert not np.isfinite(gpu.gemv4(*(torch.from_numpy(part).to(DEVICE) for part in (packed, scale, zero, x))).cpu().numpy()).any()


def test_tensors_take_the_path_of_their_device():
    rng = np.random.default_rng(0)
    packed, scale, zero = rng.integers(0, 256, (4, 64)).astype(np.uint8), rng.random((4, 2)), rng.random((4, 2))
    for shape in ((128,), (3, 128)):
        x = rng.normal(size=shape)
        found = gemv4_tensors(*(torch.from_numpy(part).to(DEVICE) for part in (packed, scale, zero, x)))
        assert found.device.type == DEVICE
        exact = gemv4_reference(packed, scale, zero, x)
        np.testing.assert_allclose(found.cpu().numpy(), exact, atol=1e-4 * np.abs(exact).max())
    x = torch.randn(4, 64, device=DEVICE)
    assert torch.allclose(hadamard(x), hadamard_reference(x), atol=1e-5)
