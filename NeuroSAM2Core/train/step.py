"""One training step's forward pass: a clip is segmented as a person would, and every answer is compared with the truth.

The object is prompted on the first slice (box, click or mask) and maybe on another; the other slices follow through memory; on slices
to be corrected, clicks are placed where the answer is wrong and the model answers again. Every decision of a step is taken once for
the whole batch, so that the clips stay one batch.

Source: Ravi et al. 2024, appendix D.2.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float
from torch import Tensor, nn

from NeuroSAM2Core.engine.memory_bank import MemoryBank, SliceMemory
from NeuroSAM2Core.engine.memory_selection import MemoryRules
from NeuroSAM2Core.model import SAM2, ImageFeatures, MaskPrediction, Points, to_model_input
from NeuroSAM2Core.model.sam2 import MASK_PROMPT_LOGIT
from NeuroSAM2Core.train.clip import ClipBatch
from NeuroSAM2Core.train.losses import Losses, LossWeights, iou, prediction_losses
from NeuroSAM2Core.train.simulate import first_points, with_clicks

PromptKind = Literal["box", "click", "mask"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptConfig:
    """How training prompts are drawn."""

    box: float = 0.25
    """Probability that a clip starts from a box."""
    click: float = 0.25
    """Probability that it starts from one click; the rest start from the true mask."""
    loose_box: float = 1.0
    """Probability that the sides of a batch's boxes are off by up to a tenth; a tight box says more about what is meant."""
    max_prompted: int = 2
    """At most this many slices are prompted from the start."""
    max_corrected: int = 2
    """At most this many slices get correction clicks, the prompted ones included."""
    num_corrections: int = 7
    """Correction clicks on such a slice."""
    random_corrections: bool = False
    """Place from none to `num_corrections` clicks instead, one and the same number in the whole batch, so that the memory of a slice
    with nothing but its first prompt is taught too."""
    click_from_truth: float = 0.1
    """Probability that a correction click ignores the error and falls anywhere in the object."""
    rough_neighbours: float = 0.0
    """Probability that the neighbouring slice's mask is left out, grown or shrunk before it is shown (only for models that are shown
    it): otherwise what was once wrong would be believed from slice to slice."""
    foreign_starts: float = 0.0
    """Probability that the answer to be corrected on a slice is replaced by the mask of another object of the clip: a person's click
    may also mean that something else was meant."""


