"""A run's folder as seen from outside: its settings, its numbers as they come, what it has left so far. Torch-free.

`config.toml`, `metrics.jsonl`, `checkpoints/` and `model.safetensors` are all that training and its panel share.

What goes wrong in a run, seen in its numbers while there is time to stop it. Pure.
How long a run will take and how much memory it needs, judged by an earlier run on this computer. Never guessed.
Presets of what to adapt, and expert settings. Pure.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from NeuroSAM2Core import disk
from NeuroSAM2Core.decoding import DecodingError, Rules, decoded, parse_json, parse_toml
from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.view_state import duration

Curve = Sequence[tuple[int, float]]
"""Values by step."""
MIN_REPORTS = 10
"""In each third of a run, before its losses are compared: they vary with what was drawn for a step."""
CERTAIN = 0.9
"""So many of all pairs of an early and a late loss rise. In 300 simulated runs of 200 reports without a trend they never did."""
MIN_FALL = 0.02
"""Of the validation Dice below its best, before it is said to fall."""
MAX_NAMED = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class RunNumbers:
    """What a run has reported."""

    losses: Curve
    dices: Curve
    """Mean Dice on the validation cases."""
    not_finite_at: int | None = None
    """The step of a loss that is no number; None without any."""
    skipped: Mapping[str, str]
    """Cases that cannot be used, each with the reason."""


def problems(numbers: RunNumbers) -> tuple[str, ...]:
    """What is wrong, a sentence each; nothing where nothing is."""
    found = []
    if numbers.not_finite_at is not None:
        found.append(
            _("The loss of step {step} is not a number. Stop, and begin again with lower learning rates.").format(
                step=numbers.not_finite_at
            )
        )
    if is_rising(numbers.losses):
        found.append(_("The loss rises. The learning rates may be too high: the model forgets more than it learns."))
    best = overfitted_since(numbers.losses, numbers.dices)
    if best is not None:
        step, dice = best
        found.append(
            _(
                "Dice on the checked cases falls, from {best:.2f} at step {step} to {now:.2f}, while the loss falls, too: the model learns "
                "the training cases by heart. You can stop; the model of step {step} is kept as the best one."
            ).format(best=dice, step=step, now=numbers.dices[-1][1])
        )
    if numbers.skipped:
        found.append(_skipped(list(numbers.skipped.items())))
    return tuple(found)


def _skipped(cases: Sequence[tuple[str, str]]) -> str:
    named = "; ".join(f"{case} ({reason})" for case, reason in cases[:MAX_NAMED])
    if len(cases) > MAX_NAMED:
        return _("Cases that cannot be used are left out: {cases}; and {more} more.").format(
            cases=named, more=len(cases) - MAX_NAMED
        )
    return _("Cases that cannot be used are left out: {cases}.").format(cases=named)


def is_rising(losses: Curve) -> bool:
    """The last third of the losses is above the better one of the two before it."""
    size = len(losses) // 3
    if size < MIN_REPORTS:
        return False
    values = np.array([value for _step, value in losses])
    late = values[-size:]
    early = min((values[:size], values[size : 2 * size]), key=lambda part: float(np.median(part)))
    below = np.searchsorted(np.sort(early), late)  # of each late loss, how many early ones
    return float(below.mean()) / size >= CERTAIN


def overfitted_since(losses: Curve, dices: Curve) -> tuple[int, float] | None:
    """Step and Dice of the best validation, where the last two are below it and the loss fell after it; None otherwise."""
    if len(dices) < 3:
        return None
    step, best = max(dices, key=lambda one: one[1])
    if any(at <= step or dice > best - MIN_FALL for at, dice in dices[-2:]):
        return None
    before = [value for at, value in losses if at <= step]
    after = [value for at, value in losses if at > step]
    fell = bool(before and after) and np.median(after) < np.median(before[-len(after) :])
    return (step, best) if fell else None


SAVED = re.compile(r"step-(\d+)\.safetensors")
Part = Literal["trunk", "neck", "decoder", "memory"]
DICES = ("validation.box_dice", "validation.click_dice")
PARTS: tuple[Part, ...] = ("trunk", "neck", "decoder", "memory")
PRESETS = ("quick", "meta", "neurosam2d")
"""Recipes that a person may choose: made for few cases and small computers; published ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainChoice:
    """What a person asks for.

    Raises:
        ConfigError: Nothing is to be adapted.
    """

    model: str = "nano"
    """To start from: a catalog name or a file."""
    preset: str = "quick"
    """The recipe."""
    parts: tuple[Part, ...] = ("decoder", "memory")
    """What is adapted; the others stay as they are."""
    adapter_rank: int = 0
    """Width of low-rank adapters on the image encoder; 0 for none."""
    steps: int = 400
    """Optimiser steps."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Anything else, as `dotted.key` and TOML value."""

    def __post_init__(self) -> None:
        if not self.parts and not self.adapter_rank:
            raise ConfigError(_("nothing is chosen to be adapted"), hint=_("choose at least one part"))

    def to_toml(self, dataset: Path, folder: Path) -> str:
        """The configuration file."""
        lines = [
            f"preset = {_text(self.preset)}",
            f"start.model = {_text(self.model)}",
            f"data.datasets = [{_text(str(dataset))}]",
            f"optim.steps = {self.steps}",
            f"run.folder = {_text(str(folder))}",
            f"lora.rank = {self.adapter_rank}",
        ]
        trains_trunk = "trunk" in self.parts or self.adapter_rank > 0
        for part in PARTS:
            is_frozen = part not in self.parts and not (part == "trunk" and trains_trunk)
            lines.append(f"groups.{part}.frozen = {str(is_frozen).lower()}")
        lines += [f"{key} = {value}" for key, value in self.settings.items()]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class _Optim:
    steps: int = 0


