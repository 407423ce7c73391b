"""How a model is measured, as data that a run's TOML file holds."""

from dataclasses import dataclass
from typing import Literal

from NeuroSAM2Core.errors import ConfigError

FirstPrompt = Literal["box", "click"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    """What is prompted and what is measured."""

    kinds: tuple[FirstPrompt, ...] = ("box", "click")
    """First prompts, each measured apart: the tight box of the object on its largest slice, or a click in its middle there."""
    num_clicks: int = 5
    """Correction clicks after the first prompt, at most."""
    axis: str = "axial"
    """The axis that is prompted and propagated along: axial, coronal, sagittal (the nearest stored one), i, j or k."""
    target_dice: float = 0.85
    """Corrections are counted until this Dice."""
    tolerance_mm: float = 2.0
    """Surfaces that are no farther apart count as the same."""
    max_objects: int = 0
    """At most this many objects of a case, the largest; 0 for all."""
    has_surfaces: bool = True
    """Measure distances of surfaces; they take about as long as a correction."""

    def __post_init__(self) -> None:
        if not self.kinds or any(kind not in ("box", "click") for kind in self.kinds):
            raise ConfigError(f"evaluation.kinds are box, click or both; got {', '.join(self.kinds) or 'none'}")
        if self.num_clicks < 0:
            raise ConfigError(f"evaluation.num_clicks must not be negative; got {self.num_clicks}")
        if not 0 < self.target_dice <= 1:
            raise ConfigError(f"evaluation.target_dice is above 0 and at most 1; got {self.target_dice:g}")
        if self.tolerance_mm <= 0:
            raise ConfigError(f"evaluation.tolerance_mm must be above 0; got {self.tolerance_mm:g}")
        if self.max_objects < 0:
            raise ConfigError(f"evaluation.max_objects must not be negative; got {self.max_objects}")
