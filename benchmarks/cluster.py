"""What training on a cluster costs on this machine: a list of 10,000 cases, a clip of a prepared case, and steps shared by processes.

Usage: python -m benchmarks.run cluster
"""

import json
import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
from monai.data import PersistentDataset

from benchmarks.memory import in_child
from benchmarks.report import as_table
from benchmarks.training import peak_kb
from NeuroSAM2Core import Volume
from NeuroSAM2Core.model import PRESETS, SAM2
from NeuroSAM2Core.training.config.data import DataConfig, SamplingConfig
from NeuroSAM2Core.training.config.step import GroupsConfig, LossConfig, PromptConfig
from NeuroSAM2Core.training.data import fine_tuning_batches, read_cases
from NeuroSAM2Core.training.data.batches import CaseFolder
from NeuroSAM2Core.training.data.clip import ClipBatch, TrainingVolume, draw_clip
from NeuroSAM2Core.training.data.dataset import Case, find_objects
from NeuroSAM2Core.training.data.transforms import prepare
from NeuroSAM2Core.training.step.clip_segmenter import ClipSegmenter
from NeuroSAM2Core.training.trainer.distributed import join_process_group
from NeuroSAM2Core.training.trainer.optimizer_step import OptimizerStepConfig, Precision, update
from NeuroSAM2Core.training.trainer.parameter_groups import parameter_groups
from NeuroSAM2Core.training.trainer.state import TrainState
from Testing.Support.volumes import UPRIGHT, ball_volume

NUM_CASES, LIST_SHAPE = 10_000, (8, 32, 32)
CASE_SHAPE, CLIPS = (180, 256, 256), 20
RANKS, CLIPS_PER_STEP, STEPS, SIZE, SLICES = (1, 2, 4), 4, 4, 128, 4
SAMPLING = SamplingConfig(slices=8, reverse=0.0)


def measure() -> str:
    """The tables of this file."""
    rows = [*starting(), *reading(), *sharing()]
    return as_table(("what", "measured", "beside it", "must"), rows)


def starting() -> list[tuple[str, ...]]:
    """From a list of many cases, all of one file name as in BIDS, to the first batch."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image, truth = ball_volume(LIST_SHAPE)
        image.write(folder / "image.nii")
        image.with_voxels(truth.astype(np.uint8)).write(folder / "label.nii")
        entries = []
        for number in range(NUM_CASES):
            place = folder / f"sub-{number:05}" / "anat"
            place.mkdir(parents=True)
            for kind in ("image", "label"):
                os.link(folder / f"{kind}.nii", place / f"{kind}.nii")
            entries.append({"image": f"sub-{number:05}/anat/image.nii", "seg": f"sub-{number:05}/anat/label.nii"})
        path = folder / "dataset.json"
        path.write_text(json.dumps({"training": entries, "validation": []}), encoding="utf-8")
        wall_s, cpu_s, peak_gb, libraries_gb = in_child(_send_start, str(path))
    what = f"{NUM_CASES:,} cases, from the list to the first batch"
    row = (what, f"{wall_s:.1f} s ({cpu_s:.1f} s CPU)", "", "10 s")
    print(*row, sep=" | ", flush=True)
    return [
        row,
        ("the most memory of that process", f"{peak_gb:.2f} GB", f"{libraries_gb:.2f} GB of libraries", "1 GB"),
    ]


def _send_start(sender: Connection, path: str) -> None:
    libraries = peak_kb() / 2**20
    began, began_cpu = time.perf_counter(), time.process_time()
    data = DataConfig(datasets=(path,))
    batch = next(fine_tuning_batches(data, SAMPLING, image_size=64, seed=0, numbers=range(1)))
    assert len(batch.images) == 1
    assert len(read_cases([path], "training")) == NUM_CASES
    sender.send(
        [time.perf_counter() - began, time.process_time() - began_cpu, peak_kb() / 2**20, libraries]
    )  # fmt: skip


def reading() -> list[tuple[str, ...]]:
    """A clip of a case that was prepared before, from our files and from MONAI's, in turn; what it takes of CPU time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image, truth = ball_volume(CASE_SHAPE)
        image.write(folder / "image.nii")
        image.with_voxels(truth.astype(np.uint8)).write(folder / "label.nii")
        case, data = Case(name="a", image=folder / "image.nii", label=folder / "label.nii"), DataConfig(datasets=("d",))
        ours, theirs = CaseFolder(folder / "ours", data), folder / "theirs"

        def prepared(of: dict[str, str]) -> dict[str, object]:
            done = prepare(Case(name="a", image=Path(of["image"]), label=Path(of["label"])))
            objects = find_objects(done.labels, data)
            return {"image": done.image.voxels.copy(), "numbers": objects.numbers, "names": objects.names}

        dataset = PersistentDataset(
            [{"image": str(case.image), "label": str(case.label)}], prepared, cache_dir=theirs, pickle_protocol=5
        )
        done = prepare(case)
        ours.write(case, TrainingVolume.of(done.image, find_objects(done.labels, data)))
        dataset[0]
        clip = _clip_of(ours.read(case))
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(CLIPS):
            began = time.process_time()
            assert torch.equal(_clip_of(ours.read(case)).images, clip.images)
            times[0].append(time.process_time() - began)
            began = time.process_time()
            found = dataset[0]
            volume = Volume(np.asarray(found["image"]), UPRIGHT)
            objects = find_objects(np.asarray(found["numbers"]), data)
            assert _clip_of(TrainingVolume.of(volume, objects)).images.shape == clip.images.shape
            times[1].append(time.process_time() - began)
    a, b = (1000 * statistics.median(found) for found in times)
    size = " x ".join(map(str, CASE_SHAPE[::-1]))
    row = (f"a clip of a prepared case of {size}, CPU time", f"{a:.0f} ms", f"{b:.0f} ms (PersistentDataset)", "")
    print(*row, sep=" | ", flush=True)
    return [row]


