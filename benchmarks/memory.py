"""What every further slice costs in memory, and how much large volumes take: read, prompted, propagated and written out.

Usage: python -m benchmarks.run memory
"""

import ctypes
import gc
import multiprocessing
import select
import sys
import tempfile
import time
import types
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import Tensor, nn

from benchmarks.pair import NAME, OPTIONS, SIDE, drain, our_model, ours, theirs
from benchmarks.report import as_table, beside
from NeuroSAM2Core import Session, Volume, load_model
from NeuroSAM2Core.model import SAM2, ImageFeatures
from NeuroSAM2Core.prompts import BoxPrompt, PromptSet
from NeuroSAM2Core.remote import Disconnected, EngineClient, Failed, LoadModel, PredictSlice
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.reference import reference_model
from Testing.Support.volumes import UPRIGHT, ball_volume, noise_volume

MAX_PREVIEW_SLICES, MANY = 32, 160
LARGE = ((1000, 512, 512), (600, 1024, 1024))
"""(K, J, I): a CT of the trunk, and a small animal or a specimen."""
FEW_SLICES = 125
PROPAGATED = 12
FIRST_MASKS = 3


def per_slice(size: int, must: str) -> tuple[str, ...]:
    """MB per slice beyond the volume itself, from two runs of different length each; features are not kept."""
    predictor, model = reference_model(NAME, size, video=True), our_model(size)
    skip_arithmetic_of_reference(predictor)
    skip_arithmetic(model)
    options = replace(OPTIONS, feature_cache_bytes=1)

    def reference(volume: Volume) -> object:
        run = theirs(predictor, volume, size)
        run.propagate()
        return run

    def here(volume: Volume) -> object:
        session = ours(model, volume, options)
        drain(session)
        return session

    a, b = slope(reference), slope(here)
    reference_model.cache_clear()  # that model is of no more use
    return beside(f"memory per further slice, {size} px", a, b, unit="MB", target=must)


def slope(run: Callable[[Volume], object]) -> float:
    """MB per slice that a run of many slices holds beyond one of few."""
    few, many = (noise_volume(count, SIDE, SIDE) for count in (MAX_PREVIEW_SLICES, MANY))
    run(few)  # whatever is only needed once
    held = []
    for volume in (few, many):
        before = resident_mb()
        keep = run(volume)
        held.append(resident_mb() - before)
        del keep
    return (held[1] - held[0]) / (MANY - MAX_PREVIEW_SLICES)


def resident_mb() -> float:
    """Memory of this process that is in use, MB."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back
    return psutil.Process().memory_info().rss / 2**20


def skip_arithmetic(model: SAM2) -> None:
    """Encoder and memory attention answer at once with tensors of the right shape."""
    side, width = model.config.grid, model.config.width

    def encode_image(self: SAM2, images: Tensor) -> ImageFeatures:
        n = len(images)
        return ImageFeatures(
            coarse=torch.randn(n, width, side, side),
            stride8=torch.randn(n, width // 4, 2 * side, 2 * side),
            stride4=torch.randn(n, width // 8, 4 * side, 4 * side),
        )

    model.encode_image = types.MethodType(encode_image, model)  # type: ignore[method-assign]
    model.memory_attention.forward = lambda features, keys, memory: features.flatten(2).transpose(1, 2)  # type: ignore[method-assign]


def skip_arithmetic_of_reference(predictor: nn.Module) -> None:
    """The same for the reference."""
    side = predictor.image_size // 16

    def forward_image(self: nn.Module, images: Tensor) -> dict[str, object]:
        shapes = [(32, 4 * side), (64, 2 * side), (256, side)]
        levels = [torch.randn(1, channels, n, n) for channels, n in shapes]
        places = [torch.randn(1, 256, n, n) for _, n in shapes]
        return {"vision_features": levels[-1], "vision_pos_enc": places, "backbone_fpn": levels}

    predictor.forward_image = types.MethodType(forward_image, predictor)
    predictor.memory_attention.forward = lambda curr, **_: curr[0]


def write_large(path: Path, shape: tuple[int, int, int]) -> int:
    """A volume of 16-bit numbers with an ellipsoid in it, as a file; bytes of its voxels."""
    small, _ = ball_volume((shape[0] // 8, shape[1] // 8, shape[2] // 8))
    noise = np.random.default_rng(0).integers(0, 12, shape[1:], dtype=np.int16)
    voxels = np.empty(shape, np.int16)
    for k, plane in enumerate(voxels):
        coarse = small.voxels[min(k // 8, len(small.voxels) - 1)]
        plane[...] = np.roll(noise, k) + np.kron(coarse, np.ones((8, 8))).astype(np.int16)
    Volume(voxels, UPRIGHT).write(path, overwrite=True)
    return voxels.nbytes


def box_of(shape: tuple[int, int, int], axis: int) -> tuple[float, float, float, float]:
    """The box of the ellipsoid on the middle slice along an array axis."""
    radii = [r * n / 2 for r, n in zip((0.7, 0.55, 0.5), shape, strict=True)]
    (a, m), (b, n) = [(r, size / 2) for at, (r, size) in enumerate(zip(radii, shape, strict=True)) if at != axis]
    return m - a, n - b, m + a, n + b


def peak_mb() -> float:
    """The most that this process has held."""
    return status_mb("VmHWM")


def status_mb(name: str) -> float:
    """A line of what Linux says of this process, MB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return float(status.split(f"{name}:")[1].split()[0]) / 1024


