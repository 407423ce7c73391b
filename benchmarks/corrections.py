"""Clicks on one slice: how the mask gets better, with the model's own single mask and with the selected one (docs/adr/0012).

The tight box or a click in the middle, then clicks in the middle of the largest error, all on the slice where the object is largest: of
synthetic volumes, of the MNI152 brain along all three axes, and of faint lesions in deformed brains.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality import Mask, mni152
from benchmarks.report import as_table
from benchmarks.unseen import unseen_objects
from NeuroSAM2Core import EngineOptions, Session, Volume, load_model
from NeuroSAM2Core.measures.agreement import dice
from NeuroSAM2Core.model import SAM2
from NeuroSAM2Core.prompts import box_from_mask, click_from_error
from NeuroSAM2Core.volume import Axis
from tools.make_finetuning_cases import make_case, template

SEEDS = range(3_000_000, 3_000_030)
SHAPE = (8, 128, 128)
LESIONS = 12
CLICKS = 5
Picture = tuple[NDArray[np.float32], Mask]
"""A slice and the object on it, both (H, W)."""


def measure() -> str:
    """The table of this file."""
    model = load_model("nano")
    sets = {"synthetic": list(synthetic()), "MNI152": list(brain()), "faint lesions": list(lesions())}
    rows = []
    for name, pictures in sets.items():
        for start in ("box", "click"):
            for what, selects in (("single", False), ("selected", True)):
                reached = np.mean([task(model, *one, start, selects) for one in pictures], axis=0)
                rows.append((name, str(len(pictures)), start, what, *(f"{d:.3f}" for d in reached)))
                print(*rows[-1], sep=" | ", flush=True)
    after = ("1 click", *(f"{n} clicks" for n in range(2, CLICKS + 1)))
    return as_table(("slices of", "number", "first prompt", "mask", "Dice", *(f"after {n}" for n in after)), rows)


def task(model: SAM2, image: NDArray[np.float32], truth: Mask, start: str, selects: bool) -> list[float]:
    """Dice after the first prompt and after each click; as it was where nothing is wrong any more."""
    session = Session(model, Volume(image[None], np.eye(4)), options=EngineOptions(select_correction_mask=selects))
    reached: list[float] = []
    mask = np.zeros_like(truth)
    for number in range(CLICKS + 1):
        box, click = box_from_mask(truth), click_from_error(truth, mask)
        if number == 0 and start == "box" and box is not None:
            mask = session.add_box(1, Axis.K, 0, (box.row0, box.col0, box.row1, box.col1)).mask
        elif click is not None:
            mask = session.add_point(1, Axis.K, 0, (click.row, click.col), positive=click.positive).mask
        reached.append(dice(mask, truth))
    return reached


def synthetic() -> Iterator[Picture]:
    """Heads and shapes as the model was trained on, of other seeds."""
    for image, truth in unseen_objects(SEEDS, SHAPE):
        yield largest(image, truth)


def brain() -> Iterator[Picture]:
    """Real anatomy, along all axes."""
    image, objects = mni152()
    for truth in objects.values():
        for axis in range(3):
            yield largest(np.moveaxis(image.voxels, axis, 0), np.moveaxis(truth, axis, 0))


def lesions() -> Iterator[Picture]:
    """Small, and hardly brighter than what is around them."""
    template_brain = template()
    for number in range(LESIONS):
        image, label = make_case(template_brain, "lesion", np.random.default_rng((SEEDS.start, number)))
        yield largest(image.voxels, label.voxels > 0)


def largest(image: NDArray[np.generic], truth: Mask) -> Picture:
    """The slice with most of the object."""
    number = int(truth.sum(axis=(1, 2)).argmax())
    return np.ascontiguousarray(image[number], dtype=np.float32), np.ascontiguousarray(truth[number])
