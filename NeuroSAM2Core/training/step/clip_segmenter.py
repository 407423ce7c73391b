"""The forward pass of a training step: segments a clip with simulated prompts and computes the losses.

The object is prompted on the first slice (box, click, scribble, lasso or mask) and maybe on another; the other slices follow through
memory; on slices to be corrected, clicks are placed where the answer is wrong and the model answers again. Every decision of a step is
taken once for the whole batch, so that the clips stay one batch.

Source: Ravi et al. 2024, appendix D.2.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import ParamSpec, TypeVar

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from NeuroSAM2Core.inference.propagation.memory_bank import MemoryBank, MemoryConfig, SliceMemory
from NeuroSAM2Core.model import SAM2, ImageFeatures, MaskPrediction, Points, to_model_input
from NeuroSAM2Core.model.layers import resized
from NeuroSAM2Core.model.sam2 import MASK_PROMPT_LOGIT
from NeuroSAM2Core.training.config.step import LossConfig, PromptConfig
from NeuroSAM2Core.training.data.clip import ClipBatch
from NeuroSAM2Core.training.step.losses import Losses, iou, prediction_losses
from NeuroSAM2Core.training.step.prompts import (
    MASKS,
    PromptPlan,
    carried_boxes,
    first_points,
    joined,
    lassos,
    parts_by_object,
    with_clicks,
)

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class StepResult:
    """The result of a step."""

    losses: Losses
    prompted_iou: Float[Tensor, ""]
    """Mean true IoU of the first answer on prompted slices."""
    tracked_iou: Float[Tensor, ""]
    """Mean true IoU of the first answer on the others; NaN where there were none."""
    corrected_iou: Float[Tensor, ""]
    """Mean true IoU after the last correction; NaN where there were none."""


class ClipSegmenter(nn.Module):
    """A model and the way it is trained: one `forward` holds the whole clip, as gradient synchronisation needs.

    Args:
        model: What is trained.
        prompts: How prompts are drawn.
        losses: What an answer costs.
        saves_memory: Keep no activations inside the model's stages and compute them again for the gradients.
    """

    def __init__(self, model: SAM2, prompts: PromptConfig, losses: LossConfig, *, saves_memory: bool = False) -> None:
        super().__init__()
        self.model, self.prompts, self.losses, self.saves_memory = model, prompts, losses, saves_memory
        self.memory_config = MemoryConfig(
            num_slots=model.config.num_mask_memories,
            max_pointers=model.config.max_object_pointers,
            past_pointers_only=False,
            signed_offsets=model.config.has_pointer_time,
        )

    def forward(
        self,
        batch: ClipBatch,
        rng: np.random.Generator,
        *,
        plan: PromptPlan | None = None,
        num_objects: float | None = None,
    ) -> StepResult:
        """Segments every object of every clip and adds up the losses.

        Args:
            batch: The clips.
            rng: Draws the prompts.
            plan: What is prompted and corrected; drawn from `rng` if None.
            num_objects: What losses are divided by; the batch's own number of objects if None.
        """
        model = self.model
        clips, num_slices = batch.images.shape[:2]
        objects = batch.masks.shape[1]
        truth = batch.masks.flatten(0, 1)
        is_real = batch.is_real.flatten()
        if num_objects is None:
            num_objects = max(1.0, float(is_real.sum()))
        if plan is None:
            plan = PromptPlan.draw(self.prompts, num_slices, rng)
        features = self._encode(batch, plan)
        # Pointers are dated as in a long volume, however short the clip.
        conditioning: dict[int, SliceMemory] = {}
        recent: dict[int, SliceMemory] = {}
        bank = MemoryBank(self.memory_config, max(num_slices, self.memory_config.max_pointers), conditioning, recent)
        losses: list[Losses] = []
        latest: dict[int, Tensor] = {}
        first: dict[bool, list[Tensor]] = {True: [], False: []}
        final: list[Tensor] = []
        row_of_object = torch.arange(clips, device=truth.device).repeat_interleave(objects)
        for t in plan.order(num_slices):
            seen = features[t][row_of_object]
            nearest = min(latest, key=lambda i: abs(i - t), default=None)
            hint = None if nearest is None or not model.config.rasterize_prompts else latest[nearest]
            if hint is not None and self.prompts.perturb_prev_mask_prob > 0:
                hint = perturbed(hint, self.prompts.perturb_prev_mask_prob, rng)
            foreign = truth[:, t].unflatten(0, (clips, objects)).roll(1, dims=1).flatten(0, 1)
            carried = None
            if nearest is not None and t not in plan.prompted and t not in plan.corrected:
                carried = self._carried_boxes(hint if model.config.rasterize_prompts else latest[nearest], rng)
            with torch.set_grad_enabled(torch.is_grad_enabled() and t not in plan.unsupervised):
                answers = self._answers(seen, truth[:, t], foreign, plan, t, bank, hint, carried, rng)
                memory = SliceMemory(
                    self._run(model.write_memory, seen, answers[-1].logits, answers[-1].object_score_logits),
                    answers[-1].pointer,
                )
            latest[t] = answers[-1].logits.detach()
            if t not in plan.unsupervised:
                coverage = self._share(plan, num_slices, is_prompted=t in plan.prompted)
                target = truth[:, t]
                if plan.kind == "lasso" and t in plan.prompted:  # what was drawn stays: there is nothing to learn
                    target = _thresholded(answers[0].logits, target)
                losses += [self._losses(answer, target, is_real, num_objects) * coverage for answer in answers]
            first[t in plan.prompted].append(_true_iou(answers[0], truth[:, t]))
            if t in plan.corrected:
                final.append(_true_iou(answers[-1], truth[:, t]))
            (conditioning if t in plan.prompted or t in plan.corrected else recent)[t] = memory
        return StepResult(sum(losses[1:], losses[0]), _mean(first[True]), _mean(first[False]), _mean(final))

    def _encode(self, batch: ClipBatch, plan: PromptPlan) -> dict[int, ImageFeatures]:
        """The features of every slice, one row a clip."""
        config = self.model.config
        clips, num_slices = batch.images.shape[:2]
        supervised = [t for t in range(num_slices) if t not in plan.unsupervised]
        features: dict[int, ImageFeatures] = {}
        for numbers, is_taught in ((supervised, True), (sorted(plan.unsupervised), False)):
            for some in ([t] for t in numbers) if self.saves_memory else [numbers] if numbers else []:
                images = batch.images[:, some].transpose(0, 1).flatten(0, 1)
                with torch.set_grad_enabled(torch.is_grad_enabled() and is_taught):
                    rows = self._run(
                        self.model.encode_image, to_model_input(images, config.image_size, config.intensity_range)
                    )
                features |= {t: rows[n * clips : (n + 1) * clips] for n, t in enumerate(some)}
        return features

    def _run(self, stage: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The stage's result; its inner activations are kept for the gradients or, to save memory, are not."""
        if not (self.saves_memory and torch.is_grad_enabled()):
            return stage(*args, **kwargs)
        result: R = checkpoint(partial(stage, *args, **kwargs), use_reentrant=False)
        return result

    def _share(self, plan: PromptPlan, num_slices: int, *, is_prompted: bool) -> float:
        """How much a slice's losses count."""
        if self.losses.slices == "sum":
            return 1.0
        num_prompted = len(plan.prompted)
        return 1.0 / (num_prompted if is_prompted else num_slices - num_prompted - len(plan.unsupervised))

    def _answers(
        self,
        features: ImageFeatures,
        truth: Bool[Tensor, "n h w"],
        foreign: Bool[Tensor, "n h w"],
        plan: PromptPlan,
        t: int,
        bank: MemoryBank,
        neighbour: Float[Tensor, "n 1 s4 s4"] | None,
        carried: Points | None,
        rng: np.random.Generator,
    ) -> list[MaskPrediction]:
        """The first answer on a slice and one more after each correction."""
        model = self.model
        is_prompted = t in plan.prompted
        if is_prompted and plan.kind in MASKS:
            given = lassos(truth, rng) if plan.kind == "lasso" else truth
            return [self._run(model.use_mask_as_output, features, _resized(given, model.config.image_size))]
        points = None
        if is_prompted:
            points = self._first_points(plan, truth, rng)
            coarse = model.without_memory(features.coarse)
        else:
            now = replace(bank, conditioning=dict(bank.conditioning), recent=dict(bank.recent))
            coarse = self._run(now.condition, model, features, t)
        answers = [
            self._run(
                model.decode,
                coarse,
                features,
                points=_scaled(points, truth, model) if carried is None else carried,
                mask_logits=None if is_prompted else neighbour,
                multimask=_is_open(points),
            )
        ]
        shown = answers[-1].logits
        num_corrections = plan.num_corrections if t in plan.corrected else 0
        if num_corrections and rng.random() < self.prompts.swap_object_prob:
            shown = _as_logits(foreign, shown)
        for _ in range(num_corrections):
            anywhere = rng.random() < self.prompts.click_from_truth
            points = with_clicks(points, truth, _thresholded(shown, truth), rng, anywhere=anywhere)
            answers.append(
                self._run(
                    model.decode,
                    coarse,
                    features,
                    points=_scaled(points, truth, model),
                    mask_logits=shown,
                    multimask=_is_open(points),
                )
            )
            shown = answers[-1].logits
        return answers

    def _carried_boxes(self, mask: Float[Tensor, "n 1 s4 s4"] | None, rng: np.random.Generator) -> Points | None:
        """The boxes of the masks on the slice before, in model pixels; None where this slice is not shown them."""
        probability = self.prompts.prev_box_prob
        if mask is None or probability == 0 or rng.random() >= probability:
            return None
        return carried_boxes(mask, self.model.config.image_size, rng)

    def _first_points(self, plan: PromptPlan, truth: Bool[Tensor, "n h w"], rng: np.random.Generator) -> Points:
        """The prompt of every object, or one for each of its parts."""
        assert plan.kind != "lasso"
        assert plan.kind != "mask"
        if self.prompts.max_parts == 1:
            return first_points(plan.kind, truth, rng, jitter=plan.jitter)
        parts = parts_by_object(truth, max_parts=self.prompts.max_parts)
        return joined(first_points(plan.kind, parts.flatten(0, 1), rng, jitter=plan.jitter), len(truth))

    def _losses(
        self, answer: MaskPrediction, truth: Bool[Tensor, "n h w"], is_real: Bool[Tensor, " n"], num_objects: float
    ) -> Losses:
        logits = F.interpolate(answer.all_logits.float(), size=truth.shape[-2:], mode="bilinear")
        return prediction_losses(
            logits,
            answer.all_ious,
            answer.object_score_logits,
            truth,
            self.losses,
            num_objects=num_objects,
            is_real=is_real,
        )


def perturbed(
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
    return resized(mask[:, None].float(), size, size) >= 0.5


def _as_logits(mask: Bool[Tensor, "n h w"], like: Float[Tensor, "n 1 h2 w2"]) -> Float[Tensor, "n 1 h2 w2"]:
    """A mask as an answer that is sure of it."""
    coverage = resized(mask[:, None].float(), *like.shape[-2:])
    return 2 * MASK_PROMPT_LOGIT * coverage - MASK_PROMPT_LOGIT


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
