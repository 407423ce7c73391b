"""Several processes train one model: their gradients are those of one process, and one's failure ends them all."""

import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.distributed import TCPStore

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.training.config.step import GroupsConfig, LossConfig, PromptConfig
from NeuroSAM2Core.training.data.clip import ClipBatch
from NeuroSAM2Core.training.fine_tune import fine_tune
from NeuroSAM2Core.training.step.clip_segmenter import ClipSegmenter
from NeuroSAM2Core.training.trainer import distributed
from NeuroSAM2Core.training.trainer.distributed import ProcessGroup, join_process_group
from NeuroSAM2Core.training.trainer.optimizer_step import OptimizerStepConfig, Precision, update
from NeuroSAM2Core.training.trainer.parameter_groups import parameter_groups
from NeuroSAM2Core.training.trainer.state import TrainState
from Testing.Support.run_process import start_ranks
from Testing.Support.training import disc_clip, mini_config, mini_model

CPU = torch.device("cpu")
LIMIT_S = 120
MASKS = PromptConfig(box=0.0, click=0.0)  # nothing is drawn apart
CLIPS = [disc_clip(0, objects=1, room_for=3), disc_clip(1, objects=3)]


def step_gradients(process_group: ProcessGroup, batches: list[ClipBatch]) -> dict[str, torch.Tensor]:
    model = mini_model(memory_dropout=0.0)
    segmenter = ClipSegmenter(model, MASKS, LossConfig())
    state = TrainState.begin(model, parameter_groups(model, GroupsConfig()))
    rules = OptimizerStepConfig(
        seed=0,
        total_steps=1,
        losses=LossConfig(),
        max_gradient_norm=0.0,
        ema_decay=0.0,
        precision=Precision.chosen("fp32", CPU),
    )
    update(state, process_group.wrap(segmenter), batches, MASKS, rules, process_group)
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def write_gradients(folder: Path, num_batches: int) -> None:
    with join_process_group(CPU, timeout_minutes=2) as process_group:
        save_file(
            step_gradients(process_group, [CLIPS[process_group.rank]] * num_batches),
            folder / f"{process_group.rank}.safetensors",
        )


@pytest.mark.parametrize("num_batches", [1, 2])
def test_two_processes_have_the_gradients_of_one_with_both_their_clips(tmp_path, num_batches):
    process_group = start_ranks(2, tmp_path, partial(write_gradients, tmp_path, num_batches))
    for one in process_group:
        one.join(LIMIT_S)
    assert [one.exitcode for one in process_group] == [0, 0], (tmp_path / "rank0.txt").read_text(encoding="utf-8")
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in range(2))
    alone = step_gradients(ProcessGroup(CPU), [ClipBatch.stack(CLIPS)] * num_batches)
    assert alone.keys() <= first.keys(), "what no process reached is zero there"
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
        torch.testing.assert_close(value, alone.get(name, torch.zeros_like(value)), atol=1e-6, rtol=1e-4)


def fail_on_one(folder: Path) -> None:
    def batches(start, stop, *, image_size, process_group):
        for n in range(start, stop):
            clip = disc_clip(n)
            is_bad = process_group.rank == 1 and n == 1
            yield ClipBatch(clip.images * (np.nan if is_bad else 1.0), clip.masks)

    fine_tune(mini_config(folder / "run", steps=4), CPU, batches=batches)


def test_an_error_of_one_process_ends_all_with_its_reason(tmp_path):
    mini_config(tmp_path / "run")  # writes the model before several would
    process_group = start_ranks(2, tmp_path, partial(fail_on_one, tmp_path))
    for one in process_group:
        one.join(LIMIT_S)
    assert all(one.exitcode not in (0, None) for one in process_group), [one.exitcode for one in process_group]
    told = (tmp_path / "rank0.txt").read_text(encoding="utf-8")
    assert "rank 1: the loss of step 1 is nan" in told
    assert (tmp_path / "run" / "bad_batch_step1_rank1.safetensors").exists()
    assert "the loss of step 1 is nan" in (tmp_path / "run" / "log.rank1.txt").read_text(encoding="utf-8")


def attempt(number: int) -> None:
    os.environ |= {"TORCHELASTIC_RESTART_COUNT": str(number), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    with join_process_group(CPU, timeout_minutes=0.2) as process_group:
        process_group.wait()
        if number == 0 and process_group.rank == 1:
            raise SystemExit("the first attempt fails")


def test_the_second_attempt_of_torchrun_meets_in_the_store_of_the_first(tmp_path):
    agent = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    for number, exit_codes in enumerate(([1, 1], [0, 0])):
        process_group = start_ranks(2, tmp_path, partial(attempt, number), port=agent.port)
        for one in process_group:
            one.join(LIMIT_S)
        assert [one.exitcode for one in process_group] == exit_codes, (tmp_path / "rank0.txt").read_text("utf-8")


def train_together(folder: Path) -> None:
    def batches(start, stop, *, image_size, process_group):
        return (disc_clip(n * process_group.size + process_group.rank) for n in range(start, stop))

    fine_tune(mini_config(folder / "run", steps=3), CPU, batches=batches)


def test_a_run_of_two_processes_leaves_one_model_and_one_line_per_report(tmp_path):
    mini_config(tmp_path / "run")
    process_group = start_ranks(2, tmp_path, partial(train_together, tmp_path))
    for one in process_group:
        one.join(LIMIT_S)
    assert [one.exitcode for one in process_group] == [0, 0], (tmp_path / "rank0.txt").read_text(encoding="utf-8")
    assert (tmp_path / "run" / "model.safetensors").exists()
    assert len((tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_values_are_averaged_over_those_that_have_them():
    process_group = ProcessGroup(CPU)
    mean = process_group.mean([1.0, float("nan")])
    assert mean[0] == 1.0
    assert np.isnan(mean[1])
    assert process_group.any(True)
    assert not process_group.any(False)


def test_half_an_environment_is_refused(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(ConfigError, match="WORLD_SIZE"), join_process_group(CPU):
        pass


@pytest.fixture
def four_gpus(monkeypatch):
    used = []
    for name in (*distributed.LOCAL_RANKS, *distributed.ONE_GPU_EACH):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", used.append)
    return used


@pytest.mark.parametrize("name", ["LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK"])
def test_every_launcher_gives_each_process_its_own_gpu(four_gpus, monkeypatch, name):
    monkeypatch.setenv(name, "3")
    assert distributed._own_device(torch.device("cuda")) == torch.device("cuda", 3)
    assert four_gpus == [3]


def test_processes_never_share_a_gpu_because_none_was_told_its_number(four_gpus):
    with pytest.raises(ConfigError, match="LOCAL_RANK is not set"):
        distributed._own_device(torch.device("cuda"))
    assert four_gpus == []


def test_a_process_that_is_shown_one_gpu_takes_it(four_gpus, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("SLURM_LOCALID", "3")
    with pytest.raises(ConfigError, match="no GPU of its own"):
        distributed._own_device(torch.device("cuda"))
    monkeypatch.setenv("SLURM_GPUS_PER_TASK", "1")
    assert distributed._own_device(torch.device("cuda")) == torch.device("cuda", 0)
