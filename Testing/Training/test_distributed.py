"""Several processes train one model: their gradients are those of one process, and one's failure ends them all."""

import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.distributed import HashStore, TCPStore

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.training.config.data import SamplingConfig
from NeuroSAM2Core.training.config.fine_tuning import OptimConfig
from NeuroSAM2Core.training.config.step import GroupsConfig, LossConfig, PromptConfig
from NeuroSAM2Core.training.data.clip import ClipBatch
from NeuroSAM2Core.training.fine_tune import fine_tune
from NeuroSAM2Core.training.step.clip_segmenter import ClipSegmenter
from NeuroSAM2Core.training.trainer import distributed
from NeuroSAM2Core.training.trainer.distributed import ProcessGroup, agreed_name, join_process_group
from NeuroSAM2Core.training.trainer.optimizer_step import OptimizerStepConfig, Precision, update
from NeuroSAM2Core.training.trainer.parameter_groups import parameter_groups
from NeuroSAM2Core.training.trainer.state import TrainState
from Testing.Support import elastic_member
from Testing.Support.elastic_member import elastic_config
from Testing.Support.run_process import start_ranks
from Testing.Support.training import disc_batches, disc_clip, mini_config, mini_model, write_mini_model

CPU = torch.device("cpu")
LIMIT_S, NODES_LIMIT_S = 120, 500
MASKS = PromptConfig(box=0.0, click=0.0, max_prompted=1)  # nothing is drawn
DRAWN = PromptConfig(box=0.4, click=0.4, num_corrections=1)
CLIPS = [disc_clip(0, objects=1, room_for=3), disc_clip(1, objects=3)]
STEP = [disc_clip(n, objects=1 + n % 3) for n in range(4)]
"""The batches of a step, with as many objects as they like."""


def step_gradients(
    process_group: ProcessGroup, batches: list[ClipBatch], prompts: PromptConfig = MASKS
) -> dict[str, torch.Tensor]:
    model = mini_model(memory_dropout=0.0 if prompts is MASKS else 0.1)
    segmenter = ClipSegmenter(model, prompts, LossConfig())
    state = TrainState.begin(model, parameter_groups(model, GroupsConfig()))
    rules = OptimizerStepConfig(
        seed=0,
        total_steps=1,
        losses=LossConfig(),
        max_gradient_norm=0.0,
        ema_decay=0.0,
        precision=Precision.chosen("fp32", CPU),
    )
    update(state, process_group.wrap(segmenter), batches, prompts, rules, process_group)
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


def write_shared_gradients(folder: Path) -> None:
    with join_process_group(CPU, timeout_minutes=2) as process_group:
        gradients = step_gradients(process_group, [STEP[n] for n in process_group.share_of(len(STEP))], DRAWN)
        if process_group.is_first:
            save_file(gradients, folder / "shared.safetensors")


@pytest.mark.parametrize("size", [2, 3, 4])
def test_a_step_is_the_same_however_many_processes_share_its_batches(tmp_path, size):
    process_group = start_ranks(size, tmp_path, partial(write_shared_gradients, tmp_path))
    for one in process_group:
        one.join(LIMIT_S)
    assert [one.exitcode for one in process_group] == [0] * size, (tmp_path / "rank0.txt").read_text(encoding="utf-8")
    shared = load_file(tmp_path / "shared.safetensors")
    alone = step_gradients(ProcessGroup(CPU), STEP, DRAWN)
    assert alone.keys() <= shared.keys(), "what no process reached is zero there"
    assert max(float(value.abs().max()) for value in alone.values()) > 1e-3
    for name, value in shared.items():
        torch.testing.assert_close(value, alone.get(name, torch.zeros_like(value)), atol=1e-6, rtol=1e-4)


def test_more_processes_than_batches_are_refused(tmp_path):
    config = mini_config(tmp_path / "run", optim=OptimConfig(steps=1, clips_per_step=4))
    assert [config.batches_per_step(size) for size in (1, 3, 4)] == [4, 4, 4]
    with pytest.raises(ConfigError, match="5 processes train, and a step has 4 batches"):
        config.batches_per_step(5)
    with pytest.raises(ConfigError, match=r"multiple of sampling.clips; got 4 and 3"):
        replace(config, sampling=SamplingConfig(clips=3))
    with pytest.raises(ConfigError, match=r"optim.clips_per_step and optim.accumulation both"):
        OptimConfig(clips_per_step=4, accumulation=2)
    assert mini_config(tmp_path / "run", optim=OptimConfig(accumulation=2)).batches_per_step(3) == 6


