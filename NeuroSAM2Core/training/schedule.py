"""Learning rates as pure functions of the step: a restart needs nothing but the step number.

Source: cosine as in Loshchilov and Hutter, "SGDR", 2017, without restarts; progress as fvcore counts it: the first step has 0, the last
one not quite 1. `cosine_annealing` is the closed form of PyTorch's CosineAnnealingLR, which climbs again after its period.
`wsd` as in Hu et al., "MiniCPM", 2024: before it falls, the rate does not depend on how long the run will be.
"""

import math
from dataclasses import dataclass
from typing import Literal, assert_never

from NeuroSAM2Core.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleConfig:
    """How a learning rate goes through the run."""

    kind: Literal["cosine", "cosine_annealing", "linear", "constant", "wsd"] = "cosine"
    """The curve from the peak to the end; `wsd` stays at the peak and falls in a straight line at the end (warm-up, stable, decay)."""
    final: float = 0.1
    """The rate at the end as a share of the peak; no matter for `constant`."""
    warmup: float = 0.0
    """Share of the run over which the rate rises in a straight line from almost nothing, 0 to 1."""
    period_steps: int = 0
    """Of `cosine_annealing`: optimiser steps from the peak to the end, and as many back; 0 for the whole run."""
    decay: float = 0.2
    """Of `wsd`: share of the run, at its end, over which the rate falls, above 0 to 1."""

    def __post_init__(self) -> None:
        if not 0 <= self.final <= 1:
            raise ConfigError(f"a schedule's final share must be from 0 to 1; got {self.final:g}")
        if not 0 <= self.warmup < 1:
            raise ConfigError(
                f"a schedule's warm-up must be from 0 to below 1, a share of the run; got {self.warmup:g}"
            )
        if not 0 < self.decay <= 1:
            raise ConfigError(f"a schedule's decay must be above 0 and at most 1; got {self.decay:g}")
        if self.period_steps < 0:
            raise ConfigError(f"a schedule's period must not be negative; got {self.period_steps}")


def lr_factor(schedule: ScheduleConfig, step: int, total_steps: int) -> float:
    """The learning rate of a step as a share of the peak.

    Args:
        schedule: The curve.
        step: Optimiser steps done so far, from 0.
        total_steps: Of the whole run.
    """
    progress = step / total_steps
    match schedule.kind:
        case "cosine":
            factor = cosine(progress, start=1.0, end=schedule.final)
        case "cosine_annealing":
            factor = cosine(step / (schedule.period_steps or total_steps), start=1.0, end=schedule.final)
        case "linear":
            factor = 1.0 + progress * (schedule.final - 1.0)
        case "constant":
            factor = 1.0
        case "wsd":
            factor = 1.0 + max(0.0, (progress - 1 + schedule.decay) / schedule.decay) * (schedule.final - 1.0)
        case _:
            assert_never(schedule.kind)
    return warmed_up(factor, progress, warmup=schedule.warmup)


def cosine(progress: float, *, start: float, end: float) -> float:
    """Falls from `start` to `end` along half a cosine; beyond 1 it climbs again."""
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * progress))


def warmed_up(value: float, progress: float, *, warmup: float) -> float:
    """`value`, reached in a straight line over the first `warmup` share of the run."""
    return value * min(1.0, (progress + 1e-9) / warmup) if warmup > 0 else value
