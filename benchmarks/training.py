"""One training step beside the same step written with the reference's modules, and what bounds its memory."""

import multiprocessing
import statistics
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.pair import NAME
from benchmarks.report import as_table, beside, seconds
from NeuroSAM2Core import Volume
from NeuroSAM2Core.model import PRESETS, SAM2, to_model_input
from NeuroSAM2Core.training.config.data import DataConfig, SamplingConfig
from NeuroSAM2Core.training.config.step import GroupsConfig, LossConfig, PromptConfig
from NeuroSAM2Core.training.data.clip import ClipBatch, TrainingVolume, draw_clip
from NeuroSAM2Core.training.data.dataset import find_objects
from NeuroSAM2Core.training.step.clip_segmenter import ClipSegmenter
from NeuroSAM2Core.training.trainer.distributed import ProcessGroup
from NeuroSAM2Core.training.trainer.optimizer_step import OptimizerStepConfig, Precision, update
from NeuroSAM2Core.training.trainer.parameter_groups import parameter_groups
from NeuroSAM2Core.training.trainer.state import TrainState
from Testing.Support.reference import reference_model, shapes_of
from Testing.Support.volumes import UPRIGHT
from Testing.Support.weights import lively_state

CPU = torch.device("cpu")
SIZE, SLICES, OBJECTS, REPEATS = 512, 8, 2, 2
CORRECTIONS = 7
CLICK_FIRST = PromptConfig(box=0.0, click=1.0, max_prompted=1, max_corrected=1, num_corrections=CORRECTIONS)
"""A click on the first slice and seven corrections there; the other slices follow through memory."""
MEMORY_SIZE, MEMORY_SLICES, MOST_OBJECTS = 256, 4, 12


def measure() -> str:
    """The tables of this file."""
    step = step_beside_reference()
    print(*step, sep=" | ", flush=True)
    memory = []
    for most in (1, 2, 4):
        few, many = (f"{peak_gb(most, objects):.2f} GB" for objects in (most, MOST_OBJECTS))
        memory.append((str(most), few, many))
        print(*memory[-1], sep=" | ", flush=True)
    head = ("sampling.max_objects", "volume with so many objects", f"volume with {MOST_OBJECTS}")
    return as_table(("what", "reference", "here", "factor", "must"), [step]) + "\n" + as_table(head, memory)


def step_beside_reference() -> tuple[str, ...]:
    """Forward, losses, gradients, clipping and AdamW of one clip, in both; they take turns."""
    batch = example_batch(SIZE, SLICES, OBJECTS)
    theirs, ours = reference_step(batch), our_step(batch)
    times: tuple[list[float], list[float]] = ([], [])
    for n in range(REPEATS + 1):
        for act, found in zip((theirs, ours), times, strict=True):
            spent = seconds(act)
            if n:  # the first of each only warms up
                found.append(spent)
    what = f"training step, {NAME}, {SIZE} px, {SLICES} slices, {OBJECTS} objects, {CORRECTIONS} corrections"
    a, b = (statistics.median(found) for found in times)
    return beside(what, a, b, unit="s", target="1.0x")


def our_step(batch: ClipBatch) -> Callable[[], None]:
    """One step here."""
    model = SAM2(PRESETS[NAME])
    model.load_state_dict(lively_state(shapes_of(model)))
    model.set_image_size(batch.images.shape[-1])
    segmenter = ClipSegmenter(model, CLICK_FIRST, LossConfig())
    state = TrainState.begin(model, parameter_groups(model, GroupsConfig()))
    rules = OptimizerStepConfig(
        seed=0,
        total_steps=1000,
        losses=LossConfig(),
        max_gradient_norm=0.1,
        ema_decay=0.0,
        precision=Precision.chosen("fp32", CPU),
    )
    segmenter.train()

    def step() -> None:
        update(state, segmenter, [batch], CLICK_FIRST, rules, ProcessGroup(CPU))

    return step


