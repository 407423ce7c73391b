"""The picture of cuda_ext/README.md: what every kernel does to a small mask, in six panels.

Usage: python tools/draw_components.py OUT.svg
"""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from numpy.typing import NDArray
from scipy import ndimage

MASK = """
..####..........
.##..##....##...
.#....#...####..
.#....##.##..#..
.##....###...##.
..##.........#..
...####.##...#..
......####..##..
..##...###.##...
..##....####....
................
.#...........##.
"""
TILE = 6, 8
MIN_SIZE = 5

Labels = NDArray[np.int64]


def draw(out: Path) -> None:
    """All panels of the mask above; tiles are smaller here than on a device."""
    mask = np.array([[c == "#" for c in line] for line in MASK.split()])
    runs = first_of(label(mask, np.array([[0, 0, 0], [1, 1, 1], [0, 0, 0]]), within_tiles=True))
    tiles = first_of(label(mask, np.ones((3, 3)), within_tiles=True))
    parts = first_of(label(mask, np.ones((3, 3)), within_tiles=False))
    mpl.rcParams["svg.hashsalt"] = "components"  # the same file every time
    figure = Figure(figsize=(12, 7.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 3).ravel()
    show(panels[0], mask, np.where(mask, 0, -1), "1. A mask, cut into tiles: one block of threads each")
    show(panels[1], mask, runs, "2. LabelTiles: runs of a row hang from their first node")
    arrows(panels[1], runs)
    show(panels[2], mask, tiles, "3. LabelTiles: rows are joined in shared memory")
    arrows(panels[2], tiles, only=roots(runs))
    show(panels[3], mask, parts, "4. MergeTiles: roots are hooked across tile sides")
    arrows(panels[3], parts, only=roots(tiles))
    show(panels[4], mask, parts, "5. Measure: sums of each tile, added up at roots")
    for root in roots(parts):
        row, col = divmod(root, mask.shape[1])
        panels[4].text(col, row, str((parts == root).sum()), ha="center", va="center", fontsize=8, weight="bold")
    sizes = np.where(mask, np.bincount(parts[mask], minlength=mask.size)[parts], 0)
    show(panels[5], mask, np.where(sizes >= MIN_SIZE, parts, -1), f"6. WriteKept: islands below {MIN_SIZE} are gone")
    figure.savefig(out, metadata={"Date": None})


def label(mask: NDArray[np.bool_], structure: NDArray[np.generic], *, within_tiles: bool) -> Labels:
    """Connected parts, of the whole mask or of every tile on its own."""
    if not within_tiles:
        return ndimage.label(mask, structure)[0].astype(np.int64)
    labels = np.zeros(mask.shape, np.int64)
    for row in range(0, mask.shape[0], TILE[0]):
        for col in range(0, mask.shape[1], TILE[1]):
            tile = np.s_[row : row + TILE[0], col : col + TILE[1]]
            own = ndimage.label(mask[tile], structure)[0]
            labels[tile] = np.where(own > 0, own + labels.max(), 0)
    return labels


def first_of(labels: Labels) -> Labels:
    """The root of every voxel: the raster index of its part's first one; -1 for the background."""
    _, first, back = np.unique(labels, return_index=True, return_inverse=True)
    return np.where(labels > 0, first[back.reshape(labels.shape)], -1)


def roots(parents: Labels) -> list[int]:
    """Every root once."""
    return [int(root) for root in np.unique(parents[parents >= 0])]


def show(axes: Axes, mask: NDArray[np.bool_], parents: Labels, title: str) -> None:
    """Voxels in the colour of their root, tiles, roots as rings."""
    height, width = mask.shape
    colours = mpl.colormaps["tab20"]
    image = np.ones((height, width, 3))
    image[mask] = 0.93
    inside = parents >= 0
    image[inside] = [colours((7 * int(root)) % 20)[:3] for root in parents[inside]]
    image[inside] = 0.45 * image[inside] + 0.55
    axes.imshow(image)
    for row in range(0, height + 1, TILE[0]):
        axes.axhline(row - 0.5, color="0.25", linewidth=1.5)
    for col in range(0, width + 1, TILE[1]):
        axes.axvline(col - 0.5, color="0.25", linewidth=1.5)
    axes.set_xticks(np.arange(width) - 0.5, labels=[])
    axes.set_yticks(np.arange(height) - 0.5, labels=[])
    axes.grid(color="0.85", linewidth=0.5)
    axes.tick_params(length=0)
    axes.set_title(title, fontsize=10)
    if len(roots(parents)) > 1:
        rows, cols = np.divmod(roots(parents), width)
        axes.plot(cols, rows, "o", markersize=15, markerfacecolor="none", markeredgecolor="0.2")


def arrows(axes: Axes, parents: Labels, only: list[int] | None = None) -> None:
    """From children to their roots."""
    width = parents.shape[1]
    for child in np.flatnonzero(parents.ravel() >= 0) if only is None else only:
        root = int(parents.flat[child])
        if root == child:
            continue
        (y0, x0), (y1, x1) = divmod(int(child), width), divmod(root, width)
        bend = "arc3,rad=-0.25" if only is None else "arc3,rad=0.15"
        arrow = FancyArrowPatch(
            (x0, y0), (x1, y1), connectionstyle=bend, arrowstyle="->", mutation_scale=8, color="0.2", linewidth=0.9
        )
        axes.add_patch(arrow)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
