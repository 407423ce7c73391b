"""Quality on the MNI152 brain, which no model here was trained on: the bundled model and classical tools, with the same simulated prompts.

Every method gets the tight box of the object's largest axial slice, then up to five clicks, each in the middle of the largest error
of the slice that is worst for that method.
"""

import time
import warnings
from collections.abc import Callable, Iterator
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import as_table
from NeuroSAM2Core import Session, Volume, load_model
from NeuroSAM2Core.train.evaluation import Round, clicks_to, evaluate
from NeuroSAM2Core.train.evaluation.rounds import Segmenter
from NeuroSAM2Core.volume import Axis

CLICKS = 5
SEED_RADIUS = 2
Mask = NDArray[np.bool_]


def measure() -> str:
    """The table of this file."""
    image, objects = mni152()
    methods: dict[str, Callable[[], Segmenter]] = {
        "nano": lambda: Session(load_model("nano"), image),
        "random walker, 2 mm": lambda: Seeds(image, random_walker),
    }
    if growcut_is_there():
        methods["GrowCut (3D Slicer), 2 mm"] = lambda: Seeds(image, growcut)
    else:
        print("GrowCut is left out: the package slicer-core cannot be imported here")
    rows = []
    for name, truth in objects.items():
        for method, make in methods.items():
            started = time.perf_counter()
            rounds = list(evaluate(make(), truth, Axis.K, num_clicks=CLICKS))
            rows.append(row(name, method, rounds, time.perf_counter() - started))
            print(rows[-1], flush=True)
    head = (
        "object",
        "method",
        "Dice after the box",
        f"after {CLICKS} clicks",
        "best",
        "clicks to 0.80",
        "to 0.90",
        "seconds",
    )
    return as_table(head, rows)


def row(name: str, method: str, rounds: list[Round], seconds: float) -> tuple[str, ...]:
    """One line of the table."""
    reached = ["not reached" if (n := clicks_to(rounds, target)) is None else str(n) for target in (0.80, 0.90)]
    best = max(r.dice for r in rounds)
    return name, method, f"{rounds[0].dice:.3f}", f"{rounds[-1].dice:.3f}", f"{best:.3f}", *reached, f"{seconds:.0f}"


def mni152() -> tuple[Volume, dict[str, Mask]]:
    """The T1 template of the nilearn package and what is to be found in it."""
    folder = resources.files("nilearn.datasets") / "data"
    t1, grey, white = (
        Volume.read(str(folder / f"mni_icbm152_{what}_tal_nlin_sym_09a_converted.nii.gz"))
        for what in ("t1", "gm", "wm")
    )
    is_grey, is_white = grey.voxels > 127, white.voxels > 127
    is_left = np.arange(t1.shape[2]) < t1.to_ijk(np.zeros(3))[0]
    return t1, {
        "whole brain": np.asarray(t1.voxels > 0),
        "white matter": np.asarray(is_white),
        "grey and white matter, left hemisphere": (is_grey | is_white) & is_left,
    }


class Seeds:
    """A classical tool behind the same prompts: it needs seeds in and around the object.

    The middle third of the box is object, everything outside the box is background on every slice; clicks are small balls. Computed on
    every second voxel, since the tools take minutes otherwise.
    """

    def __init__(self, image: Volume, solve: Callable[[NDArray[np.float32], NDArray[np.uint8]], Mask]) -> None:
        self.shape, self.solve = image.shape, solve
        self.image = np.asarray(image.voxels[::2, ::2, ::2], dtype=np.float32) / 255.0
        self.seeds = np.zeros(self.image.shape, np.uint8)
        self.answer = np.zeros(image.shape, bool)

    def add_box(self, object_id: int, axis: str, index: int, box: tuple[float, ...]) -> None:
        r0, c0, r1, c1 = (round(v / 2) for v in box)
        self.seeds[:] = 2
        self.seeds[:, r0 : r1 + 1, c0 : c1 + 1] = 0
        h, w = (r1 - r0) // 3, (c1 - c0) // 3
        self.seeds[index // 2, r0 + h : r1 - h + 1, c0 + w : c1 - w + 1] = 1

    def add_point(
        self,
        object_id: int,
        axis: str,
        index: int,
        point: tuple[float, float],
        *,
        positive: bool,
    ) -> None:
        k, j, i = (int(v) // 2 for v in (index, *point))
        ball = tuple(slice(max(0, c - SEED_RADIUS), c + SEED_RADIUS + 1) for c in (k, j, i))
        self.seeds[ball] = 1 if positive else 2

    def propagate(self, object_id: int) -> Iterator[None]:
        solved = self.solve(self.image, self.seeds)
        big = solved.repeat(2, 0).repeat(2, 1).repeat(2, 2)
        self.answer = big[: self.shape[0], : self.shape[1], : self.shape[2]]
        return iter(())

    def mask(self, object_id: int) -> Mask:
        return self.answer


def random_walker(image: NDArray[np.float32], seeds: NDArray[np.uint8]) -> Mask:
    """Grady 2006, as in scikit-image."""
    from skimage.segmentation import random_walker as walk

    with warnings.catch_warnings(action="ignore"):
        return np.asarray(walk(image, seeds.astype(np.int32), beta=2000, mode="cg_j", tol=1e-3) == 1)


def growcut_is_there() -> bool:
    """Slicer's own implementation comes with the package slicer-core."""
    try:
        from slicer import vtkImageGrowCutSegment  # noqa: F401
    except ImportError:
        return False
    return True


def growcut(image: NDArray[np.float32], seeds: NDArray[np.uint8]) -> Mask:
    """Zhu et al. 2014, as in 3D Slicer's Grow from Seeds."""
    from slicer import vtkImageGrowCutSegment
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData

    def as_image(array: NDArray[np.generic]) -> vtkImageData:
        one = vtkImageData()
        one.SetDimensions(*array.shape[::-1])
        one.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(array).ravel(), deep=True))
        return one

    grow = vtkImageGrowCutSegment()
    grow.SetIntensityVolume(as_image((image * 1000).astype(np.int16)))
    grow.SetSeedLabelVolume(as_image(seeds.astype(np.int16)))
    grow.Update()
    return vtk_to_numpy(grow.GetOutput().GetPointData().GetScalars()).reshape(image.shape) == 1
