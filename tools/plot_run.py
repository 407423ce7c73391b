"""The curves of one or more runs, one after the other, as a picture.

Usage: python tools/plot_run.py METRICS.jsonl ... OUT.png
"""

import json
import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

SMOOTHING = 5


def plot(logs: list[Path], out: Path) -> None:
    """Loss and the three overlaps by step; each run's steps follow those of the run before."""
    rows: list[dict[str, float]] = []
    for log in logs:
        done = rows[-1]["step"] if rows else 0
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        rows += [{**line, "step": line["step"] + done} for line in lines]
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    losses, overlaps = figure.subplots(1, 2)
    for axes, keys in ((losses, ("loss",)), (overlaps, ("prompted_iou", "tracked_iou", "corrected_iou"))):
        for key in keys:
            points = [(row["step"], row[key]) for row in rows if key in row]
            steps, values = np.array(points).T
            kernel = np.ones(SMOOTHING) / SMOOTHING
            axes.plot(steps[SMOOTHING - 1 :], np.convolve(values, kernel, mode="valid"), label=key)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        axes.legend()
    losses.set_yscale("log")
    figure.savefig(out, dpi=90)


if __name__ == "__main__":
    plot([Path(name) for name in sys.argv[1:-1]], Path(sys.argv[-1]))
