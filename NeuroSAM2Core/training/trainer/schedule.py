"""Learning rates as pure functions of the step: a restart needs nothing but the step number.

Source: cosine as in Loshchilov and Hutter, "SGDR", 2017, without restarts; progress as fvcore counts it: the first step has 0, the last
one not quite 1. `cosine_annealing` is the closed form of PyTorch's CosineAnnealingLR, which climbs again after its period.
`wsd` as in Hu et al., "MiniCPM", 2024: before it falls, the rate does not depend on how long the run will be.
"""

import math
from typing import assert_never

from NeuroSAM2Core.training.config.schedule import ScheduleConfig


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
