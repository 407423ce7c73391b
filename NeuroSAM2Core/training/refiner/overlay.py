"""Pictures of views as the mask refiner sees them, with the truth: to look at before a long run."""

from pathlib import Path
from typing import TYPE_CHECKING

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.outputs import check_outputs, writing
from NeuroSAM2Core.training.config.refiner import RefinerConfig
from NeuroSAM2Core.training.refiner.batches import RefinerBatch, RefinerBatches

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROWS, COLUMNS = 6, 4
"""Views in a picture; of each the slice, its neighbour or what the box suggests, and the evidence."""
PARTS = {0: ("gray", 0.0, 1.0), 1: ("gray", 0.0, 1.0), 3: ("coolwarm", -1.0, 1.0)}
"""Channel of a view: colours and their range."""
INCH = 1.4


def draw_views(folder: Path, config: RefinerConfig, bank: Path, *, overwrite: bool = False) -> Path:
    """A picture of the first views of a run: green is the object, orange what is known of its place.

    Args:
        folder: Where the PNG is written to.
        config: The run.
        bank: Its heads.
        overwrite: A picture that is there may be replaced.

    Returns:
        The file.

    Raises:
        ConfigError: matplotlib is not installed.
        DataError: The picture cannot be written or is there already.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("pictures need matplotlib", hint="install it with `pip install matplotlib`") from error

    path, data, count = folder / "views.png", RefinerBatches(config, bank), ROWS * COLUMNS
    check_outputs([path], overwrite=overwrite)
    batches = [data[step] for step in range(-(-count // config.batch))]
    views = [(batch, row) for batch in batches for row in range(len(batch.views))][:count]
    width = COLUMNS * len(PARTS)
    figure = Figure(figsize=(INCH * width, INCH * ROWS), facecolor="black", layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(ROWS, width).reshape(count, len(PARTS))
    for axes, (batch, row) in zip(grid, views, strict=True):
        for part, channel in zip(axes, PARTS, strict=True):
            _draw_part(part, batch, row, channel)
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        with disk.replaced_atomically(path, overwrite=overwrite) as partial:
            figure.savefig(partial, format="png", dpi=80, facecolor="black")
    return path


def _draw_part(axes: "Axes", batch: RefinerBatch, row: int, channel: int) -> None:
    view, truth = batch.views[row].numpy(), batch.truths[row, 0].numpy()
    colours, low, high = PARTS[channel]
    axes.imshow(view[channel], cmap=colours, vmin=low, vmax=high)
    for levels, colour, value in ((truth, "#56e36b", 0.5), (view[2], "#ff9d2e", 0.0)):
        if levels.min() < value < levels.max():
            axes.contour(levels, levels=[value], colors=colour, linewidths=0.9)
    axes.set_axis_off()