@dataclass(frozen=True, slots=True)
class PromptPlan:
    """What will be prompted and corrected in one batch."""

    kind: PromptKind
    loose: bool
    """Boxes are not tight."""
    prompted: tuple[int, ...]
    corrected: tuple[int, ...]
    num_corrections: int
    """Clicks on each corrected slice."""

    @classmethod
    def draw(cls, config: PromptConfig, num_slices: int, rng: np.random.Generator) -> "PromptPlan":
        """One plan; the first slice is always prompted."""
        kind: PromptKind = "mask"
        chance = rng.random()
        if chance < config.box + config.click or num_slices == 1:
            kind = "box" if chance < config.box else "click"
        loose = rng.random() < config.loose_box
        num_prompted = int(rng.integers(1, min(config.max_prompted, num_slices) + 1))
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
        return cls(kind, loose, prompted, corrected, num_clicks)

    def order(self, num_slices: int) -> list[int]:
        """Prompted slices first, then the rest: later prompts are remembered by earlier slices."""
        return [*self.prompted, *(t for t in range(num_slices) if t not in self.prompted)]


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step gives back."""

    losses: Losses
    prompted_iou: Float[Tensor, ""]
    """Mean true IoU of the first answer on prompted slices."""
    tracked_iou: Float[Tensor, ""]
    """Mean true IoU of the first answer on the others; NaN where there were none."""
    corrected_iou: Float[Tensor, ""]
    """Mean true IoU after the last correction; NaN where there were none."""


class ClipSegmenter(nn.Module):
    """A model and the way it is taught: one `forward` holds the whole clip, as gradient synchronisation needs."""

    def __init__(self, model: SAM2, prompts: PromptConfig, weights: LossWeights) -> None:
        super().__init__()
        self.model, self.prompts, self.weights = model, prompts, weights
        self.rules = MemoryRules(
            num_slots=model.config.num_mask_memories,
            max_pointers=model.config.max_object_pointers,
            past_pointers_only=False,
            signed_offsets=model.config.has_pointer_time,
        )

    def forward(self, batch: ClipBatch, rng: np.random.Generator) -> StepResult:
        """Segments every object of every clip and adds up the losses."""
        model = self.model
        clips, num_slices = batch.images.shape[:2]
        objects = batch.masks.shape[1]
        truth = batch.masks.flatten(0, 1)
        features = model.encode_image(to_model_input(batch.images.flatten(0, 1), model.config.image_size))
        plan = PromptPlan.draw(self.prompts, num_slices, rng)
        # Pointers are dated as in a long volume, however short the clip.
        bank = MemoryBank(self.rules, max(num_slices, self.rules.max_pointers))
        losses: list[Losses] = []
        latest: dict[int, Tensor] = {}
        first: dict[bool, list[Tensor]] = {True: [], False: []}
        final: list[Tensor] = []
        row_of_object = torch.arange(clips, device=truth.device).repeat_interleave(objects) * num_slices
        for t in plan.order(num_slices):
            seen = features[row_of_object + t]
            nearest = min(latest, key=lambda i: abs(i - t), default=None)
            hint = None if nearest is None or not model.config.paints_prompts else latest[nearest]
            if hint is not None and self.prompts.rough_neighbours > 0:
                hint = roughened(hint, self.prompts.rough_neighbours, rng)
            foreign = truth[:, t].unflatten(0, (clips, objects)).roll(1, dims=1).flatten(0, 1)
            answers = self._answers(seen, truth[:, t], foreign, plan, t, bank, hint, rng)
            latest[t] = answers[-1].logits.detach()
            losses += [self._losses(answer, truth[:, t]) for answer in answers]
            first[t in plan.prompted].append(_true_iou(answers[0], truth[:, t]))
            if t in plan.corrected:
                final.append(_true_iou(answers[-1], truth[:, t]))
            memory = SliceMemory(
                model.write_memory(seen, answers[-1].logits, answers[-1].presence_logit), answers[-1].pointer
            )
            (bank.conditioning if t in plan.prompted or t in plan.corrected else bank.recent)[t] = memory
        return StepResult(sum(losses[1:], losses[0]), _mean(first[True]), _mean(first[False]), _mean(final))

    def _answers(
        self,
        features: ImageFeatures,
        truth: Bool[Tensor, "n h w"],
        foreign: Bool[Tensor, "n h w"],
        plan: PromptPlan,
        t: int,
        bank: MemoryBank,
        neighbour: Float[Tensor, "n 1 s4 s4"] | None,
        rng: np.random.Generator,
    ) -> list[MaskPrediction]:
        """The first answer on a slice and one more after each correction."""
        model = self.model
        is_prompted = t in plan.prompted
        points = None
        if is_prompted:
            if plan.kind == "mask":
                return [model.adopt_mask(features, _resized(truth, model.config.image_size))]
            points = first_points(plan.kind, truth, rng, loose=plan.loose)
        coarse = model.without_memory(features.coarse) if is_prompted else bank.condition(model, features, t)
        answers = [
            model.decode(
                coarse,
                features,
                points=_scaled(points, truth, model),
                mask_logits=None if is_prompted else neighbour,
                multimask=_is_open(points),
            )
        ]
        shown = answers[-1].logits
        num_corrections = plan.num_corrections if t in plan.corrected else 0
        if num_corrections and rng.random() < self.prompts.foreign_starts:
            shown = _as_logits(foreign, shown)
        for _ in range(num_corrections):
            anywhere = rng.random() < self.prompts.click_from_truth
            points = with_clicks(points, truth, _thresholded(shown, truth), rng, anywhere=anywhere)
            answers.append(
                model.decode(
                    coarse,
                    features,
                    points=_scaled(points, truth, model),
                    mask_logits=shown,
                    multimask=_is_open(points),
                )
            )
            shown = answers[-1].logits
        return answers

    def _losses(self, answer: MaskPrediction, truth: Bool[Tensor, "n h w"]) -> Losses:
        logits = F.interpolate(answer.all_logits.float(), size=truth.shape[-2:], mode="bilinear")
        return prediction_losses(
            logits, answer.all_ious, answer.presence_logit, truth, self.weights, num_objects=max(1, len(truth))
        )


def roughened(
    logits: Float[Tensor, "n 1 h w"], probability: float, rng: np.random.Generator
) -> Float[Tensor, "n 1 h w"] | None:
    """A mask as it is, or nothing, or grown (most often) or shrunk by a few pixels, one and the same way for the whole batch."""
    if rng.random() >= probability:
        return logits
    kind, reach = rng.random(), int(rng.integers(1, 1 + max(1, logits.shape[-1] // 10)))
    if kind < 0.25:
        return None
    sign = 1.0 if kind < 0.8 else -1.0
    return sign * F.max_pool2d(sign * logits, 2 * reach + 1, stride=1, padding=reach)


def _is_open(points: Points | None) -> bool:
    """One click or none leaves the extent open: the model considers three readings."""
    return points is None or points.labels.shape[1] <= 1


def _scaled(points: Points | None, truth: Tensor, model: SAM2) -> Points | None:
    """Points in the pixels of the truth as model pixels, pixel centre to pixel centre."""
    if points is None:
        return None
    height, width = truth.shape[-2:]
    scale = torch.tensor([model.config.image_size / width, model.config.image_size / height], device=truth.device)
    return replace(points, coords=(points.coords + 0.5) * scale - 0.5)


def _resized(mask: Bool[Tensor, "n h w"], size: int) -> Bool[Tensor, "n 1 S S"]:
    return F.interpolate(mask[:, None].float(), size=(size, size), mode="bilinear", antialias=True) >= 0.5


def _as_logits(mask: Bool[Tensor, "n h w"], like: Float[Tensor, "n 1 h2 w2"]) -> Float[Tensor, "n 1 h2 w2"]:
    """A mask as an answer that is sure of it."""
    share = F.interpolate(mask[:, None].float(), size=like.shape[-2:], mode="bilinear", antialias=True)
    return 2 * MASK_PROMPT_LOGIT * share - MASK_PROMPT_LOGIT


def _thresholded(logits: Float[Tensor, "n 1 h2 w2"], truth: Bool[Tensor, "n h w"]) -> Bool[Tensor, "n h w"]:
    with torch.no_grad():
        return F.interpolate(logits, size=truth.shape[-2:], mode="bilinear")[:, 0] > 0


def _true_iou(answer: MaskPrediction, truth: Bool[Tensor, "n h w"]) -> Float[Tensor, " n"]:
    """The true IoU of the chosen mask; NaN where the object is absent."""
    with torch.no_grad():
        logits = F.interpolate(answer.logits, size=truth.shape[-2:], mode="bilinear")
        is_present = truth.flatten(1).any(dim=1)
        return torch.where(is_present, iou(logits, truth[:, None].float())[:, 0], torch.nan)


def _mean(values: list[Tensor]) -> Float[Tensor, ""]:
    """The mean of all numbers; NaN if there are none. Stays on the device, so that no step waits for it."""
    return torch.cat(values).nanmean() if values else torch.tensor(torch.nan)
