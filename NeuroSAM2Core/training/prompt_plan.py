"""Prompt probabilities of training, and the prompts drawn for one batch.

A plan is drawn once for a whole batch, so that its clips stay one batch, and alike in all processes that train together, so that they
take the same branches.

Source: Ravi et al. 2024, appendix D.2.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.prompts.suggest import suggested_kind
from NeuroSAM2Core.training.clip import ClipBatch

PromptKind = Literal["box", "click", "mask"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptConfig:
    """How training prompts are drawn."""

    box: float = 0.25
    """Probability that a clip starts from a box."""
    click: float = 0.25
    """Probability that it starts from one click; the rest start from the true mask."""
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
            "jitter_box_prob",
            "click_from_truth",
            "perturb_prev_mask_prob",
            "swap_object_prob",
            "prev_box_prob",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"prompts.{name} is a probability from 0 to 1; got {getattr(self, name):g}")
        if self.box + self.click > 1 + 1e-9:
            raise ConfigError(
                f"prompts.box and prompts.click are at most 1 together; got {self.box:g} and {self.click:g}"
            )
        for name, least in (
            ("max_parts", 1),
            ("max_prompted", 1),
            ("max_corrected", 0),
            ("num_corrections", 0),
            ("max_supervised", 0),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"prompts.{name} must be at least {least}; got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class PromptPlan:
    """The slices that are prompted and corrected in one batch."""

    kind: PromptKind
    jitter: bool
    """Boxes are not tight."""
    prompted: tuple[int, ...]
    corrected: tuple[int, ...]
    num_corrections: int
    """Clicks on each corrected slice."""
    unsupervised: frozenset[int] = frozenset()
    """Slices that are answered without supervision."""

    @classmethod
    def draw(cls, config: PromptConfig, num_slices: int, rng: np.random.Generator) -> "PromptPlan":
        """One plan; the first slice is always prompted."""
        kind: PromptKind = "mask"
        chance = rng.random()
        if chance < config.box + config.click or num_slices == 1:
            kind = "box" if chance < config.box else "click"
        jitter = rng.random() < config.jitter_box_prob
        # Nothing is learned from a slice whose mask is given: one is left to be found.
        most = min(config.max_prompted, num_slices - 1 if kind == "mask" else num_slices)
        num_prompted = int(rng.integers(1, most + 1))
        num_corrected = (
            0 if kind == "mask" else int(rng.integers(num_prompted, max(config.max_corrected, num_prompted) + 1))
        )
        others = rng.permutation(np.arange(1, num_slices)).tolist()
        prompted = (0, *sorted(others[: num_prompted - 1]))
        extra = others[num_prompted - 1 : num_corrected - 1]
        corrected = () if kind == "mask" else (*prompted, *sorted(extra))
        num_clicks = config.num_corrections
        if config.random_corrections:
            num_clicks = int(rng.integers(num_clicks + 1))
        between = range(1, num_slices - config.max_supervised) if config.max_supervised else range(0)
        unsupervised = frozenset(between) - {*prompted, *corrected}
        return cls(kind, jitter, prompted, corrected, num_clicks, unsupervised)

    def order(self, num_slices: int) -> list[int]:
        """Prompted slices first, then the rest: later prompts are remembered by earlier slices."""
        return [*self.prompted, *(t for t in range(num_slices) if t not in self.prompted)]


def planned(prompts: PromptConfig, batch: ClipBatch, rng: np.random.Generator) -> PromptPlan:
    """What is prompted and corrected in a batch; where that is asked for, what most of its objects suit on their first slice."""
    plan = PromptPlan.draw(prompts, batch.images.shape[1], rng)
    if not prompts.auto_prompt_type or plan.kind == "mask":
        return plan
    kinds = [suggested_kind(mask) for mask in batch.masks[:, :, 0][batch.is_real].cpu().numpy()]
    return replace(plan, kind="box" if 2 * kinds.count("box") > len(kinds) else "click")