def train_a_step(folder: Path, max_seconds: float) -> None:
    optim = OptimConfig(steps=4, clips_per_step=4)
    config = mini_config(folder / "run", optim=optim, prompts=DRAWN)
    config = replace(config, run=replace(config.run, report_every=1))
    fine_tune(config, CPU, batches=disc_batches(), resume=True, max_seconds=max_seconds)


def losses(folder: Path) -> list[float]:
    lines = (folder / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["loss"] for line in lines]


def test_a_run_goes_on_with_another_number_of_processes(tmp_path):
    changing, alone = tmp_path / "changing", tmp_path / "alone"
    for folder in (changing, alone):
        folder.mkdir()
        write_mini_model(folder / "mini.safetensors")
    for size, max_seconds in ((3, 0.0), (2, 0.0), (4, 1e9)):
        process_group = start_ranks(size, tmp_path, partial(train_a_step, changing, max_seconds))
        for one in process_group:
            one.join(LIMIT_S)
        assert [one.exitcode for one in process_group] == [0] * size, (tmp_path / "rank0.txt").read_text("utf-8")
    train_a_step(alone, 1e9)
    assert len(losses(alone)) == 4
    assert losses(changing) == pytest.approx(losses(alone), rel=1e-3)


def fail_on_one(folder: Path) -> None:
    def batches(numbers, *, image_size):
        for n in numbers:
            clip = disc_clip(n)
            yield ClipBatch(clip.images * (np.nan if n == 3 else 1.0), clip.masks)  # the second one of rank 1

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


def attempt(*, fails: bool) -> None:
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    with join_process_group(CPU, timeout_minutes=0.2) as process_group:
        process_group.wait()
        if fails and process_group.rank == 1:
            raise SystemExit("this attempt fails")


def test_each_attempt_of_torchrun_meets_in_the_store_of_the_first_whoever_is_left(tmp_path):
    agent = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    for size, fails in ((3, True), (2, True), (2, False), (3, False)):
        process_group = start_ranks(size, tmp_path, partial(attempt, fails=fails), port=agent.port)
        for one in process_group:
            one.join(LIMIT_S)
        expected = [int(fails)] * size
        assert [one.exitcode for one in process_group] == expected, (tmp_path / "rank0.txt").read_text("utf-8")


def test_a_process_that_waits_in_vain_for_the_others_says_so():
    store = HashStore()
    store.set("here/1", "of an earlier attempt")
    with pytest.raises(ConfigError, match="of 2 processes that are to train together, some have not come"):
        agreed_name(store, rank=0, size=2, timeout_s=0.2)


def train_together(folder: Path) -> None:
    fine_tune(mini_config(folder / "run", steps=3), CPU, batches=disc_batches())


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
    mean = process_group.mean([[1.0, 3.0, float("nan")], [float("nan")]])
    assert mean[0] == 2.0
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


def test_a_rank_of_two_nodes_is_killed_and_torchrun_goes_on(tmp_path):
    elastic_config(tmp_path)  # writes the model before several would
    alone = tmp_path / "alone"
    alone.mkdir()
    fine_tune(elastic_config(alone), CPU, batches=disc_batches())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    meet = ("--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=test", "--local-addr=127.0.0.1")
    words = ("--nnodes=2", "--nproc-per-node=2", *meet, "--max-restarts=1", "--monitor-interval=0.2")
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", *words, "-m", elastic_member.__name__]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    logs = [tmp_path / f"node{n}.txt" for n in range(2)]
    nodes = []
    for log in logs:
        with log.open("wb") as file:
            nodes.append(subprocess.Popen([*command, str(tmp_path)], stdout=file, stderr=file, env=environment))
    try:
        assert [node.wait(NODES_LIMIT_S) for node in nodes] == [0, 0], logs[0].read_text(
            encoding="utf-8", errors="replace"
        )
    finally:
        for node in nodes:
            node.kill()
            node.wait()
    assert (tmp_path / "killed").exists()
    began = re.findall(r"run at step (\d) of 3", (tmp_path / "run" / "log.txt").read_text(encoding="utf-8"))
    assert began[0] == "0"
    assert began[1] in ("1", "2"), "it went on from a checkpoint"
    together = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text("utf-8").splitlines()]
    by_itself = [json.loads(line) for line in (alone / "run" / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert [one["step"] for one in together] == [one["step"] for one in by_itself]
    assert [one["loss"] for one in together] == pytest.approx([one["loss"] for one in by_itself], rel=1e-3)
    assert (
        load_file(tmp_path / "run" / "model.safetensors").keys()
        == load_file(alone / "run" / "model.safetensors").keys()
    )
