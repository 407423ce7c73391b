"""Records the metrics of a run by step: JSON lines, TensorBoard, Weights & Biases.

`metrics.jsonl` is always written: one JSON object per report. TensorBoard's events are written where TensorBoard is installed; Weights
& Biases is spoken to only when a project is named, and not even imported otherwise.

The curves of a run as a picture, for those who look into its folder.
"""

import json
import logging
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Protocol

import numpy as np

from NeuroSAM2Core.checkpoint.checkpoint import write_atomically
from NeuroSAM2Core.decoding import DecodingError, decoded, parse_json
from NeuroSAM2Core.errors import ConfigError, DataError
from NeuroSAM2Core.legacy import current_names

logger = logging.getLogger(__name__)
METRICS_FILE = "metrics.jsonl"
TENSORBOARD_FOLDER = "tensorboard"


class Sink(Protocol):
    """A place that numbers go to."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """The numbers of one step, all finite."""

    def close(self) -> None:
        """Nothing more comes."""


class Recorder:
    """Gives every report to every place; what is not a number is left out."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self.sinks = sinks

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One report.

        Raises:
            DataError: There is not enough memory for it, or the folder is gone.
        """
        finite = {key: value for key, value in values.items() if math.isfinite(value)}
        with _disk_errors_reported(f"the numbers of step {step} cannot be written"):
            for sink in self.sinks:
                sink.write(step, finite)

    def close(self) -> None:
        """Nothing more comes. What cannot be written any more is warned about."""
        for sink in self.sinks:
            try:
                sink.close()
            except OSError as error:
                logger.warning("the last numbers could not be written: %s", error.strerror or error)


class JsonLines:
    """`metrics.jsonl`; lines of steps that a restart will repeat, or that were cut off, are dropped."""

    def __init__(self, folder: Path, *, from_step: int) -> None:
        self.path = folder / METRICS_FILE
        if self.path.exists():  # unreadable lines were reported and are dropped
            try:
                kept = [row for row in read_metrics(self.path) if row["step"] <= from_step]
            except OSError as error:
                raise DataError(
                    f"{self.path} cannot be read: {error.strerror or error}",
                    hint="put it back as it was, or move it away",
                ) from error
            write_atomically(self.path, "".join(json.dumps(row) + "\n" for row in kept).encode())

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One line."""
        rounded = {key: float(f"{value:.6g}") for key, value in values.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **rounded}) + "\n")

    def close(self) -> None:
        """Every line is on the disk already."""


class TensorBoard:
    """TensorBoard's event files; those of steps that a restart will repeat are marked as void.

    The file is opened here: TensorBoard's own writer takes every name for UTF-8, and fails in a thread of its own.
    """

    def __init__(self, folder: Path, *, from_step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = Event, Summary
        place = folder / TENSORBOARD_FOLDER
        place.mkdir(exist_ok=True)
        self._records = RecordWriter((place / f"events.out.tfevents.{time.time_ns()}.{os.getpid()}").open("xb"))
        self._write(0, file_version="brain.Event:2")
        if from_step:
            self._write(from_step + 1, session_log=SessionLog(status=SessionLog.START))
        self._records.flush()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One point per curve."""
        points = [self._summary.Value(tag=key, simple_value=value) for key, value in values.items()]
        self._write(step, summary=self._summary(value=points))
        self._records.flush()

    def close(self) -> None:
        """Closes the file."""
        self._records.close()

    def _write(self, step: int, **content: object) -> None:
        self._records.write(self._event(wall_time=time.time(), step=step, **content).SerializeToString())


class WeightsAndBiases:
    """A run of a Weights & Biases project; a restart goes on in the same one."""

    def __init__(self, folder: Path, project: str) -> None:
        try:
            import wandb
        except ModuleNotFoundError:
            raise ConfigError(
                "run.wandb_project is set, but Weights & Biases is not installed", hint="pip install wandb"
            ) from None
        self.run = wandb.init(project=project, name=folder.name, id=folder.name, dir=str(folder), resume="allow")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One point per curve."""
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        """Ends the run."""
        self.run.finish()


def open_recorder(folder: Path | None, *, from_step: int, wandb_project: str = "") -> Recorder:
    """Every place that this machine and the configuration offer.

    Args:
        folder: The run's; None for a process that reports nothing.
        from_step: Steps that are done; later numbers of an earlier session are void.
        wandb_project: Of Weights & Biases; empty for none.

    Raises:
        ConfigError: Weights & Biases is asked for and not installed.
        CheckpointError: The numbers of an earlier session cannot be written anew.
        DataError: A file cannot be made.
    """
    if folder is None:
        return Recorder([])
    with ExitStack() as opened:  # closes them where a later one cannot be opened
        sinks: list[Sink] = [opened.enter_context(closing(JsonLines(folder, from_step=from_step)))]
        try:
            sinks.append(opened.enter_context(closing(TensorBoard(folder, from_step=from_step))))
        except ModuleNotFoundError:
            logger.warning("no TensorBoard events: it is not installed; `pip install tensorboard` adds it")
        except OSError as error:  # a run does not end for that
            place = folder / TENSORBOARD_FOLDER
            logger.warning("no TensorBoard events: they cannot be written to %s: %s", place, error)
        if wandb_project:
            sinks.append(WeightsAndBiases(folder, wandb_project))
        opened.pop_all()
    return Recorder(sinks)


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The reports in a `metrics.jsonl`, oldest first; a line that was cut off or damaged is left out, with a warning."""
    rows = []
    lines = path.read_bytes().splitlines()
    for line in lines:
        with suppress(DecodingError):
            rows.append(_report_of(line))
    if len(rows) < len(lines):
        logger.warning(
            "left out %d of %d lines of %s that were cut off or damaged", len(lines) - len(rows), len(lines), path.name
        )
    return rows


def _report_of(line: bytes) -> dict[str, float]:
    """Numbers by name, and the step.

    Raises:
        DecodingError: It is no report.
    """
    row = decoded(dict[str, float], parse_json(line), "")
    step = row.get("step", math.nan)
    if step < 0 or not step.is_integer():
        raise DecodingError(f"the step is {step}")
    return current_names({**row, "step": int(step)})


@contextmanager
def _disk_errors_reported(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{what}: {error.strerror or error}", hint="free some space; the run goes on with --resume"
        ) from error


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
    """Draws what a run's `metrics.jsonl` holds into its `curves.png`; where there is not enough memory for it, a warning says so."""
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
