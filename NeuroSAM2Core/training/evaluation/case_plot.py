"""Dice of every held-out case before and after, as a picture for a verdict."""

import logging
from pathlib import Path

from NeuroSAM2Core import disk
from NeuroSAM2Core.outputs import writing
from NeuroSAM2Core.verdict import Verdict

logger = logging.getLogger(__name__)

BETTER, WORSE, SAME = "#1b6e3c", "#b3261e", "#5f6368"

MAX_INCHES = 40.0


def draw_cases(verdict: Verdict, out: Path) -> bool:
    """Draws a line for each case, from its Dice before to that after, as a PNG; the best gain is on top.

    Args:
        verdict: Has the cases.
        out: The picture.

    Returns:
        False, with a warning, where matplotlib is not installed; a picture of an earlier comparison is deleted then.

    Raises:
        DataError: It cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        logger.warning("no picture of the cases: matplotlib is not installed; `pip install matplotlib` adds it")
        out.unlink(missing_ok=True)
        return False
    cases = sorted(verdict.cases, key=lambda case: case.difference)
    figure = Figure(figsize=(5, min(1.2 + 0.3 * len(cases), MAX_INCHES)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for row, case in enumerate(cases):
        colour = BETTER if case.is_better else WORSE if case.is_worse else SAME
        axes.plot([case.before, case.after], [row, row], color=colour, linewidth=2, zorder=1)
        axes.scatter([case.before], [row], color="white", edgecolors=colour, zorder=2)
        axes.scatter([case.after], [row], color=colour, marker=">" if case.difference >= 0 else "<", zorder=3)
    axes.set_yticks(range(len(cases)), [case.case for case in cases])
    axes.set(xlabel="Dice after the first prompt: before (circle), after (arrow)", xlim=(-0.03, 1.03))
    axes.grid(axis="x", alpha=0.3)
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with disk.replaced_atomically(out, suffix=out.suffix) as partial:
            figure.savefig(partial, dpi=90, format="png")
    return True
