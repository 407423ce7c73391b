"""A picture of a result that a person would want to look at: slices with the outline, the prompted one with its prompts."""

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import ConfigError, DataError
from NeuroSAM2Core.outputs import writing
from NeuroSAM2Core.prompts import PromptSet
from NeuroSAM2Core.volume import Axis, IntensityWindow, SliceStack, Volume

COLUMNS, ROWS = 5, 3
OUTLINE, BOX, POSITIVE, NEGATIVE = "#ff9d2e", "#4cc3ff", "#56e36b", "#ff5a5a"


def check_picture(path: Path) -> None:
    """Checks, before long work, that a picture can be drawn and has a name and a folder.

    Raises:
        ConfigError: matplotlib is not installed.
        DataError: The name or the folder will not do.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError("pictures need matplotlib", hint="install it with `pip install matplotlib`")
    if path.suffix.lower() != ".png":
        raise DataError(f"cannot write {path.name}: expected a name that ends in .png")
    if not disk.is_folder(path.parent):
        raise DataError(f"cannot write {path.name}: there is no folder {path.parent}")


def draw_montage(
    path: Path,
    volume: Volume,
    window: IntensityWindow,
    axis: Axis,
    mask: NDArray[np.bool_],
    prompts: list[PromptSet],
    title: str,
) -> None:
    """Draws slices spread over the object, each the right way up.

    Args:
        path: The PNG to write.
        volume: The image.
        window: Black and white.
        axis: Along which slices are cut.
        mask: The object, (K, J, I).
        prompts: The prompts; their slices are always shown.
        title: Above the picture.

    Raises:
        DataError: The picture cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    stack, masks = SliceStack.of(volume, axis), SliceStack.of(volume.with_voxels(mask), axis)
    spacing = [volume.spacing_mm[2 - array_axis] for array_axis in stack.order]
    by_number = {stack.number_of(p.plane.index): p for p in prompts}
    figure = Figure(figsize=(3 * COLUMNS, 3.1 * ROWS + 0.6), facecolor="black", layout="constrained")
    FigureCanvasAgg(figure)
    heading = f"{_printable(title)}: {mask.sum() * volume.voxel_volume_ml:.1f} mL"
    figure.suptitle(heading, color="white", fontsize=15, parse_math=False)
    for axes, number in zip(figure.subplots(ROWS, COLUMNS).flat, _shown(masks.voxels, set(by_number)), strict=False):
        axes.imshow(window.normalise(stack.voxels[number]), cmap="gray", vmin=0, vmax=1, aspect=spacing[1] / spacing[2])
        if masks.voxels[number].any():
            axes.contour(masks.voxels[number], levels=[0.5], colors=OUTLINE, linewidths=1.4)
        if number in by_number:
            _mark(axes, stack, by_number[number])
        axes.set_title(f"{axis} = {stack.number_of(number)}", color="white", fontsize=9)
    for axes in figure.axes:
        axes.set_axis_off()
    with (
        writing(path),
        disk.replaced_atomically(path) as partial,
        partial.open("wb") as file,
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # letters that the font lacks become boxes
        figure.savefig(file, format="png", dpi=90, facecolor="black")


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def _shown(masks: NDArray[np.bool_], prompted: set[int]) -> list[int]:
    """Slices spread evenly over the object, the nearest ones moved onto the prompted slices."""
    filled = np.flatnonzero(masks.any(axis=(1, 2)))
    first, last = (int(filled[0]), int(filled[-1])) if len(filled) else (0, len(masks) - 1)
    shown = sorted({round(n) for n in np.linspace(first, last, COLUMNS * ROWS).tolist()})
    for number in prompted - set(shown):
        shown[min(range(len(shown)), key=lambda i: abs(shown[i] - number))] = number
    return sorted(set(shown))


def _mark(axes: Any, stack: SliceStack, prompts: PromptSet) -> None:  # noqa: ANN401  (matplotlib is optional)
    if prompts.box is not None:
        row0, col0, row1, col1 = stack.box_to_stack(
            prompts.box.row0, prompts.box.col0, prompts.box.row1, prompts.box.col1
        )
        axes.plot(
            [col0 - 0.5, col1 + 0.5, col1 + 0.5, col0 - 0.5, col0 - 0.5],
            [row0 - 0.5, row0 - 0.5, row1 + 0.5, row1 + 0.5, row0 - 0.5],
            color=BOX,
            linewidth=1.2,
            linestyle="--",
        )
    for point in prompts.points:
        row, col = stack.to_stack(point.row, point.col)
        axes.plot(
            col, row, "+" if point.positive else "_", color=POSITIVE if point.positive else NEGATIVE, ms=11, mew=2.4
        )
