"""The curves of one or more runs, one after the other, as a picture.

Usage: python tools/plot_run.py METRICS.jsonl ... OUT.png
"""

import sys
from pathlib import Path

from NeuroSAM2Core.training.trainer.recorder import draw_curves, read_metrics


def joined(logs: list[Path]) -> list[dict[str, float]]:
    """The reports of all runs; each run's steps follow those of the run before."""
    rows: list[dict[str, float]] = []
    for log in logs:
        done = rows[-1]["step"] if rows else 0
        rows += [{**row, "step": row["step"] + done} for row in read_metrics(log)]
    return rows


if __name__ == "__main__":
    draw_curves(joined([Path(name) for name in sys.argv[1:-1]]), Path(sys.argv[-1]))
