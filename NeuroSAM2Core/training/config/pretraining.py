"""The configuration of a pretraining run."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.training.config.losses import LossConfig
from NeuroSAM2Core.training.config.prompts import PromptConfig
from NeuroSAM2Core.training.config.schedule import ScheduleConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A part of the run at one resolution."""

    image_size: int
    """Side of the model's input and of the synthetic slices, pixels."""
    steps: int
    """Optimiser steps."""
    clips: int
    """Clips per step."""
    slices: int
    """Slices per clip."""
    objects: int = 1
    """Objects per clip."""
    max_gap: int = 2
    """Largest distance between neighbouring slices of a clip, in slices of the volume."""
    perturb_prev_mask_prob: float = 0.0
    """Probability that the mask of the neighbouring slice is spoilt before it is shown; see `PromptConfig`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecipeConfig(ABC):
    """What all recipes of pretraining have in common."""

    preset: str = "nano"
    """The architecture."""
    start_from: str = ""
    """Catalog name of the model whose weights a new run starts with; empty for initial weights."""
    seed: int = 0
    """Everything random follows from this and the step number."""
    learning_rate: float = 8e-4
    """Peak of AdamW's learning rate."""
    weight_decay: float = 0.05
    """AdamW's decay."""
    max_gradient_norm: float = 1.0
    """Gradients are clipped to this L2 norm. From scratch, SAM 2's 0.1 for fine-tuning would only rescale every step."""
    ema_decay: float = 0.998
    """Decay per step of the running mean of the weights, which is what is exported."""
    memory_dropout: float = 0.1
    """Dropout inside memory attention while training, 0 to 1; exported models keep the architecture's own."""
    prompts: PromptConfig = field(default_factory=PromptConfig)
    """How prompts are drawn."""
    losses: LossConfig = field(default_factory=lambda: LossConfig(dice=10.0))
    """How much each loss counts; from scratch, SAM 2's single share of Dice leaves small objects at an empty mask for long."""

    @property
    @abstractmethod
    def total_steps(self) -> int:
        """Optimiser steps of the whole run."""

    @property
    @abstractmethod
    def schedule(self) -> ScheduleConfig:
        """The one curve of all learning rates."""

    @property
    @abstractmethod
    def trained_on(self) -> str:
        """The training data in a sentence, for the model file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainConfig(RecipeConfig):
    """Pretraining from scratch on synthetic volumes."""

    stages: tuple[Stage, ...] = (
        Stage(image_size=128, steps=420, clips=128, slices=1, objects=4),
        Stage(image_size=128, steps=240, clips=64, slices=4, objects=3, max_gap=3, perturb_prev_mask_prob=0.4),
        Stage(image_size=256, steps=220, clips=48, slices=1, objects=4),
        Stage(image_size=256, steps=580, clips=48, slices=4, objects=3, max_gap=6, perturb_prev_mask_prob=0.6),
    )
    """Single slices first, then clips; coarse first, then fine: no weight depends on the size."""
    final_lr_factor: float = 0.02
    """Share of the peak at the end of the cosine."""
    warmup: float = 0.03
    """Share of the run over which the rate rises."""
    prompts: PromptConfig = field(
        default_factory=lambda: PromptConfig(
            box=0.5, jitter_box_prob=0.5, click=0.35, max_corrected=2, num_corrections=4, random_corrections=True
        )
    )
    """How prompts are drawn; fewer corrections than in fine-tuning, more first answers."""

    def __post_init__(self) -> None:
        if not self.stages:
            raise ConfigError("a pretraining run needs at least one stage")

    @property
    def total_steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    @property
    def schedule(self) -> ScheduleConfig:
        """A cosine after a short rise."""
        return ScheduleConfig(kind="cosine", final=self.final_lr_factor, warmup=self.warmup)

    @property
    def trained_on(self) -> str:
        """Made-up volumes."""
        return "synthetic volumes only, made by NeuroSAM2Core.synth; no real image"

    def stage_at(self, step: int) -> Stage:
        """The stage that step `step` (from 0) belongs to."""
        for stage in self.stages:
            if step < stage.steps:
                return stage
            step -= stage.steps
        return self.stages[-1]