def in_child(act: Callable[..., None], *args: object) -> list[float]:
    """What a process of its own sends."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=act, args=(sender, *args))
    process.start()
    sender.close()  # else nobody hears that the process has failed
    found: list[float] = receiver.recv()
    process.join()
    return found


def use_large(sender: Connection, path: str) -> None:
    """Reads a volume, puts a box on the middle slice of every axis, propagates one and writes a label volume; sends the peak after each."""
    model = load_model("nano", device="cpu")
    session = Session(model, ball_volume()[0])
    session.add_box(1, "k", 12, (10, 10, 36, 40))  # whatever is only needed once
    del session
    before, peaks = resident_mb(), list[float]()
    volume = Volume.read(path)
    peaks.append(peak_mb() - before)
    session = Session(model, volume)
    middle = [n // 2 for n in volume.shape]
    session.add_box(1, "k", middle[0], box_of(volume.shape, 0))
    peaks.append(peak_mb() - before)
    session.add_box(2, "j", middle[1], box_of(volume.shape, 1))
    session.add_box(3, "i", middle[2], box_of(volume.shape, 2))
    for _ in session.propagate(1, first=middle[0] - PROPAGATED // 2, last=middle[0] + PROPAGATED // 2):
        pass
    peaks.append(peak_mb() - before)
    session.labels().write(Path(path).with_name("labels.nii.gz"), overwrite=True)
    peaks.append(peak_mb() - before)
    sender.send(peaks)


def first_mask_s(sender: Connection, path: str) -> None:
    """CPU seconds from a volume in memory to the mask of a box on its middle slice, several times."""
    torch.set_num_threads(1)
    model, found = load_model("nano", device="cpu"), list[float]()
    volume = Volume.read(path)
    for _ in range(FIRST_MASKS + 1):
        began = time.process_time()
        Session(model, volume).add_box(1, "k", volume.shape[0] // 2, box_of(volume.shape, 0))
        found.append(time.process_time() - began)
    sender.send(found[1:])


def through_worker(path: Path) -> tuple[float, float]:
    """MB of memory of its own, and of mapped files, that a worker holds more after a volume was opened and prompted."""
    volume = Volume.read(path)
    client = EngineClient.launch()

    def until_ended(number: int) -> None:
        while number in client.unanswered:
            select.select([client], [client] if client.wants_write else [], [], 0.1)
            for event in client.poll():
                assert not isinstance(event, Failed | Disconnected), event

    def held() -> tuple[float, float]:
        maps = psutil.Process(client.welcome.pid).memory_full_info() if client.welcome else None
        assert maps is not None
        shared = psutil.Process(client.welcome.pid).memory_info().shared if client.welcome else 0
        return (maps.rss - shared) / 2**20, shared / 2**20

    def opened(image: Volume) -> None:
        number = client.open_volume(image)
        key = client.volume_id(number)
        until_ended(number)
        box, middle = BoxPrompt(*box_of(image.shape, 0)), image.shape[0] // 2
        prompts = PromptSet(object_id=1, plane=SlicePlane(Axis.K, middle), box=box)
        until_ended(client.submit(PredictSlice(volume_id=key, prompts=prompts)))

    until_ended(client.submit(LoadModel(model="nano", device="cpu")))
    opened(ball_volume()[0])
    before = held()
    opened(volume)
    after = held()
    client.close()
    return after[0] - before[0], after[1] - before[1]


def measure() -> str:
    """The tables of large volumes."""
    rows, masks = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.nii"
        for shape in LARGE:
            nbytes = write_large(path, shape)
            peaks = in_child(use_large, str(path))
            own, mapped = through_worker(path)
            size_mb = nbytes / 2**20
            name = " x ".join(map(str, shape[::-1]))
            rows.append(
                (
                    name,
                    f"{size_mb:.0f} MB",
                    *(f"{peak / size_mb:.2f}" for peak in peaks),
                    f"{own:.0f} MB",
                    f"{mapped:.0f} MB",
                )
            )
            print(*rows[-1], sep=" | ", flush=True)
        for count in (FEW_SLICES, LARGE[0][0]):
            write_large(path, (count, *LARGE[0][1:]))
            masks.append(
                (f"512 x 512 x {count}", f"{1000 * float(np.median(in_child(first_mask_s, str(path)))):.0f} ms")
            )
            print(*masks[-1], sep=" | ", flush=True)
    head = (
        "volume",
        "voxels",
        "read",
        "first mask",
        "three axes, propagation",
        "labels written",
        "worker: own",
        "worker: mapped",
    )
    return as_table(head, rows) + "\n" + as_table(("volume", "first mask, CPU time"), masks)
