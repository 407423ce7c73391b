"""The number type is chosen by measurement."""

import time

import pytest
import torch

from NeuroSAM2Core.inference import precision
from NeuroSAM2Core.inference.precision import computing, fastest_dtype
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


@pytest.fixture
def new_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("NEUROSAM2_HOME", str(tmp_path))
    fastest_dtype.cache_clear()
    yield tmp_path
    fastest_dtype.cache_clear()


def started(monkeypatch, *, is_bfloat16_faster):
    """The choice of a new start, whose stopwatch says this."""
    fastest_dtype.cache_clear()
    monkeypatch.setattr(
        precision, "_seconds", lambda dtype: 1.0 if (dtype is torch.bfloat16) != is_bfloat16_faster else 0.1
    )
    return fastest_dtype(CPU)


@pytest.mark.parametrize("is_faster", [True, False])
def test_every_start_on_a_machine_chooses_alike_and_says_so(new_machine, monkeypatch, caplog, is_faster):
    caplog.set_level("INFO")
    first = started(monkeypatch, is_bfloat16_faster=is_faster)
    assert first is (torch.bfloat16 if is_faster else torch.float32)
    assert started(monkeypatch, is_bfloat16_faster=not is_faster) is first
    assert str(new_machine / "machine.json") in caplog.text


def test_another_torch_is_measured_anew(new_machine, monkeypatch):
    started(monkeypatch, is_bfloat16_faster=True)
    monkeypatch.setattr(torch, "__version__", "9.0")
    assert started(monkeypatch, is_bfloat16_faster=False) is torch.float32


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"number type": 3}'])
def test_a_damaged_memory_of_the_machine_is_no_failure(new_machine, monkeypatch, content):
    (new_machine / "machine.json").write_bytes(content)
    assert started(monkeypatch, is_bfloat16_faster=False) is torch.float32


def test_a_folder_that_cannot_be_written_is_no_failure(new_machine, monkeypatch, caplog):
    monkeypatch.setenv("NEUROSAM2_HOME", str(new_machine / "file"))
    (new_machine / "file").touch()
    assert started(monkeypatch, is_bfloat16_faster=False) is torch.float32
    assert "cannot be kept" in caplog.text


def test_a_device_without_bfloat16_is_not_asked_for_it(monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "autocast", lambda *words, **_: asked.append(words))
    with precision._autocast("mps", is_on=False):
        assert asked == []


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
