"""A run's folder as seen from outside: its settings, its numbers as they come, what it has left so far. Torch-free.

`config.toml`, `metrics.jsonl`, `checkpoints/` and `model.safetensors` are all that training and its panel share.
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from NeuroSAM2Core import disk
from NeuroSAM2Core.decoding import DecodingError, Rules, decoded, parse_json, parse_toml
from NeuroSAM2Lib.training.run_health import RunNumbers

SAVED = re.compile(r"step-(\d+)\.safetensors")
Part = Literal["trunk", "neck", "decoder", "memory"]
DICES = ("validation.box_dice", "validation.click_dice")
PARTS: tuple[Part, ...] = ("trunk", "neck", "decoder", "memory")
PRESETS = ("quick", "meta", "neurosam2d")
"""Recipes that a person may choose: made for few cases and small computers; published ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainChoice:
    """What a person asks for."""

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