def _clip_of(volume: TrainingVolume | None) -> ClipBatch:
    assert volume is not None
    return draw_clip(volume, "axial", SAMPLING, 256, np.random.default_rng(0)).clip


def sharing() -> list[tuple[str, ...]]:
    """Steps of so many clips, shared by one process and by several that talk through gloo."""
    rows = []
    for size in RANKS:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        ranks = [context.Process(target=_share, args=(sender, rank, size, port)) for rank in range(size)]
        for one in ranks:
            one.start()
        found = [receiver.recv() for _ in ranks]
        for one in ranks:
            one.join()
        clips = STEPS * CLIPS_PER_STEP
        cpu_s, wall_s = sum(one[0] for one in found) / clips, max(one[1] for one in found) / clips
        what = f"a clip of {SIZE} px and {SLICES} slices, {CLIPS_PER_STEP} a step, {size} process{'es' * (size > 1)}"
        rows.append((what, f"{cpu_s:.2f} s CPU", f"{wall_s:.2f} s by the clock", ""))
        print(*rows[-1], sep=" | ", flush=True)
    return rows


def _share(sender: Connection, rank: int, size: int, port: int) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    cpu, prompts = torch.device("cpu"), PromptConfig(box=0.5, click=0.5, num_corrections=1)
    image, truth = ball_volume((32, SIZE, SIZE))
    objects = find_objects(truth.astype(np.uint8), DataConfig(datasets=("d",)))
    volume = TrainingVolume.of(Volume(image.voxels / 150, UPRIGHT), objects)
    sampling = SamplingConfig(slices=SLICES)
    rules = OptimizerStepConfig(
        seed=0,
        total_steps=STEPS + 1,
        losses=LossConfig(),
        max_gradient_norm=0.1,
        ema_decay=0.0,
        precision=Precision.chosen("fp32", cpu),
    )
    with join_process_group(cpu, timeout_minutes=5) as group:
        model = SAM2(PRESETS["nano"])
        model.set_image_size(SIZE)
        segmenter = ClipSegmenter(model, prompts, LossConfig()).train()
        state, wrapped = TrainState.begin(model, parameter_groups(model, GroupsConfig())), group.wrap(segmenter)
        began = began_cpu = 0.0
        for step in range(STEPS + 1):
            if step == 1:  # the first one only warms up
                began, began_cpu = time.perf_counter(), time.process_time()
            numbers = [step * CLIPS_PER_STEP + n for n in group.share_of(CLIPS_PER_STEP)]
            clips = [draw_clip(volume, "axial", sampling, SIZE, np.random.default_rng(n)).clip for n in numbers]
            update(state, wrapped, clips, prompts, rules, group)
        sender.send([time.process_time() - began_cpu, time.perf_counter() - began])
