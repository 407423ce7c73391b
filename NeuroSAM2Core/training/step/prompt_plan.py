"""The prompts of one batch: which slices are prompted and corrected, and how.

A plan is drawn once for a whole batch, so that its clips stay one batch, and alike in all processes that train together, so that they
take the same branches.

Source: Ravi et al. 2024, appendix D.2.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from NeuroSAM2Core.prompts.suggest import suggested_kind
from NeuroSAM2Core.training.config.prompts import PromptConfig
from NeuroSAM2Core.training.data.clip import ClipBatch

PromptKind = Literal["box", "click", "mask"]


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


def plan_generator(seed: int, step: int, batch: int = 0) -> np.random.Generator:
    """What draws the prompt plan of a batch: whoever makes the batch can know which prompts it will get."""
    return np.random.default_rng((seed, step, batch, 0))
