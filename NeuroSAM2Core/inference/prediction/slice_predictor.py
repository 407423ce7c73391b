"""What one slice looks like, given its prompts: from a prompt set to the model's answer.

The clicks of a set are replayed in order, each refining the answer to those before, so that the same prompts always get the same
answer. The latest replay is kept: one more click costs one more decoding.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from NeuroSAM2Core.checkpoint.load import bundled_refiner
from NeuroSAM2Core.components.cpu import bounding_box
from NeuroSAM2Core.components.device import release_cached_memory
from NeuroSAM2Core.errors import is_out_of_memory
from NeuroSAM2Core.inference.options import EngineOptions
from NeuroSAM2Core.inference.prediction.crop import MAX_WIDENINGS, Bounds, Crop, CropPlanner, logits_in_crop
from NeuroSAM2Core.inference.prediction.feature_cache import CountedMemory
from NeuroSAM2Core.inference.prediction.mask_refinement import (
    CellClick,
    IntensityContrast,
    refine_box_mask,
    refine_clicked_mask,
)
from NeuroSAM2Core.inference.prediction.mask_transfer import is_in_the_middle, signed_distance
from NeuroSAM2Core.inference.prediction.postprocess import agreement, enforce_clicks
from NeuroSAM2Core.inference.prediction.readings import (
    foreground_answer,
    foreground_parts,
    part_at,
    rank_readings,
    select_mask,
    split,
)
from NeuroSAM2Core.inference.prediction.slice_answer import (
    PRESENT_SCORE_LOGIT,
    CropMemory,
    CropView,
    SliceAnswer,
    as_absent,
)
from NeuroSAM2Core.model import SAM2, ImageFeatures, MaskPrediction, MaskSelector, Points
from NeuroSAM2Core.model.layers import resized
from NeuroSAM2Core.model.mask_refiner import SIDE
from NeuroSAM2Core.model.prompt_encoder import BOTTOM_RIGHT, NEGATIVE, POSITIVE, TOP_LEFT
from NeuroSAM2Core.prompts import BoxPrompt, MaskPrompt, PointPrompt, PromptSet

MAX_FED_BACK = 32.0
MIN_KEPT, MAX_LOSS = 0.5, 0.1
"""A negative click that keeps less of the mask before (IoU), and whose own expected IoU falls by more, is not followed; one that keeps
less than half of that much must not fall at all."""

MAX_GROWTH = 4.0
"""A positive click means no more than so many times the mask before, and a disc as wide as the click is far from it; a second click no
reading of so many times the largest slice of an object that is known."""

FAR_RATIO = 2.0
"""A second click so far outside a mask, as a multiple of the radius of a disc of its area, means another reading of the first one."""

NUM_SLICES_WITH_PARTS = 16
"""Whose foreground is kept, for the next click there."""

Prompt = BoxPrompt | PointPrompt


@dataclass(slots=True)
class SliceContext:
    """How an object's memory sees crops of one slice; each is looked at once."""

    look: Callable[[Crop], CropView]
    prepare: Callable[[Sequence[Crop]], object]
    """Encodes several crops together before they are looked at."""
    features: Callable[[Crop], ImageFeatures]
    """The slice's own features, which are kept elsewhere while there is memory."""
    seen: dict[Crop, CropMemory] = field(default_factory=dict)

    def at(self, crop: Crop) -> CropView:
        """The slice in a crop."""
        if crop not in self.seen:
            view = self.look(crop)
            self.seen[crop] = view.memory
            return view
        return CropView(self.features(crop), self.seen[crop])

    def copy(self) -> "SliceContext":
        """The same, whose further crops are not kept here."""
        return replace(self, seen=dict(self.seen))


