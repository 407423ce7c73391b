"""The curves of a run as a picture, for those who look into its folder."""

import logging
from pathlib import Path

import numpy as np

from NeuroSAM2Core.train.recorder import METRICS_FILE, read_metrics

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


def plot_curves(folder: Path, out: Path | None = None) -> None:
    """Draws what `metrics.jsonl` holds; does nothing where matplotlib is not installed or nothing was reported yet.

    Args:
        folder: The run's.
        out: The picture; `curves.png` in the folder if None.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        logger.warning('no curves: matplotlib is not installed; `pip install "neurosam2[png]"` adds it')
        return
    path = folder / METRICS_FILE
    rows = read_metrics(path) if path.exists() else []
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
        axes.set(title=title, xlabel="step", yscale=scale)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(out or folder / CURVES_FILE, dpi=90)
