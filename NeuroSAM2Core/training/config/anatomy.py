"""The configuration of a pretraining run on anatomy."""

from dataclasses import dataclass, field

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.training.config.losses import LossConfig
from NeuroSAM2Core.training.config.pretraining import RecipeConfig
from NeuroSAM2Core.training.config.prompts import PromptConfig
from NeuroSAM2Core.training.config.schedule import ScheduleConfig

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
