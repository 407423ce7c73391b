"""The number type is chosen by measurement."""

import time

import torch

from NeuroSAM2Core.engine.precision import computing, fastest_dtype

CPU = torch.device("cpu")


def seconds(dtype):
    a = torch.ones(384, 384, dtype=dtype)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - started)
    return min(times)


def test_the_choice_is_not_slower_than_float32():
    assert seconds(fastest_dtype(CPU)) < 2 * seconds(torch.float32)


def test_exact_means_float32_and_no_gradients():
    with computing(CPU, is_exact=True):
        assert torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")
