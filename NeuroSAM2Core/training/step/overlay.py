"""Pictures of clips as training sees them, with the objects segmented and a first prompt on each: to look at before a long run."""

from collections.abc import Iterable
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import ConfigError, DataError
from NeuroSAM2Core.outputs import check_outputs, writing
from NeuroSAM2Core.training.data.clip import ClipBatch
from NeuroSAM2Core.training.step.prompts import first_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#ff9d2e", "#4cc3ff", "#56e36b", "#ff6ad5", "#f5e663")
MAX_SLICES, COLUMNS = 8, 4
INCH = 2.2


def clip_picture(folder: Path, number: int) -> Path:
    """The file of a clip's picture; they are counted from 1."""
    return folder / f"clip-{number:02}.png"


def draw_clips(folder: Path, batches: Iterable[ClipBatch], *, seed: int = 0, overwrite: bool = False) -> list[Path]:
    """A picture for every clip: its slices in order, the objects segmented, on the first slice the box and the click that may start it.

    Args:
        folder: Where the PNGs are written to.
        batches: Whose clips are drawn.
        seed: Decides the prompts.
        overwrite: Pictures that are there may be replaced.

    Returns:
        The files.

    Raises:
        ConfigError: matplotlib is not installed.
        DataError: A picture cannot be written or is there already, or there is no clip.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("pictures need matplotlib", hint="install it with `pip install matplotlib`") from error

    rng = np.random.default_rng(seed)
    clips = [(batch, row) for batch in batches for row in range(len(batch.images))]
    if not clips:
        raise DataError("there is no clip to draw")
    drawn = [clip_picture(folder, number) for number in range(1, len(clips) + 1)]
    check_outputs(drawn, overwrite=overwrite)
    for path, (batch, row) in zip(drawn, clips, strict=True):
        count = batch.images.shape[1]
        shown = sorted({round(n) for n in np.linspace(0, count - 1, min(MAX_SLICES, count)).tolist()})
        columns = min(COLUMNS, len(shown))
        rows = ceil(len(shown) / columns)
        figure = Figure(figsize=(INCH * columns, INCH * rows), facecolor="black", layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, t in zip(grid.flat, shown, strict=False):
            _draw_slice(axes, batch, row, t, rng)
        for axes in grid.flat:
            axes.set_axis_off()
        with writing(path):
            folder.mkdir(parents=True, exist_ok=True)
            with disk.replaced_atomically(path, overwrite=overwrite) as partial:
                figure.savefig(partial, format="png", dpi=80, facecolor="black")
    return drawn


def _draw_slice(axes: "Axes", batch: ClipBatch, row: int, t: int, rng: np.random.Generator) -> None:
    axes.imshow(batch.images[row, t].numpy(), cmap="gray", vmin=0, vmax=1)
    for n in np.flatnonzero(batch.is_real[row].numpy()):
        mask, colour = batch.masks[row, n, t], COLOURS[n % len(COLOURS)]
        if not mask.any():
            continue
        axes.contour(mask.numpy(), levels=[0.5], colors=colour, linewidths=1.2)
        if t == 0:
            box = first_points("box", mask[None], rng).coords[0].numpy()
            (left, top), (right, bottom) = box + np.array([[-0.5], [0.5]])
            corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
            axes.plot(*zip(*corners, strict=True), color=colour, linewidth=1, linestyle="--")
            axes.plot(*first_points("click", mask[None], rng).coords[0, 0].tolist(), "+", color=colour, ms=9, mew=2)
    axes.set_title(f"slice {t + 1} of {batch.images.shape[1]}", color="white", fontsize=7)