@dataclass(slots=True)
class PromptHistory:
    """The answers to a slice's prompts so far, in order."""

    look: SliceContext
    start: SliceAnswer | None
    """The mask that is there already and is to be corrected."""
    prompts: list[Prompt] = field(default_factory=list)
    answers: list[SliceAnswer | None] = field(default_factory=list)
    """To each of them with those before it; None where it is not known."""
    readings: list[SliceAnswer] = field(default_factory=list)
    """Of the first click, where nothing but clicks was given on a slice without a mask."""
    reading: int = 0
    """Which of them the answers go on from."""
    contrast: IntensityContrast | None = None
    """How the object's intensities differ from those around it on other slices; None where that is unknown."""
    largest_area: float = math.inf
    """Of the object on the other confirmed slices, pixels of a slice; infinite where there are none."""
    is_close: bool = False
    """So close to a confirmed slice that shows the object that the object must be here, too."""
    _memory: CountedMemory = field(init=False, default_factory=CountedMemory)

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return self._memory.nbytes([*self.look.seen.values(), self.start, *self.answers, *self.readings])


class SlicePredictor:
    """Answers prompt sets on the slices of a stack."""

    def __init__(self, model: SAM2, crops: CropPlanner, options: EngineOptions) -> None:
        self.model, self.crops, self.options = model, crops, options
        self.stack = crops.stack
        self._parts_of = lru_cache(NUM_SLICES_WITH_PARTS)(self._foreground_parts)

    def resume(
        self, look: SliceContext, answer: SliceAnswer, prompts: PromptSet, contrast: IntensityContrast | None
    ) -> PromptHistory:
        """A slice that was prompted before this session, of which only the last answer is known."""
        prompt_list = _in_order(prompts)
        unknown: list[SliceAnswer | None] = [None] * max(0, len(prompt_list) - 1)
        answers = [*unknown, answer] if prompt_list else []
        return PromptHistory(look, answer, prompt_list, answers, contrast=contrast)

    def answer(self, prompts: PromptSet, number: int, history: PromptHistory) -> SliceAnswer:
        """The answer to all prompts of slice `number`; `history` goes on from what it has in common with them."""
        if prompts.mask is not None:
            crop = self.crop_of_mask(prompts.mask, number)
            return SliceAnswer(self.use_mask(prompts.mask, crop, history.look.at(crop).features), crop)
        for _ in self.answer_stepwise(prompts, number, history):
            pass
        answer = history.answers[-1]
        assert answer is not None
        return answer

    def answer_stepwise(self, prompts: PromptSet, number: int, history: PromptHistory) -> Iterator[None]:
        """Answers the boxes and clicks of a slice one after another, with a yield after each; see `answer`."""
        if prompts.mask is not None:
            return
        prompt_list = _in_order(prompts)
        common = 0
        while common < min(len(prompt_list), len(history.prompts)) and prompt_list[common] == history.prompts[common]:
            common += 1
        if prompts.reading != history.reading or (common and history.answers[common - 1] is None):
            common = 0
        del history.prompts[common:], history.answers[common:]
        history.reading = prompts.reading
        most = self.options.max_slice_prompts
        for count in range(common + 1, len(prompt_list) + 1):
            history.answers.append(self._step(self._recent_prompts(prompt_list[:count]), number, history))
            history.prompts.append(prompt_list[count - 1])
            if most is not None and count > most:
                history.answers[count - 1 - most] = None  # who takes back so much has it answered anew
            yield

    def _recent_prompts(self, prompt_list: list[Prompt]) -> list[Prompt]:
        """The first prompt and the latest ones, as many as are answered together."""
        most = self.options.max_slice_prompts
        return (
            prompt_list
            if most is None or len(prompt_list) <= most
            else [prompt_list[0], *prompt_list[len(prompt_list) - most + 1 :]]
        )

    def crop_of_mask(self, mask: MaskPrompt, number: int) -> Crop:
        """The crop around a given mask."""
        seen = self.stack.mask_to_stack(mask.mask)
        box = bounding_box(seen)
        if box is None:
            return self.crops.whole
        rows, cols = box
        return self.crops.around(number, (rows.start, cols.start, rows.stop - 1.0, cols.stop - 1.0))

    def use_mask(self, mask: MaskPrompt, crop: Crop, features: ImageFeatures) -> MaskPrediction:
        """A given mask as the answer in a crop."""
        size = self.model.config.image_size
        seen = torch.from_numpy(crop.of(self.stack.mask_to_stack(mask.mask)).copy()).to(self.model.device)
        full = resized(seen[None, None].float(), size, size) >= 0.5
        return self.model.use_mask_as_output(features, full)

    def _step(self, prompt_list: list[Prompt], number: int, history: PromptHistory) -> SliceAnswer:
        """The answer to some prompts after those before the last one were answered."""
        last = history.answers[-1] if history.answers else None
        clicks = self._clicks(prompt_list)
        newest = prompt_list[-1]
        if last is None and history.start is None and isinstance(newest, PointPrompt):
            return self._read(prompt_list, number, history)
        before = last or history.start
        if history.readings and last is not None:
            most = min(MAX_GROWTH * history.largest_area, self._largest_meant(last, newest))
            likely = [one for one in history.readings if one.area <= most]
            before = last = self._consistent_answer(last, clicks, likely or [last])
        if isinstance(newest, BoxPrompt):
            crop = self.crops.around(number, self._bounds(newest))
        else:
            assert before is not None
            crop = self.crops.including(before.crop, number, [p for p in clicks if p.positive])
        if not history.is_close and self._rejects_object(prompt_list, clicks, before):
            assert before is not None
            return SliceAnswer(as_absent(before.prediction), before.crop)
        answer = self._decode(prompt_list, crop, before, last, history.look, number)
        for _ in range(MAX_WIDENINGS if self.options.crops else 0):
            wider = self.crops.widened(crop, number, crop.bounds_of(answer.logits))
            if wider is None:
                break
            crop = wider
            answer = self._decode(prompt_list, crop, before, last, history.look, number)
        if isinstance(newest, PointPrompt) and not newest.positive and self._lost_too_much(answer, crop, before):
            assert before is not None
            answer, crop = before.prediction, before.crop
        if isinstance(newest, PointPrompt) and newest.positive and before is not None:
            answer = self._without_flooding(answer, crop, before, self._clicks([newest])[0])
        if before is not None and isinstance(newest, PointPrompt):
            answer = self._refined_by_click(answer, crop, before, self._clicks([newest])[0], number, history.contrast)
        return SliceAnswer(self._with_clicks_enforced(clicks, answer, crop), crop)

    def _lost_too_much(self, answer: MaskPrediction, crop: Crop, before: SliceAnswer | None) -> bool:
        """A negative click took most of the mask away, and the model itself expects less of the rest: only the click is enforced then."""
        if before is None or not self.options.select_correction_mask or not self.options.enforce_clicks:
            return False
        old, new = logits_in_crop(before.prediction.logits.float(), before.crop, crop) > 0, answer.logits > 0
        if not old.any():
            return False
        overlap = float((old & new).sum() / (old | new).sum())
        loss = float(before.prediction.iou) - float(answer.iou)
        return (overlap < MIN_KEPT and loss > MAX_LOSS) or (overlap < MIN_KEPT / 2 and loss > 0)

    def _largest_meant(self, before: SliceAnswer, newest: Prompt) -> float:
        """The area, pixels, that a positive click may mean beside a mask: at its border it corrects, far away it means something larger."""
        mask = (before.prediction.logits[0, 0] > 0).cpu().numpy()
        if not isinstance(newest, PointPrompt) or not newest.positive or not mask.any():
            return math.inf
        (click,), crop = self._clicks([newest]), before.crop
        rows, cols = np.nonzero(mask)
        down = (rows + 0.5) * crop.height / mask.shape[0] + crop.top - 0.5 - click.row
        right = (cols + 0.5) * crop.width / mask.shape[1] + crop.left - 0.5 - click.col
        reach, radius = math.sqrt(float((down**2 + right**2).min())), math.sqrt(before.area / math.pi)
        return math.inf if reach > FAR_RATIO * radius else MAX_GROWTH * before.area

    def _without_flooding(
        self, answer: MaskPrediction, crop: Crop, before: SliceAnswer, click: PointPrompt
    ) -> MaskPrediction:
        """The answer to a positive click, or the mask before where the answer is so much larger that the click cannot mean it."""
        inside = crop.points_inside([click])
        old = logits_in_crop(before.prediction.logits.float(), before.crop, crop)
        mask = (old[0, 0] > 0).cpu().numpy()
        if not self.options.select_correction_mask or not self.options.enforce_clicks or not inside or not mask.any():
            return answer
        row, col = crop.cell_of(inside[0], mask.shape)
        reach = max(-float(signed_distance(mask)[row, col]), 0.0)
        most = MAX_GROWTH * float(mask.sum()) + math.pi * reach**2
        return replace(answer, logits=old) if float((answer.logits > 0).sum()) > most else answer

    def _refined_by_click(
        self,
        answer: MaskPrediction,
        crop: Crop,
        before: SliceAnswer,
        click: PointPrompt,
        number: int,
        contrast: IntensityContrast | None,
    ) -> MaskPrediction:
        """A correction refined by the click, the mask before and the object's intensities, where a crop is seen."""
        inside = crop.points_inside([click])
        mask = logits_in_crop(before.prediction.logits.float(), before.crop, crop) > 0
        if not self.options.refines_masks or self.crops.is_whole(crop) or not inside or not mask.any():
            return answer
        height, width = mask.shape[-2:]
        place = CellClick(*crop.cell_of(inside[0], (height, width)), click.positive)
        evidence = None if contrast is None else contrast.evidence(crop.picture(self.stack.voxels[number], height))
        return refine_clicked_mask(answer, mask, place, evidence)

    def _rejects_object(self, prompt_list: list[Prompt], clicks: list[PointPrompt], before: SliceAnswer | None) -> bool:
        """Nothing but negative clicks was given, and the last one lies in the middle of the mask that it corrects."""
        if before is None or not self.options.clears_denied or len(clicks) < len(prompt_list):
            return False
        if any(click.positive for click in clicks):
            return False
        mask = (before.prediction.logits[0, 0] > 0).cpu().numpy()
        if not mask.any():
            return True  # it was cleared by the click before
        inside = before.crop.points_inside(clicks[-1:])
        if not inside:
            return False
        row, col = before.crop.cell_of(inside[0], mask.shape)
        return is_in_the_middle(mask, row, col)

    def _read(self, prompt_list: list[Prompt], number: int, history: PromptHistory) -> SliceAnswer:
        """The first click alone: what it may mean, and the reading that was asked for."""
        clicks = self._clicks(prompt_list)
        if not self.options.crops:
            crop = self.crops.whole
            return SliceAnswer(
                self._with_clicks_enforced(
                    clicks, self._decode(prompt_list, crop, None, None, history.look, number), crop
                ),
                crop,
            )
        if not history.readings:
            fields = self.crops.around_click(number, clicks[0], self.options.click_fields_mm)
            history.look.prepare(fields)
            answers = self._decode_fields(prompt_list, fields, history.look)
            candidates = [one for answer in answers for one in self._candidates(answer, clicks)]
            foreground = self._foreground(candidates, clicks[0], number)
            history.readings = rank_readings(candidates, foreground, self.crops, self.options)
        return history.readings[history.reading % len(history.readings)]

    def _foreground(self, candidates: list[SliceAnswer], click: PointPrompt, number: int) -> SliceAnswer | None:
        """All that is not air around a click, as an answer to it."""
        whole, side = self.crops.whole, candidates[0].prediction.logits.shape[-1]
        mask = part_at(self._parts_of(number, side), *whole.cell_of(click, (side, side)))
        return None if mask is None else foreground_answer(candidates, whole, mask)

    def _foreground_parts(self, number: int, side: int) -> Int[np.ndarray, "s s"]:
        """The parts of a slice's foreground on a grid; the same for every click."""
        return foreground_parts(self.crops.whole.picture(self.stack.voxels[number], side))

    def _candidates(self, answer: SliceAnswer, clicks: list[PointPrompt]) -> list[SliceAnswer]:
        """One answer for each candidate mask of a field, with the clicks enforced."""
        crop, masks = answer.crop, answer.prediction.all_logits
        agrees = agreement(masks, crop.points_inside(clicks), crop.shape, self.options.upsampling or "bilinear")
        return [
            one if is_right else SliceAnswer(self._with_clicks_enforced(clicks, one.prediction, crop), crop)
            for one, is_right in zip(split(answer), agrees.all(dim=1).tolist(), strict=True)
        ]

    def _decode_fields(self, prompt_list: list[Prompt], crops: list[Crop], look: SliceContext) -> list[SliceAnswer]:
        """The answers to a first click in several crops, decoded together as far as the memory of the device allows."""
        try:
            return self._decode_together(prompt_list, crops, look)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or len(crops) == 1:
                raise
        release_cached_memory()
        half = len(crops) // 2
        return self._decode_fields(prompt_list, crops[:half], look) + self._decode_fields(
            prompt_list, crops[half:], look
        )

    def _decode_together(self, prompt_list: list[Prompt], crops: list[Crop], look: SliceContext) -> list[SliceAnswer]:
        views, points = [look.at(crop) for crop in crops], [self._points(prompt_list, crop) for crop in crops]
        together = self.model.decode(
            torch.cat([view.conditioned for view in views]),
            ImageFeatures.joined([view.features for view in views]),
            points=Points(torch.cat([one.coords for one in points]), torch.cat([one.labels for one in points])),
            multimask=True,
        )
        return [SliceAnswer(together[row : row + 1], crop) for row, crop in enumerate(crops)]

    def _consistent_answer(
        self, last: SliceAnswer, clicks: list[PointPrompt], readings: list[SliceAnswer]
    ) -> SliceAnswer:
        """The last answer or, where the clicks contradict it, the reading of the first click that agrees with them best."""
        agreeing = self._agreement(last, clicks)
        if agreeing == 1:
            return last
        best = max(readings, key=lambda one: self._agreement(one, clicks))
        return best if self._agreement(best, clicks) > agreeing else last

    def _agreement(self, answer: SliceAnswer, clicks: list[PointPrompt]) -> float:
        """The share of clicks that a mask agrees with; outside of its crop there is no object."""
        inside = answer.crop.points_inside(clicks)
        count = sum(not p.positive for p in clicks) - sum(not p.positive for p in inside)
        if inside:
            count += int(agreement(answer.prediction.logits.float(), inside, answer.crop.shape)[0].sum())
        return count / len(clicks)

    def _decode(
        self,
        prompt_list: list[Prompt],
        crop: Crop,
        before: SliceAnswer | None,
        last: SliceAnswer | None,
        look: SliceContext,
        number: int,
    ) -> MaskPrediction:
        view = look.at(crop)
        points = self._points(prompt_list, crop)
        fed_back = None
        if before is not None:
            moved = logits_in_crop(before.prediction.logits.float(), before.crop, crop)
            fed_back = moved.clamp(-MAX_FED_BACK, MAX_FED_BACK)
        answer = self.model.decode(
            view.conditioned,
            view.features,
            points=points,
            mask_logits=fed_back,
            multimask=points.labels.shape[1] <= 1,
            stability_fallback=self.options.stability_fallback,
            choose=self._choose(prompt_list, crop, last),
        )
        box = prompt_list[0] if len(prompt_list) == 1 and before is None else None
        if self.options.refines_boxes and isinstance(box, BoxPrompt) and not self.crops.is_whole(crop):
            picture = crop.picture(self.stack.voxels[number], SIDE)
            answer = refine_box_mask(
                answer, picture, self._box_on_picture(box, crop), bundled_refiner(self.model.device)
            )
        return answer if view.appearance is None else view.appearance.suppress_background(answer, view.features)

    def _box_on_picture(self, box: BoxPrompt, crop: Crop) -> Bounds:
        """A box in cells of the picture that the refiner sees of a crop."""
        top, left, bottom, right = self._bounds(box)
        rows, cols = SIDE / crop.height, SIDE / crop.width
        return (
            (top - crop.top) * rows,
            (left - crop.left) * cols,
            (bottom + 1 - crop.top) * rows,
            (right + 1 - crop.left) * cols,
        )

    def _choose(self, prompt_list: list[Prompt], crop: Crop, last: SliceAnswer | None) -> MaskSelector | None:
        """Selects among the model's masks, where a click corrects what was answered to those before it."""
        clicks = crop.points_inside(self._clicks(prompt_list))
        if last is None or not clicks or not self.options.select_correction_mask:
            return None
        return select_mask(logits_in_crop(last.prediction.logits.float(), last.crop, crop), clicks, crop.shape)

    def _with_clicks_enforced(self, clicks: list[PointPrompt], answer: MaskPrediction, crop: Crop) -> MaskPrediction:
        """The answer with every clicked pixel as the click says; an object with a positive click is there."""
        inside = crop.points_inside(clicks)
        if not self.options.enforce_clicks or not inside:
            return answer
        logits = enforce_clicks(answer.logits, inside, crop.shape, self.options)
        if logits is answer.logits:
            return answer
        object_score = answer.object_score_logits
        if any(point.positive for point in inside):
            object_score = object_score.clamp(min=PRESENT_SCORE_LOGIT)
        return replace(answer, logits=logits, object_score_logits=object_score)

    def _clicks(self, prompt_list: list[Prompt]) -> list[PointPrompt]:
        """Clicks of the stored plane in pixels of the stack's."""
        clicks = [one for one in prompt_list if isinstance(one, PointPrompt)]
        return [PointPrompt(*self.stack.to_stack(p.row, p.col), p.positive) for p in clicks]

    def _bounds(self, box: BoxPrompt) -> Bounds:
        return self.stack.box_to_stack(box.row0, box.col0, box.row1, box.col1)

    def _points(self, prompt_list: list[Prompt], crop: Crop) -> Points:
        """Prompts of the stored plane as points in the model's pixels."""
        coords, labels = [], []
        for one in prompt_list:
            if isinstance(one, BoxPrompt):
                row0, col0, row1, col1 = self._bounds(one)
                coords += [(col0, row0), (col1, row1)]
                labels += [TOP_LEFT, BOTTOM_RIGHT]
            else:
                row, col = self.stack.to_stack(one.row, one.col)
                if not crop.contains(row, col):  # negative: nothing outside of the crop is object
                    continue
                coords.append((col, row))
                labels.append(POSITIVE if one.positive else NEGATIVE)
        size, device = self.model.config.image_size, self.model.device
        scale = torch.tensor([size / crop.width, size / crop.height], device=device)
        corner = torch.tensor([crop.left, crop.top], dtype=torch.float32, device=device)
        places: Tensor = torch.tensor([coords], dtype=torch.float32, device=device).view(1, -1, 2) - corner
        shift = 0.5 if self.options.aligns_pixel_centres else 0.0
        return Points(
            (places + shift) * scale - shift, torch.tensor([labels], dtype=torch.float32, device=device).view(1, -1)
        )


def _in_order(prompts: PromptSet) -> list[Prompt]:
    """The prompts in the order in which they are answered."""
    return [*([prompts.box] if prompts.box else []), *prompts.points]
