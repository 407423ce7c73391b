"""Training on a GPU: half precision, and runs that resume bit-equal where that is asked for."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from NeuroSAM2Core.training.config.fine_tuning import OptimConfig
from NeuroSAM2Core.training.fine_tune import fine_tune
from Testing.Support.training import disc_batches, mini_config

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
GPU = torch.device("cuda")


def configured(folder, **changes):
    config = mini_config(folder, optim=OptimConfig(steps=4, ema_decay=0.9))
    return replace(config, run=replace(config.run, **changes))


def run(config, **options):
    return fine_tune(config, GPU, batches=disc_batches(), **options)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_run_in_many_sittings_ends_bit_equal_to_one_in_a_single_sitting(tmp_path, precision):
    changes = {"precision": precision, "is_deterministic": True}
    whole = run(configured(tmp_path / "whole", **changes))
    for _ in range(4):
        pieces = run(configured(tmp_path / "pieces", **changes), resume=True, max_seconds=0)
    assert pieces.is_over
    one, other = load_file(whole.folder.model), load_file(pieces.folder.model)
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
    assert all(value.dtype == torch.float32 for value in one.values())


def test_saving_memory_saves_memory(tmp_path):
    peaks = []
    for saves_memory in (False, True):
        torch.cuda.reset_peak_memory_stats()
        run(configured(tmp_path / str(saves_memory), saves_memory=saves_memory))
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[1] < peaks[0]
