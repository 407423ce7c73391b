"""The configuration of a learning rate's schedule."""

from dataclasses import dataclass
from typing import Literal

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