@dataclass(frozen=True, slots=True)
class _Start:
    model: str = "nano"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is read of a run's configuration."""

    optim: _Optim = _Optim()
    start: _Start = _Start()


@dataclass(frozen=True, slots=True)
class _Skipped:
    """A line of `skipped.jsonl`."""

    case: str
    reason: str


class RunReader:
    """Follows a run.

    Args:
        folder: Of the run; what was asked of it is in the `.toml` file of the same name beside it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.losses: list[tuple[int, float]] = []
        """Step and loss."""
        self.dices: list[tuple[int, float]] = []
        """Step and mean Dice on the validation cases, after a box and after a click."""
        self.not_finite_at: int | None = None
        """The step of a loss that is no number."""
        self.skipped: dict[str, str] = {}
        """Cases that the run cannot use, each with the reason."""
        self._offset = 0

    @property
    def numbers(self) -> RunNumbers:
        """What was reported so far."""
        return RunNumbers(
            losses=self.losses, dices=self.dices, not_finite_at=self.not_finite_at, skipped=self.skipped
        )  # fmt: skip

    @property
    def num_steps(self) -> int:
        """Steps of the whole run; 0 where its file cannot be read."""
        return self._asked().optim.steps

    @property
    def start_model(self) -> str:
        """What it started from."""
        return self._asked().start.model

    @property
    def model(self) -> Path | None:
        """The best model so far, the final one where none was validated; None while there is none."""
        candidates = (self.folder / "checkpoints" / "best.safetensors", self.folder / "model.safetensors")
        return next((path for path in candidates if path.is_file()), None) if self.is_over else None

    @property
    def is_over(self) -> bool:
        """The run has come to its end."""
        return (self.folder / "model.safetensors").is_file()

    @property
    def step(self) -> int:
        """Of the last report, or of the last checkpoint where that is later."""
        saved = [
            int(match[1]) for path in (self.folder / "checkpoints").glob("*") if (match := SAVED.fullmatch(path.name))
        ]
        return max([*saved, self.losses[-1][0] if self.losses else 0])

    def read_news(self) -> None:
        """Takes in the reports that have come; a restart that goes back rewrites them."""
        self.skipped = _skipped_cases(self.folder / "skipped.jsonl")
        path = self.folder / "metrics.jsonl"
        if not path.exists():
            return
        data = path.read_bytes()
        if len(data) < self._offset:
            self.losses, self.dices, self.not_finite_at, self._offset = [], [], None, 0
        whole = data.rfind(b"\n") + 1
        for line in data[self._offset : whole].splitlines():
            self._take(line)
        self._offset = whole

    def _asked(self) -> "_Asked":
        try:
            content = parse_toml(disk.read_text(self.folder.with_suffix(".toml")))
            return decoded(_Asked, content, "", Rules(skips_unknown=True))
        except (OSError, ValueError):
            return _Asked()

    def _take(self, line: bytes) -> None:
        try:
            step, row = report_of(line)
        except DecodingError:  # damaged; the run says so when it goes on
            return
        losses, dices = ([row[key] for key in keys if key in row] for keys in (("loss",), DICES))
        if ("seconds_per_step" in row and not losses) or None in losses:
            self.not_finite_at = step  # a run leaves out what is no number
        if None in (*losses, *dices):
            return
        for curve, values in ((self.losses, losses), (self.dices, dices)):
            numbers = [value for value in values if value is not None]
            while curve and (curve[-1][0] > step or (numbers and curve[-1][0] == step)):
                curve.pop()
            if numbers:
                curve.append((step, sum(numbers) / len(numbers)))


def _skipped_cases(path: Path) -> dict[str, str]:
    """Cases and reasons in a file of a run; those whose lines are damaged are left out."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        with suppress(DecodingError):
            skipped = decoded(_Skipped, parse_json(line), "", Rules(skips_unknown=True))
            found[skipped.case] = skipped.reason
    return found


