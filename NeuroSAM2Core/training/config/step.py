"""The configuration of a training step: losses, prompts, which weights are trained, and how fast."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from NeuroSAM2Core.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """The weights of the losses, and what they are computed of."""

    focal: float = 20.0
    """Weight of the focal loss of the mask."""
    dice: float = 1.0
    """Weight of the Dice loss of the mask."""
    iou: float = 1.0
    """Weight of the error of the expected IoU."""
    object_score: float = 1.0
    """Weight of the cross-entropy of the object score."""
    bce: float = 0.0
    """Weight of the mask's plain cross-entropy with object pixels counted twice, on every slice whether the object is there or not:
    the whole of Medical-SAM2's loss."""
    supervised: Literal["least_loss", "predicted_best"] = "least_loss"
    """Which of several candidate masks the mask losses are of: the one with the least, or the one that the model would give out."""
    iou_error: Literal["l1", "mse"] = "l1"
    """Absolute or squared error of the expected IoU."""
    supervise_all_iou: bool = True
    """supervise the expected IoU of every candidate; False: only of the supervised one."""
    supervise_absent_iou: bool = False
    """Teach an expected IoU of 0 where the object is absent; False: supervise none there, as SAM 2."""
    slices: Literal["sum", "mean"] = "sum"
    """Slices add up, or: the mean over prompted slices plus the mean over the others (Medical-SAM2)."""

    def __post_init__(self) -> None:
        parts = {name: getattr(self, name) for name in ("focal", "dice", "iou", "object_score", "bce")}
        for name, weight in parts.items():
            if not weight >= 0:
                raise ConfigError(f"the weight of a loss must not be negative; got {name} = {weight:g}")
        if not any(parts.values()):
            raise ConfigError("every loss has weight 0: there is nothing to learn")


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptConfig:
    """How training prompts are drawn."""

    box: float = 0.25
    """Probability that a clip starts from a box."""
    click: float = 0.25
    """Probability that it starts from one click; what is left of 1 starts from the true mask."""
    scribble: float = 0.0
    """Probability that it starts from a scribble along the middle of the object, as the chain of clicks that it is for the engine."""
    lasso: float = 0.0
    """Probability that it starts from the inside of a rough lasso around the object, as the mask that it is for the engine."""
    auto_prompt_type: bool = False
    """Let the shapes of a batch's objects decide between box and click (compact ones suit a box); their common probability stays."""
    jitter_box_prob: float = 1.0
    """Probability that the sides of a batch's boxes are off by up to a tenth; a tight box says more about what is meant."""
    max_parts: int = 1
    """Prompt each connected part of an object on a slice, up to this many, the largest first; 1: prompt the object as a whole."""
    max_prompted: int = 2
    """At most this many slices are prompted from the start."""
    max_corrected: int = 2
    """At most this many slices get correction clicks, the prompted ones included."""
    num_corrections: int = 7
    """Correction clicks on such a slice."""
    random_corrections: bool = False
    """Place from none to `num_corrections` clicks instead, one and the same number in the whole batch, so that the memory of a slice
    with nothing but its first prompt is supervised, too."""
    click_from_truth: float = 0.1
    """Probability that a correction click ignores the error and falls anywhere in the object."""
    perturb_prev_mask_prob: float = 0.0
    """Probability that the neighbouring slice's mask is left out, grown or shrunk before it is shown (only for models that are shown
    it): otherwise what was once wrong would be believed from slice to slice."""
    swap_object_prob: float = 0.0
    """Probability that the answer to be corrected on a slice is replaced by the mask of another object of the clip: a person's click
    may also mean that something else was meant."""
    prev_box_prob: float = 0.0
    """Probability that a slice without prompts is shown the box of the mask on the nearest slice that was done, a little wider, as the
    engine may do while it propagates."""
    max_supervised: int = 0
    """In clips of more slices than this, those between the first and the last so many are only followed: without losses and gradients,
    unless they are prompted or corrected. So the model learns from its own drift over long distances at little cost. 0: every slice is
    supervised."""

    def __post_init__(self) -> None:
        for name in (
            "box",
            "click",
            "scribble",
            "lasso",
            "jitter_box_prob",
            "click_from_truth",
            "perturb_prev_mask_prob",
            "swap_object_prob",
            "prev_box_prob",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"prompts.{name} is a probability from 0 to 1; got {getattr(self, name):g}")
        kinds = {name: getattr(self, name) for name in ("box", "click", "scribble", "lasso")}
        if sum(kinds.values()) > 1 + 1e-9:
            given = ", ".join(f"{name} = {probability:g}" for name, probability in kinds.items())
            raise ConfigError(f"the probabilities of first prompts are at most 1 together; got {given}")
        for name, least in (
            ("max_parts", 1),
            ("max_prompted", 1),
            ("max_corrected", 0),
            ("num_corrections", 0),
            ("max_supervised", 0),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"prompts.{name} must be at least {least}; got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptControlConfig:
    """Whether and how strongly the shares move."""

    is_on: bool = False
    """Off: the probabilities stay as configured."""
    strength: float = 1.0
    """Power of the ratio of the two errors (1 - Dice) by which the ratio of the probabilities is multiplied; 0 moves nothing."""
    memory: int = 3
    """The last so many validations are averaged."""
    min_factor: float = 0.1
    """Neither kind falls below this share of the two together."""

    def __post_init__(self) -> None:
        if self.strength < 0:
            raise ConfigError(f"prompt_control.strength must not be negative; got {self.strength:g}")
        if self.memory < 1:
            raise ConfigError(f"prompt_control.memory must be at least 1; got {self.memory}")
        if not 0 <= self.min_factor <= 0.5:
            raise ConfigError(f"prompt_control.min_factor is from 0 to 0.5; got {self.min_factor:g}")


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


Part = Literal["trunk", "neck", "decoder", "memory"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupConfig:
    """How one part of the model is trained."""

    frozen: bool = False
    """Leave it as it is."""
    learning_rate: float = 5e-6
    """Peak of AdamW's rate."""
    weight_decay: float = 0.1
    """AdamW's decay; biases and the weights of LayerNorm are spared."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    """How the rate goes through the run."""

    def __post_init__(self) -> None:
        if not self.learning_rate >= 0:
            raise ConfigError(f"a learning rate must not be negative; got {self.learning_rate:g}")
        if not self.weight_decay >= 0:
            raise ConfigError(f"a weight decay must not be negative; got {self.weight_decay:g}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrunkConfig(GroupConfig):
    """How the image encoder's trunk is trained."""

    learning_rate: float = 3e-6
    """Peak of AdamW's rate, of the layer after the last block."""
    layer_decay: float = 0.9
    """Each block learns this much slower than the next; 1 for all alike. Position embeddings learn at the full rate."""

    def __post_init__(self) -> None:
        GroupConfig.__post_init__(self)
        if not 0 < self.layer_decay <= 1:
            raise ConfigError(f"layer_decay must be above 0 and at most 1; got {self.layer_decay:g}")


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupsConfig:
    """How each part of the model is trained."""

    trunk: TrunkConfig = field(default_factory=TrunkConfig)
    """The image encoder's trunk; its adapters instead where there are any."""
    neck: GroupConfig = field(default_factory=lambda: GroupConfig(learning_rate=3e-6))
    """The image encoder's feature pyramid."""
    decoder: GroupConfig = field(default_factory=GroupConfig)
    """Prompt encoder and mask decoder."""
    memory: GroupConfig = field(default_factory=GroupConfig)
    """Memory attention, memory encoder, object pointers."""

    def __post_init__(self) -> None:
        if all(self.of(part).frozen for part in PARTS):
            raise ConfigError("every part of the model is frozen: there is nothing to train")

    def of(self, part: Part) -> GroupConfig:
        """One part's."""
        config: GroupConfig = getattr(self, part)
        return config
