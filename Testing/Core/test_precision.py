"""The number type is chosen by measurement."""

import time

import pytest
import torch

from NeuroSAM2Core.engine import precision
from NeuroSAM2Core.engine.precision import computing, fastest_dtype
from NeuroSAM2Core.model import PRESETS, SAM2

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


@pytest.mark.parametrize("part", ["encoder", "rest"])
def test_exact_means_float32_and_no_gradients(part):
    with computing(SAM2(PRESETS["nano"]), is_exact=True, part=part):
        assert torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")


def test_a_narrow_model_converts_only_its_encoder(monkeypatch):
    monkeypatch.setattr(precision, "fastest_dtype", lambda device: torch.bfloat16)
    model = SAM2(PRESETS["nano"])
    with computing(model, is_exact=False):
        assert not torch.is_autocast_enabled("cpu")
        with computing(model, is_exact=False, part="encoder"):
            assert torch.is_autocast_enabled("cpu")