def report_of(line: bytes) -> tuple[int, dict[str, float | None]]:
    """The step of a line of `metrics.jsonl`, and its numbers by name; None for what is not a number.

    Raises:
        DecodingError: It is no report.
    """
    row = decoded(dict[str, float | None], parse_json(line, nan_is_none=True), "")
    step = row.get("step")
    if step is None or step < 0 or not step.is_integer():
        raise DecodingError(str(step))
    return int(step), row


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)  # a JSON string is a TOML string


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Adaptation:
    """A choice of parts with a name."""

    title: str
    parts: tuple[Part, ...]
    adapter_rank: int = 0


ADAPTATIONS = (
    Adaptation(title=_("How it outlines and propagates (recommended)"), parts=("decoder", "memory")),
    Adaptation(title=_("Only how it outlines a slice (fewest cases)"), parts=("decoder",)),
    Adaptation(
        title=_("Also how it reads images, gently (adapters)"), parts=("decoder", "memory", "neck"), adapter_rank=8
    ),
    Adaptation(title=_("Everything (most cases, most memory)"), parts=PARTS),
)
EXPERT = _("As chosen below, for experts")
"""The title of any other choice of parts."""


def matching(parts: Collection[str], adapter_rank: int | None) -> int:
    """The number of the adaptation with these parts; the one after the last where an expert has chosen otherwise."""
    known = [(set(one.parts), one.adapter_rank) for one in ADAPTATIONS]
    chosen = set(parts), adapter_rank
    return known.index(chosen) if chosen in known else len(known)


def parse_settings(text: str) -> Mapping[str, str]:
    """Settings of an expert: `dotted.key = value`, one on a line; lines that begin with # are left out.

    Raises:
        ConfigError: A line is none.
    """
    settings = {}
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        key, sign, value = (part.strip() for part in line.partition("="))
        if not sign or not key or not value:
            raise ConfigError(
                _("line {number} of the settings is {line!r}; expected key = value").format(number=number, line=line),
                hint=_("correct that line"),
            )
        settings[key] = value
    return settings
