"""The curves of a run as a picture, for those who look into its folder."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from NeuroSAM2Core.training.trainer.recorder import METRICS_FILE, read_metrics

logger = logging.getLogger(__name__)

CURVES_FILE = "curves.png"
SMOOTHING = 5
PANELS = (
    ("loss", ("loss",), "log"),
    ("IoU of training answers", ("prompted_iou", "tracked_iou", "corrected_iou"), "linear"),
    ("validation", ("validation",), "linear"),
    ("learning rate", ("learning_rate",), "log"),
)
"""Title, how the keys begin, scale."""


def plot_curves(folder: Path) -> None:
    """Draws what a run's `metrics.jsonl` holds into its `curves.png`; where There is not enough memory for it, a warning says so."""
    path = folder / METRICS_FILE
    try:
        if path.exists():
            draw_curves(read_metrics(path), folder / CURVES_FILE)
    except OSError as error:
        logger.warning("the curves are not drawn: %s", error.strerror or error)


def draw_curves(rows: Sequence[Mapping[str, float]], out: Path) -> None:
    """Draws reports as a PNG; does nothing where matplotlib is not installed or there are none.

    Args:
        rows: From `read_metrics`.
        out: The picture.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        logger.warning("no curves: matplotlib is not installed; `pip install matplotlib` adds it")
        return
    found = [
        (title, keys, scale)
        for title, starts, scale in PANELS
        if (keys := sorted({key for row in rows for key in row if key.startswith(starts)}))
    ]
    if not found:
        return
    figure = Figure(figsize=(5 * len(found), 4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, keys, scale) in zip(np.atleast_1d(figure.subplots(1, len(found))), found, strict=True):
        for key in keys:
            steps, values = np.array([(row["step"], row[key]) for row in rows if key in row]).T
            window = min(SMOOTHING, len(values)) if title != "validation" else 1
            smooth = np.convolve(values, np.ones(window) / window, mode="valid")
            axes.plot(steps[window - 1 :], smooth, label=key, marker="." if len(smooth) < 20 else "")
        is_positive = any(row[key] > 0 for row in rows for key in keys if key in row)
        axes.set(title=title, xlabel="step", yscale=scale if is_positive else "linear")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(out, dpi=90)
