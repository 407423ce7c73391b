"""Learning rates as pure functions of progress, 0 to 1: a restart needs nothing but the step number.

Source: cosine as in Loshchilov and Hutter, "SGDR", 2017, without restarts.
"""

import math


def cosine(progress: float, *, start: float, end: float) -> float:
    """Falls from `start` to `end` along half a cosine."""
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * progress))


def warmed_up(value: float, progress: float, *, warmup: float) -> float:
    """`value`, reached in a straight line over the first `warmup` share of the run."""
    return value * min(1.0, (progress + 1e-9) / warmup) if warmup > 0 else value
