"""The configurations of pretraining: on formulas, on anatomy, and of the mask refiner; and the recipes by name."""

import tomllib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.training.config.step import LossConfig, PromptConfig, ScheduleConfig
from NeuroSAM2Core.training.config.toml_io import build, merged, overrides, to_toml


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


PROBABILITIES = (
    "crop",
    "own_window",
    "box_window",
    "past_end",
    "from_end",
    "joined",
    "lesion",
    "brain",
    "formulas",
    "even_sizes",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipConfig:
    """How clips are drawn."""

    crop: float = 0.62
    """Probability of a crop around the object instead of the whole slice."""
    crop_range: tuple[float, float] = (1.3, 4.0)
    """Side of a crop, as a multiple of the longer side of the object's box on the first slice; drawn evenly over its logarithm."""
    click_crop_range: tuple[float, float] = (1.3, 6.0)
    """The same where the clip will be prompted by clicks, which say nothing of the object's size."""
    min_crop_mm: float = 20.0
    """No crop is smaller."""
    own_window: float = 0.9
    """Probability that a crop is seen under its own intensity window; else under the window of the whole head."""
    box_window: float = 0.45
    """Probability that a whole slice is seen under the window of what is in the object's box."""
    past_end: float = 0.45
    """Probability that the stride is chosen so that the object ends within the clip; others may do so by chance."""
    from_end: float = 0.2
    """Probability that a clip begins near the object's end and goes on beyond it, so that the object is absent on most slices."""
    max_stride: int = 5
    """Largest distance between neighbouring slices, mm."""
    joined: float = 0.15
    """Probability that an object is joined with one or two structures that touch it."""
    min_others: float = 0.001
    """Share of the picture that objects besides the first must have; four times that in a crop. Without it most clicks in crops mean a
    sliver at the border, and the model learns that a click means little."""
    even_sizes: float = 0.35
    """Probability that a step which starts from boxes or masks asks for objects evenly over the logarithm of their volume, as those that
    start from clicks always do; else by 1 / sqrt(volume)."""
    lesion: float = 0.2
    """Probability that a clip is about a lesion."""
    brain: float = 0.08
    """Probability that a clip is about the whole brain: the first thing that many want, and by its volume hardly ever drawn."""
    formulas: float = 0.2
    """Probability of a clip from the generator that needs no label maps (`NeuroSAM2Core.synth`), so that nothing is forgotten."""

    def __post_init__(self) -> None:
        for name in PROBABILITIES:
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"clip.{name} is a probability from 0 to 1; got {getattr(self, name):g}")
        for name in ("crop_range", "click_crop_range"):
            low, high = getattr(self, name)
            if not 1 <= low <= high:
                raise ConfigError(f"clip.{name} must be 1 or more and ascending; got {low:g} to {high:g}")
        if self.max_stride < 1 or self.min_crop_mm <= 0:
            raise ConfigError(
                f"clip.max_stride must be at least 1 and clip.min_crop_mm above 0; got {self.max_stride} and "
                f"{self.min_crop_mm:g}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class AnatomyConfig(RecipeConfig):
    """Pretraining on heads made of the label maps of real individuals."""

    start_from: str = "nano"
    """Catalog name of the model whose weights a new run starts with; empty for initial weights."""
    seed: int = 1
    """Everything random follows from this and the step number; the heads of the bank do not."""
    heads: int = 40
    """Heads in the bank."""
    steps: int = 12_000
    """Optimiser steps. A run that has not begun to lower its learning rate may be given more or fewer."""
    image_size: int = 256
    """Side of the model's input and of the clips, pixels."""
    clips: int = 2
    """Clips per step; three times as many where they are single slices."""
    slices: tuple[int, int] = (7, 14)
    """Fewest and most slices of a clip."""
    single_every: int = 3
    """Every so many steps single slices are trained on instead of clips; 0 for never."""
    objects: int = 4
    """Objects per clip."""
    learning_rate: float = 2e-4
    """Peak of AdamW's learning rate."""
    warmup_steps: int = 40
    """Steps over which the rate rises."""
    decay: float = 0.2
    """Share of the run, at its end, over which the rate falls in a straight line."""
    final_lr_factor: float = 0.05
    """Share of the peak at the end."""
    ema_decay: float = 0.995
    """Decay per step of the running mean of the weights, which is what is exported."""
    memory_dropout: float = 0.0
    """Endless data need none, and attention without it is faster."""
    prompts: PromptConfig = field(
        default_factory=lambda: PromptConfig(
            box=0.52,
            jitter_box_prob=0.5,
            click=0.42,
            max_prompted=2,
            max_corrected=2,
            num_corrections=3,
            random_corrections=True,
            perturb_prev_mask_prob=0.35,
            swap_object_prob=0.2,
            prev_box_prob=0.7,
            max_supervised=6,
        )
    )
    """How prompts are drawn; boxes are carried from slice to slice, as the engine may do."""
    losses: LossConfig = field(
        default_factory=lambda: LossConfig(dice=10.0, iou=3.0, object_score=5.0, supervise_absent_iou=True)
    )
    """How much each loss counts: what is to be learned is when an object ends and which mask a click means."""
    clip: ClipConfig = field(default_factory=ClipConfig)
    """How clips are drawn."""

    def __post_init__(self) -> None:
        for name, least in (("heads", 1), ("steps", 1), ("clips", 1), ("objects", 1), ("single_every", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}; got {getattr(self, name)}")
        if not 1 <= self.slices[0] <= self.slices[1]:
            raise ConfigError(f"slices must be 1 or more and ascending; got {self.slices[0]} to {self.slices[1]}")
        if self.warmup_steps < 0:
            raise ConfigError(f"warmup_steps must not be negative; got {self.warmup_steps}")

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.steps

    @property
    def schedule(self) -> ScheduleConfig:
        """A short rise, the peak, a straight line down."""
        warmup = min(0.5, self.warmup_steps / self.steps)
        return ScheduleConfig(kind="wsd", final=self.final_lr_factor, warmup=warmup, decay=self.decay)

    @property
    def trained_on(self) -> str:
        """Pictures of real label maps."""
        return (
            "synthetic volumes only, made by NeuroSAM2Core.synth, most of them from the cortex and nuclei of four individuals "
            "(label maps of Arnatkeviciute et al. 2018, CC BY 4.0, deformed and completed by geometry); no real image"
        )


SCRATCH = PretrainConfig()
RECIPES: dict[str, RecipeConfig | RefinerConfig] = {
    "scratch": SCRATCH,
    "refine": PretrainConfig(
        seed=1,
        learning_rate=5e-4,
        prompts=replace(SCRATCH.prompts, swap_object_prob=0.3),
        stages=(
            Stage(image_size=256, steps=700, clips=48, slices=1, objects=4),
            Stage(image_size=256, steps=400, clips=32, slices=4, objects=3, max_gap=6, perturb_prev_mask_prob=0.6),
        ),
    ),
    "anatomy": AnatomyConfig(),
    "refiner": RefinerConfig(),
}
"""How `nano` was made: from scratch, once more at full size with what it learned as the start, then on real anatomy; and its refiner."""


def find_recipe(name: str, settings: Sequence[str] = ()) -> RecipeConfig | RefinerConfig:
    """A recipe with settings changed by `dotted.key=value` words.

    Raises:
        ConfigError: There is no such recipe, or a setting is unknown or out of range.
    """
    if name not in RECIPES:
        raise ConfigError(f"there is no recipe {name!r}; recipes: {', '.join(RECIPES)}")
    config = RECIPES[name]
    if not settings:
        return config
    kind = type(config)
    return build(kind, merged(tomllib.loads(to_toml(config)), overrides(kind, settings)))
