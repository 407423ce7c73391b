"""Which of the engine's choices suit a model, measured on annotated cases.

One factor after another is switched on and kept where the mean Dice rises: a dozen measurements at most instead of the whole product.
`neurosam2 tune` and the end of a fine-tuning run call this.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

from NeuroSAM2Core.errors import Cancelled, DataError
from NeuroSAM2Core.inference import EngineOptions
from NeuroSAM2Core.model import SAM2, EngineDefaults
from NeuroSAM2Core.training.config.data import DataConfig, EvaluationConfig
from NeuroSAM2Core.training.data.dataset import Case, with_unique_names
from NeuroSAM2Core.training.evaluation.cases import evaluate_cases
from NeuroSAM2Core.training.evaluation.results import EvaluationResult, Measurement, markdown_table, mean, number

MIN_CASES = 2
"""One case says nothing about the next."""
MIN_GAIN = 0.005
"""What a factor must add to the mean Dice to be kept; each has its price, and few cases tell no smaller difference."""
ALL_OFF = EngineDefaults(
    crops=False, carries_boxes=False, ends_by_shape=False, use_appearance_model=False, upsampling="bilinear"
)
OFF_AFTER_CLICKS = EngineDefaults(interpolates=False, clears_denied=False)
"""What only corrections make a difference to."""


@dataclass(frozen=True, slots=True)
class Factor:
    """One thing to try on top of what was kept so far."""

    name: str
    change: EngineDefaults
    needs_clicks: bool = False
    """Changes nothing before a correction."""
    needs_ends_by_shape: bool = False
    """Changes nothing unless objects end by their shape."""


FACTORS = (
    Factor("crops", EngineDefaults(crops=True)),
    Factor("carried boxes", EngineDefaults(carries_boxes=True)),
    Factor("ends by shape", EngineDefaults(ends_by_shape=True)),
    Factor("least area 0.05", EngineDefaults(min_area_ratio=0.05), needs_ends_by_shape=True),
    Factor("least area 0.4", EngineDefaults(min_area_ratio=0.4), needs_ends_by_shape=True),
    Factor("appearance", EngineDefaults(use_appearance_model=True)),
    Factor("bicubic", EngineDefaults(upsampling="bicubic")),
    Factor("box refinement", EngineDefaults(refines_boxes=True)),
    Factor("mask refinement", EngineDefaults(refines_masks=True)),
    Factor("interpolation", EngineDefaults(interpolates=True), needs_clicks=True),
    Factor("denied slices", EngineDefaults(clears_denied=True), needs_clicks=True),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One set of choices and what came of it."""

    name: str
    choices: EngineDefaults
    dice: float
    """Mean over objects of the Dice of whole volumes; over first prompts, and before and after the corrections."""
    false_slices: float
    """Slices with a mask and without the object, mean per object after the first prompt."""
    missed_slices: float
    """Slices with the object and without a mask, likewise."""
    seconds_per_slice: float
    """While propagating."""
    is_kept: bool
    """The choices that later trials add to."""


@dataclass(frozen=True, slots=True)
class TuningResult:
    """All trials and the choice."""

    trials: tuple[Trial, ...]
    best: Trial
    num_cases: int
    """Cases that could be measured."""

    def as_markdown(self) -> str:
        """The table for people; the choice is marked."""
        head = ("", "choices", "Dice", "false slices", "missed slices", "s per slice")
        rows = [
            (
                "*" if trial is self.best else "",
                trial.name,
                number(trial.dice),
                number(trial.false_slices, 1),
                number(trial.missed_slices, 1),
                number(trial.seconds_per_slice),
            )
            for trial in self.trials
        ]
        return markdown_table(head, rows)


def num_trials(config: EvaluationConfig) -> int:
    """How many measurements there are at most."""
    return 2 + sum(config.num_clicks > 0 or not factor.needs_clicks for factor in FACTORS)


