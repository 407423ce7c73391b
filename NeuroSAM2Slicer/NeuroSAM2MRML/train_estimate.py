"""How long a run will take: said from what earlier runs on this computer took, and during a run from its own pace. Never guessed."""

import re
from pathlib import Path

from NeuroSAM2MRML.pace import time_left

UNKNOWN = "How long it takes is known after the first steps; nothing was trained here before."


def seconds_per_step(run_folder: Path) -> float | None:
    """Of a run that has reported at least twice, its start included; None otherwise."""
    metrics = run_folder / "metrics.jsonl"
    config = run_folder.with_suffix(".toml")  # written just before the start
    if not metrics.is_file() or not config.is_file():
        return None
    steps = [int(one) for one in re.findall(r'"step": (\d+)', metrics.read_text(errors="replace"))]
    if len(steps) < 2 or steps[-1] == 0:
        return None
    return max(0.0, metrics.stat().st_mtime - config.stat().st_mtime) / steps[-1]


def estimate(project: Path, steps: int) -> str:
    """A sentence for before the start.

    Args:
        project: Holds `runs/`.
        steps: How many are asked for.
    """
    for folder in sorted((project / "runs").glob("[0-9]*"), reverse=True):
        rate = seconds_per_step(folder) if folder.is_dir() else None
        if rate is not None:
            said = time_left(rate * steps).removesuffix(" left")
            return f"About {said}, judged by run {folder.name} on this computer ({rate:.2g} s per step)."
    return UNKNOWN
