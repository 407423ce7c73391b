"""This engine beside the reference package on the same random weights, slices and prompts, taking turns in one process."""

import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import psutil
import torch

from NeuroSAM2Core import EngineOptions, Session, Volume
from NeuroSAM2Core.checkpoint import Checkpoint, Provenance
from NeuroSAM2Core.engine.precision import fastest_dtype
from NeuroSAM2Core.model import PRESETS, SAM2
from NeuroSAM2Core.volume import percentile_window
from Testing.Support.reference import ReferenceVideo, reference_model, shapes_of
from Testing.Support.volumes import noise_volume
from Testing.Support.weights import lively_state

NAME = "sam2.1_hiera_t"
SIDE = 256
BOX = (60, 50, 190, 200)
OPTIONS = EngineOptions(is_exact=True, stop_after_absent=None, max_hole_area=0, min_island_area=0)


def measure(num_slices: int) -> str:
    """All tables of this file."""
    rows = []
    for size, count in ((256, num_slices), (512, max(4, num_slices // 2)), (1024, 3)):
        rows += passes(size, count)
    table = "## Speed beside the reference (tiny, random weights, one object)\n\n" + as_table(
        ("what", "reference", "here", "ratio"), rows
    )
    others = [*memory(), loading(), reading(".nii"), reading(".nii.gz"), *nano()]
    if fastest_dtype(torch.device("cpu")) is torch.bfloat16:
        others.append(half())
    return (
        table
        + "\n"
        + as_table(("what", "other", "here", "ratio"), others)
        + f"\nCPU computes in {fastest_dtype(torch.device('cpu'))}.\n"
    )


def as_table(head: tuple[str, ...], rows: list[tuple[str, str, str, str]]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    print("\n".join(lines[2:]), flush=True)
    return "\n".join(lines) + "\n"


def seconds(act: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def our_model(size: int) -> SAM2:
    """The tiny model with the weights that the reference has too."""
    model = SAM2(PRESETS[NAME])
    model.load_state_dict(lively_state(shapes_of(model)))
    model.set_image_size(size)
    return model.eval()


def drain(session: Session) -> None:
    """Propagates to the end."""
    for _ in session.propagate(1):
        pass


def passes(size: int, count: int) -> list[tuple[str, str, str, str]]:
    """First mask, warm click, first and second propagation."""
    volume = noise_volume(count, SIDE, SIDE)
    predictor, model = reference_model(NAME, size, video=True), our_model(size)
    ours: dict[str, list[float]] = {}
    theirs: dict[str, list[float]] = {}
    for _ in range(3 if size <= 256 else 1):
        box = {}

        def their_first(box: dict = box) -> None:
            frames = load_as_reference(volume, size)
            box["run"] = ReferenceVideo(predictor, frames, SIDE, SIDE, half_memory=True)
            box["run"].add(0, 1, box=(BOX[1], BOX[0], BOX[3], BOX[2]))

        def our_first(box: dict = box) -> None:
            box["session"] = Session(model, volume, options=OPTIONS)
            box["session"].add_box(1, "axial", 0, BOX)

        def note(what: str, a: float, b: float) -> None:
            theirs.setdefault(what, []).append(a)
            ours.setdefault(what, []).append(b)

        note("time to first mask", seconds(their_first), seconds(our_first))
        run, session = box["run"], box["session"]
        note(
            "first propagation, per slice", seconds(run.propagate) / count, seconds(lambda s=session: drain(s)) / count
        )
        run.add(count - 1, 1, points=[[100, 100]], labels=[1])
        session.add_point(1, "axial", count - 1, (100, 100))
        done = count - 2
        note(
            "propagation after a correction, per slice",
            seconds(run.propagate) / count,
            seconds(lambda s=session: drain(s)) / done,
        )
        note(
            "warm click",
            seconds(lambda r=run: r.add(count - 1, 1, points=[[90, 120]], labels=[0])),
            seconds(lambda s=session: s.add_point(1, "axial", count - 1, (120, 90), positive=False)),
        )
    rows = []
    for what in ours:
        a, b = statistics.median(theirs[what]), statistics.median(ours[what])
        rows.append((f"{what}, {size} px, {count} slices", f"{1000 * a:.0f} ms", f"{1000 * b:.0f} ms", f"{a / b:.2f}x"))
    print(as_table(("",) * 4, rows), flush=True)
    return rows


def load_as_reference(volume: Volume, size: int) -> torch.Tensor:
    """Every slice as the reference loads a video: 8-bit RGB pictures, resized by Pillow, all at once."""
    from PIL import Image

    window = percentile_window(volume.voxels)
    frames = []
    for one in volume.voxels:
        picture = Image.fromarray((255 * window.normalise(one)).astype(np.uint8)).convert("RGB").resize((size, size))
        frames.append(torch.from_numpy(np.array(picture) / 255.0).permute(2, 0, 1))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (torch.stack(frames).float() - mean[:, None, None]) / std[:, None, None]


def resident_mb() -> float:
    """Memory of this process, MB."""
    gc.collect()
    return psutil.Process().memory_info().rss / 2**20


def memory() -> list[tuple[str, str, str, str]]:
    """What every further slice costs, with the encoder's work left out (its output is random), features not kept."""
    rows = []
    few, many = 24, 88
    for size in (512,):
        slopes = []
        for ours in (False, True):
            held = []
            keep = []
            for count in (few, many):
                before = resident_mb()
                volume = noise_volume(count, SIDE, SIDE)
                if ours:
                    session = Session(our_model(size), volume, options=replace(OPTIONS, feature_cache_bytes=1))
                    session.add_box(1, "axial", 0, BOX)
                    drain(session)
                    session._view(session._objects[1][0]).features._kept.clear()
                    keep.append(session)
                else:
                    run = ReferenceVideo(
                        reference_model(NAME, size, video=True),
                        load_as_reference(volume, size),
                        SIDE,
                        SIDE,
                        half_memory=True,
                    )
                    run.add(0, 1, box=(BOX[1], BOX[0], BOX[3], BOX[2]))
                    run.propagate()
                    keep.append(run)
                held.append(resident_mb() - before)
            slopes.append((held[1] - held[0]) / (many - few))
            keep.clear()
        rows.append(
            (
                f"memory per further slice, {size} px",
                f"{slopes[0]:.2f} MB",
                f"{slopes[1]:.2f} MB",
                f"{slopes[0] / slopes[1]:.1f}x",
            )
        )
    return rows


def loading() -> tuple[str, str, str, str]:
    """From a file to a model that is ready."""
    from hydra import compose
    from hydra.utils import instantiate

    with tempfile.TemporaryDirectory() as folder:
        state = lively_state(shapes_of(SAM2(PRESETS[NAME])))
        ours, theirs = Path(folder) / "a.safetensors", Path(folder) / "a.pt"
        Checkpoint(PRESETS[NAME], state, Provenance(name="a")).save(ours)
        torch.save({"model": state}, theirs)

        def reference() -> None:
            config = compose(config_name=f"configs/sam2.1/{NAME}.yaml")
            model = instantiate(config.model, _recursive_=True)
            model.load_state_dict(torch.load(theirs, weights_only=True)["model"])

        a = statistics.median(seconds(reference) for _ in range(3))
        b = statistics.median(seconds(lambda: Checkpoint.load(ours).build_model()) for _ in range(5))
    return "load the tiny model", f"{1000 * a:.0f} ms", f"{1000 * b:.0f} ms", f"{a / b:.1f}x"


def reading(suffix: str) -> tuple[str, str, str, str]:
    """Reading and normalising a 256 x 256 x 180 float32 volume, beside the usual MONAI chain."""
    from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, ScaleIntensityRangePercentilesd

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        voxels = np.random.default_rng(0).normal(100, 30, (256, 256, 180)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)
        chain = Compose(
            [
                LoadImaged("image"),
                EnsureChannelFirstd("image"),
                ScaleIntensityRangePercentilesd("image", 0.5, 99.5, 0, 1, clip=True),
            ]
        )

        def ours() -> None:
            volume = Volume.read(path)
            window = percentile_window(volume.voxels)
            for one in volume.voxels:
                window.normalise(one)

        a = statistics.median(seconds(lambda: chain({"image": str(path)})) for _ in range(3))
        b = statistics.median(seconds(ours) for _ in range(3))
    return (
        f"read and normalise 256x256x180 {suffix}, beside MONAI",
        f"{1000 * a:.0f} ms",
        f"{1000 * b:.0f} ms",
        f"{a / b:.1f}x",
    )


def half() -> tuple[str, str, str, str]:
    """What choosing bfloat16 gains where the CPU is good at it."""
    volume, model = noise_volume(12, SIDE, SIDE), our_model(512)
    times = []
    for options in (OPTIONS, replace(OPTIONS, is_exact=False)):
        session = Session(model, volume, options=options)
        session.add_box(1, "axial", 0, BOX)
        times.append(seconds(lambda s=session: drain(s)) / 11)
    a, b = times
    return "bfloat16 instead of float32, 512 px, per slice", f"{1000 * a:.0f} ms", f"{1000 * b:.0f} ms", f"{a / b:.2f}x"


def nano() -> list[tuple[str, str, str, str]]:
    """The bundled model's own speed; it has other weights than tiny, so this is no comparison of quality."""
    from NeuroSAM2Core import load_model

    volume = noise_volume(32, SIDE, SIDE)
    session = Session(load_model("nano", device="cpu"), volume, options=OPTIONS)
    session.add_box(1, "axial", 16, BOX)
    per_slice = seconds(lambda: drain(session)) / 31
    session.add_point(1, "axial", 20, (100, 100))
    click = min(seconds(lambda i=i: session.add_point(1, "axial", 20, (100 + i, 90))) for i in range(5))
    return [
        ("nano, per slice", "", f"{1000 * per_slice:.0f} ms", ""),
        ("nano, warm click", "", f"{1000 * click:.1f} ms", ""),
    ]