def tune_engine(
    model: SAM2,
    cases: Sequence[Case],
    data: DataConfig,
    config: EvaluationConfig,
    *,
    on_case: Callable[[str], object] = lambda name: None,
    on_trial: Callable[[Trial], object] = lambda trial: None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> TuningResult:
    """Measures the engine's choices one after another and says which suit the model.

    What the model does now is measured, too, and stays the choice where nothing is better.

    Args:
        model: Its configuration is not changed.
        cases: At least two.
        data: What counts as an object; cases that cannot be used are left out.
        config: What is prompted. Surfaces are not measured.
        on_case: Called with the trial's name when a case has been measured.
        on_trial: Called after each trial.
        is_cancelled: Asked after every slice.

    Raises:
        DataError: Fewer than two cases can be used.
        Cancelled: `is_cancelled` returned true.
    """
    if len(cases) < MIN_CASES:
        raise DataError(f"it takes at least {MIN_CASES} cases; got {len(cases)}", hint="annotate more cases")
    bench = _TuningRun(model, cases, data, config, on_case=on_case, on_trial=on_trial, is_cancelled=is_cancelled)
    off = ALL_OFF.updated(OFF_AFTER_CLICKS) if config.num_clicks else ALL_OFF
    now = _current(model, off)
    best = bench.measure("all off", off, beats=None)
    kept_names: list[str] = []
    for factor in FACTORS:
        if (factor.needs_clicks and not config.num_clicks) or (
            factor.needs_ends_by_shape and not best.choices.ends_by_shape
        ):
            continue
        name = " + ".join([*kept_names, factor.name])
        trial = bench.measure(name, best.choices.updated(factor.change), beats=best)
        if trial.is_kept:
            best = trial
            kept_names.append(factor.name)
    if all(trial.choices != now for trial in bench.trials):
        as_now = bench.measure("as it is now", now, beats=None)
        best = as_now if as_now.dice >= best.dice else best
    return TuningResult(tuple(bench.trials), best, len(bench.cases))


def _current(model: SAM2, measured: EngineDefaults) -> EngineDefaults:
    """What the engine does with this model, as far as it is measured here."""
    options = EngineOptions().resolved(model.config)
    names = [one.name for one in fields(EngineDefaults) if one.name in measured.chosen()]
    if model.config.engine.min_area_ratio is not None:
        names.append("min_area_ratio")
    return EngineDefaults.from_dict({name: getattr(options, name) for name in names})


class _TuningRun:
    """Measures one set of choices after another on the same cases."""

    def __init__(
        self,
        model: SAM2,
        cases: Sequence[Case],
        data: DataConfig,
        config: EvaluationConfig,
        *,
        on_case: Callable[[str], object],
        on_trial: Callable[[Trial], object],
        is_cancelled: Callable[[], bool],
    ) -> None:
        self.trials: list[Trial] = []
        self.cases = with_unique_names(cases)
        self._model, self._data = model, replace(data, on_bad_case="skip")
        self._config = replace(config, has_surfaces=False)
        self._on_case, self._on_trial, self._is_cancelled = on_case, on_trial, is_cancelled

    def measure(self, name: str, choices: EngineDefaults, *, beats: Trial | None) -> Trial:
        """One trial; it is kept where it is better than `beats`, or there is none.

        Raises:
            DataError: Fewer than two cases can be used.
        """
        clock = _SliceClock(self._is_cancelled)
        parts = []
        for case in self.cases:
            options = EngineOptions().resolved(replace(self._model.config, engine=choices))
            part = evaluate_cases(
                self._model, [case], self._data, self._config,
                options=options, on_slice=clock.on_slice, on_measured=clock.on_measured,
            )  # fmt: skip
            parts.append(part)
            self._on_case(name)
        result = EvaluationResult.join(parts)
        self._leave_out_unusable(result)
        config = self._config
        dice = mean([result.mean_dice(kind, n) for kind in config.kinds for n in sorted({0, config.num_clicks})])
        firsts = [m for m in result.measurements if m.clicks == 0]
        trial = Trial(
            name=name,
            choices=choices,
            dice=dice,
            false_slices=mean([m.false_slices for m in firsts]),
            missed_slices=mean([m.missed_slices for m in firsts]),
            seconds_per_slice=clock.seconds_per_slice,
            is_kept=beats is None or dice >= beats.dice + MIN_GAIN,
        )
        self.trials.append(trial)
        self._on_trial(trial)
        return trial

    def _leave_out_unusable(self, result: EvaluationResult) -> None:
        measured = {m.case for m in result.measurements}
        self.cases = tuple(case for case in self.cases if case.name in measured)
        if len(self.cases) < MIN_CASES:
            reasons = "; ".join(f"{one.case}: {one.reason}" for one in result.skipped) or "they hold no objects"
            raise DataError(f"only {len(self.cases)} of the cases can be measured: {reasons}")


class _SliceClock:
    """How long slices take while an object is propagated, reading files and comparing masks left out."""

    def __init__(self, is_cancelled: Callable[[], bool]) -> None:
        self._is_cancelled = is_cancelled
        self._last: float | None = None
        self._seconds, self._count = 0.0, 0

    @property
    def seconds_per_slice(self) -> float:
        """Mean; not a number before the second slice of an object."""
        return self._seconds / self._count if self._count else math.nan

    def on_slice(self) -> None:
        """A slice is done.

        Raises:
            Cancelled: The person has stopped the measurement.
        """
        if self._is_cancelled():
            raise Cancelled("stopped: nothing was chosen")
        now = time.perf_counter()
        if self._last is not None:
            self._seconds += now - self._last
            self._count += 1
        self._last = now

    def on_measured(self, measurement: Measurement) -> None:
        """The object is done; what comes before the next slice is no propagation."""
        del measurement
        self._last = None