def reference_step(batch: ClipBatch) -> Callable[[], None]:
    """The same step with the reference's training model, loss and prompts."""
    model, loss = reference_training()
    slices, objects = batch.masks.shape[2], batch.masks.shape[1]
    size = batch.images.shape[-1]
    rows = torch.arange(slices)[:, None].expand(slices, objects)
    data = types.SimpleNamespace(
        flat_img_batch=to_model_input(batch.images[0], size),
        masks=batch.masks[0].transpose(0, 1),
        num_frames=slices,
        flat_obj_to_img_idx=rows,
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-6, weight_decay=0.1)
    model.train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        losses = loss(model(data), data.masks)
        losses["core_loss"].backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()

    return step


def reference_training() -> tuple[nn.Module, nn.Module]:
    """The reference's training model and loss; stands in for a package that its data loader wants and nothing here uses."""
    tensordict = types.ModuleType("tensordict")
    tensordict.tensorclass = lambda kind: kind  # type: ignore[attr-defined]
    sys.modules.setdefault("tensordict", tensordict)
    trainer = types.ModuleType("training.trainer")
    trainer.CORE_LOSS_KEY = "core_loss"  # type: ignore[attr-defined]
    sys.modules.setdefault("training.trainer", trainer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from training.loss_fns import MultiStepMultiMasksAndIous

        model = reference_model(
            NAME,
            SIZE,
            overrides=(
                "++model._target_=training.model.sam2.SAM2Train",
                "++model.prob_to_use_pt_input_for_train=1.0",
                "++model.num_frames_to_correct_for_train=1",
                "++model.add_all_frames_to_correct_as_cond=true",
                f"++model.num_correction_pt_per_frame={CORRECTIONS}",
                "++model.prob_to_sample_from_gt_for_train=0.1",
            ),
        )
    loss = MultiStepMultiMasksAndIous(
        weight_dict={"loss_mask": 20, "loss_dice": 1, "loss_iou": 1, "loss_class": 1},
        supervise_all_iou=True,
        iou_use_l1_loss=True,
        pred_obj_scores=True,
        focal_gamma_obj_score=0.0,
        focal_alpha_obj_score=-1.0,
    )
    return model, loss


def example_batch(size: int, slices: int, objects: int) -> ClipBatch:
    """One clip of discs in noise."""
    volume = disc_volume(size, slices, objects)
    sampling = SamplingConfig(slices=slices, max_objects=objects, reverse=0.0)
    return draw_clip(volume, "axial", sampling, size, np.random.default_rng(0)).clip


def disc_volume(size: int, slices: int, objects: int) -> TrainingVolume:
    """A volume in which every object is on every slice."""
    rng = np.random.default_rng(0)
    side = int(np.ceil(np.sqrt(objects)))
    labels = np.zeros((slices, size, size), np.uint8)
    rows, cols = np.mgrid[:size, :size]
    cell = size / side
    for n in range(objects):
        row, col = (n // side + 0.5) * cell, (n % side + 0.5) * cell
        labels[:, (rows - row) ** 2 + (cols - col) ** 2 < (0.3 * cell) ** 2] = n + 1
    image = 0.3 + 0.4 * (labels > 0) + 0.05 * rng.standard_normal(labels.shape)
    pair = Volume(image.clip(0, 1).astype(np.float32), UPRIGHT)
    return TrainingVolume.of(pair, find_objects(labels, DataConfig(datasets=("none",))))


def peak_gb(max_objects: int, in_volume: int) -> float:
    """The most memory that a process of its own holds over one step."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_peak, args=(sender, max_objects, in_volume))
    process.start()
    peak: float = receiver.recv()
    process.join()
    return peak


def _send_peak(sender: "multiprocessing.connection.Connection", max_objects: int, in_volume: int) -> None:
    volume = disc_volume(MEMORY_SIZE, MEMORY_SLICES, in_volume)
    sampling = SamplingConfig(slices=MEMORY_SLICES, max_objects=max_objects)
    clip = draw_clip(volume, "axial", sampling, MEMORY_SIZE, np.random.default_rng(0)).clip
    our_step(clip)()
    sender.send(peak_kb() / 2**20)


def peak_kb() -> float:
    """The most that this process has held. Not `ru_maxrss`: a new process inherits that from the one that started it."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return float(status.split("VmHWM:")[1].split()[0])
