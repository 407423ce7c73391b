"""How long a run will take and how much memory it needs, judged by an earlier run on this computer. Never guessed."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from NeuroSAM2Core.decoding import DecodingError
from NeuroSAM2Lib.engine.progress_rate import duration
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.training.run import report_of

UNKNOWN = _("How long it takes is known after the first steps; nothing was trained here before.")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run took."""

    seconds_per_step: float
    """Its start included."""
    memory_gb: float | None
    """At most; None where it does not say."""


def cost_of(run_folder: Path) -> Cost | None:
    """Of a run that has reported; None otherwise."""
    metrics, config = (
        run_folder / "metrics.jsonl",
        run_folder.with_suffix(".toml"),
    )  # the latter is written just before the start
    try:
        lines = metrics.read_bytes().splitlines()
        seconds = max(0.0, metrics.stat().st_mtime - config.stat().st_mtime)
    except OSError:
        return None
    steps, memory = 0, [0.0]
    for line in lines:
        with suppress(DecodingError):  # cut off or damaged
            step, values = report_of(line)
            steps = max(steps, step)
            memory.append(values.get("memory_gb") or 0.0)
    return Cost(seconds / steps, max(memory) or None) if steps > 0 else None


def estimate(project: Path, steps: int) -> str:
    """A sentence for before the start.

    Args:
        project: Holds `runs/`.
        steps: How many are asked for.
    """
    for folder in sorted((project / "runs").glob("[0-9]*"), reverse=True):
        cost = cost_of(folder) if folder.is_dir() else None
        if cost is not None:
            time = duration(cost.seconds_per_step * steps)
            memory = (
                ""
                if cost.memory_gb is None
                else _(" and {memory_gb:.1f} GB of memory").format(memory_gb=cost.memory_gb)
            )
            return _(
                "About {time}{memory}, judged by run {folder} on this computer ({seconds_per_step:.2g} s per step)."
            ).format(time=time, memory=memory, folder=folder.name, seconds_per_step=cost.seconds_per_step)
    return UNKNOWN
