"""The configuration of a training run of the mask refiner."""

from dataclasses import dataclass, field
from typing import Literal

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.training.config.schedule import ScheduleConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleConfig:
    """How views are drawn."""

    box: float = 0.45
    """Probability that a box around the object is known; else its mask on a neighbouring slice is."""
    lesion: float = 0.2
    """Probability that the object is a lesion."""
    large: float = 0.27
    """Probability that another object is a large one, as the brain, a hemisphere or white matter."""
    modality: float = 0.6
    """Probability of a contrast near T1, T2, FLAIR or CT; else tissues have any intensities at all."""
    crop_range: tuple[float, float] = (1.5, 3.2)
    """Side of a view, as a multiple of the longer side of the object's box."""
    large_crop_range: tuple[float, float] = (1.0, 1.9)
    """The same around large objects."""
    min_crop_mm: float = 20.0
    """No view is smaller."""
    max_crop_mm: float = 170.0
    """Objects that would need larger views are passed over."""
    max_large_crop_mm: float = 280.0
    """The same for large objects."""

    def __post_init__(self) -> None:
        for name in ("box", "lesion", "large", "modality"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"samples.{name} is a probability from 0 to 1; got {getattr(self, name):g}")
        for name in ("crop_range", "large_crop_range"):
            low, high = getattr(self, name)
            if not 1 <= low <= high:
                raise ConfigError(f"samples.{name} must be 1 or more and ascending; got {low:g} to {high:g}")
        for name in ("max_crop_mm", "max_large_crop_mm"):
            if not 0 < self.min_crop_mm <= getattr(self, name):
                raise ConfigError(
                    f"samples.min_crop_mm must be above 0 and at most samples.{name}; got {self.min_crop_mm:g} and "
                    f"{getattr(self, name):g}"
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class RefinerConfig:
    """Training of the mask refiner on heads made of the label maps of real individuals."""

    seed: int = 0
    """Everything random follows from this and the step number; the heads of the bank do not."""
    heads: int = 40
    """Heads in the bank."""
    held_out_heads: int = 4
    """Heads of the donors that are kept for development, to measure with; 0 to measure nothing."""
    held_out_samples: int = 400
    """Views drawn from them."""
    steps: int = 17_000
    """Optimiser steps. A run that has not begun to lower its learning rate may be given more or fewer."""
    batch: int = 16
    """Views per step."""
    learning_rate: float = 2e-3
    """Peak of AdamW's learning rate."""
    weight_decay: float = 0.01
    """AdamW's decay, of all weights."""
    warmup_steps: int = 100
    """Steps over which the rate rises."""
    decay: float = 0.4
    """Share of the run, at its end, over which the rate falls in a straight line."""
    final_lr_factor: float = 0.02
    """Share of the peak at the end."""
    max_gradient_norm: float = 1.0
    """Gradients are clipped to this L2 norm."""
    ema_decay: float = 0.998
    """Decay per step of the running mean of the weights, which is what is exported."""
    precision: Literal["fp32", "bf16"] = "bf16"
    """What the network computes in while training; weights and losses are float32."""
    samples: SampleConfig = field(default_factory=SampleConfig)
    """How views are drawn."""

    def __post_init__(self) -> None:
        least_of = {"heads": 1, "held_out_heads": 0, "held_out_samples": 1, "steps": 1, "batch": 1, "warmup_steps": 0}
        for name, least in least_of.items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}; got {getattr(self, name)}")
        if not 0 <= self.ema_decay < 1 or self.max_gradient_norm <= 0:
            raise ConfigError(
                f"ema_decay must be from 0 to below 1 and max_gradient_norm above 0; got {self.ema_decay:g} and "
                f"{self.max_gradient_norm:g}"
            )

    @property
    def schedule(self) -> ScheduleConfig:
        """A short rise, the peak, a straight line down."""
        warmup = min(0.5, self.warmup_steps / self.steps)
        return ScheduleConfig(kind="wsd", final=self.final_lr_factor, warmup=warmup, decay=self.decay)

    @property
    def trained_on(self) -> str:
        """The training data in a sentence, for the model file."""
        return (
            "synthetic slices only, made of the cortex and nuclei of four individuals (label maps of Arnatkeviciute et al. 2018, "
            "CC BY 4.0, deformed and completed by geometry); no real image"
        )
