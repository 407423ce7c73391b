"""What one slice looks like, given what was said about it: from a prompt set to the model's answer.

The clicks of a set are replayed in order, each refining the answer to those before, so that the same statement always gets the same
answer. The latest replay is kept: one more click costs one more decoding.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor

from NeuroSAM2Core.engine.appearance import Appearance
from NeuroSAM2Core.engine.heard import heard
from NeuroSAM2Core.engine.options import EngineOptions
from NeuroSAM2Core.engine.weighing import weighing
from NeuroSAM2Core.model import SAM2, Chooser, ImageFeatures, MaskPrediction, Points
from NeuroSAM2Core.model.prompt_encoder import BOTTOM_RIGHT, NEGATIVE, POSITIVE, TOP_LEFT
from NeuroSAM2Core.prompts import BoxPrompt, MaskPrompt, PointPrompt, PromptSet
from NeuroSAM2Core.volume import SliceStack

MAX_FED_BACK = 32.0
PRESENT_LOGIT = 1.0
"""Of an object that a person has clicked and the model thought absent."""

Said = BoxPrompt | PointPrompt


@dataclass(slots=True)
class Replay:
    """The answers to a slice's prompts so far, in order."""

    conditioned: Float[Tensor, "1 c s s"]
    start: Float[Tensor, "1 1 s4 s4"] | None
    said: list[Said]
    answers: list[MaskPrediction | None]
    """To each of them with those before it; None where it is not known."""
    appearance: Appearance | None = None
    """What the object looks like on other slices, where that was learned."""


class SlicePredictor:
    """Answers prompt sets on the slices of a stack."""

    def __init__(self, model: SAM2, stack: SliceStack, options: EngineOptions) -> None:
        self.model, self.stack, self.options = model, stack, options

    def begin(
        self,
        conditioned: Float[Tensor, "1 c s s"],
        start: Float[Tensor, "1 1 s4 s4"] | None,
        appearance: Appearance | None = None,
    ) -> Replay:
        """A slice on which nothing was said yet.

        Args:
            conditioned: Its coarse features, conditioned on memory or not.
            start: The mask that is there already and is to be corrected.
            appearance: What the object looks like on other slices.
        """
        return Replay(conditioned, start, [], [], appearance)

    def resume(
        self,
        conditioned: Float[Tensor, "1 c s s"],
        answer: MaskPrediction,
        prompts: PromptSet,
        appearance: Appearance | None = None,
    ) -> Replay:
        """A slice on which something was said before, of which only the last answer is known."""
        said = _in_order(prompts)
        unknown: list[MaskPrediction | None] = [None] * max(0, len(said) - 1)
        return Replay(conditioned, answer.logits, said, [*unknown, answer] if said else [], appearance)

    def answer(self, prompts: PromptSet, features: ImageFeatures, replay: Replay) -> MaskPrediction:
        """The answer to all that was said; `replay` goes on from what it has in common with it."""
        if prompts.mask is not None:
            return self.adopt(prompts.mask, features)
        said = _in_order(prompts)
        common = 0
        while common < min(len(said), len(replay.said)) and said[common] == replay.said[common]:
            common += 1
        if common and replay.answers[common - 1] is None:
            common = 0
        del replay.said[common:], replay.answers[common:]
        for count in range(common + 1, len(said) + 1):
            replay.answers.append(self._heard(said[:count], self._decode(said[:count], features, replay)))
            replay.said.append(said[count - 1])
        answer = replay.answers[-1]
        assert answer is not None
        return answer

    def adopt(self, mask: MaskPrompt, features: ImageFeatures) -> MaskPrediction:
        """A given mask as the answer."""
        size = self.model.config.image_size
        seen = torch.from_numpy(self.stack.mask_to_stack(mask.mask).copy()).to(self.model.device)
        full = F.interpolate(seen[None, None].float(), size=(size, size), mode="bilinear", antialias=True) >= 0.5
        return self.model.adopt_mask(features, full)

    def _decode(self, said: list[Said], features: ImageFeatures, replay: Replay) -> MaskPrediction:
        last = replay.answers[-1] if replay.answers else None
        before = replay.start if last is None else last.logits
        points = self._points(said)
        answer = self.model.decode(
            replay.conditioned,
            features,
            points=points,
            mask_logits=None if before is None else before.float().clamp(-MAX_FED_BACK, MAX_FED_BACK),
            multimask=points.labels.shape[1] <= 1,
            stability_fallback=self.options.stability_fallback,
            choose=self._choose(said, last),
        )
        return answer if replay.appearance is None else replay.appearance.carve(answer, features)

    def _choose(self, said: list[Said], last: MaskPrediction | None) -> Chooser | None:
        """What weighs the model's masks, where a click corrects what was answered to those before it."""
        clicks = self._clicks(said)
        if last is None or not clicks or not weighs_corrections(self.model, self.options):
            return None
        return weighing(last.logits.float(), clicks, self.stack.slice_shape)

    def _heard(self, said: list[Said], answer: MaskPrediction) -> MaskPrediction:
        """The answer with every click's pixel as it was said to be; an object that was clicked is there."""
        if not self.options.hears_clicks:
            return answer
        points = self._clicks(said)
        logits = heard(answer.logits, points, self.stack.slice_shape)
        if logits is answer.logits:
            return answer
        presence = answer.presence_logit
        if any(point.positive for point in points):
            presence = presence.clamp(min=PRESENT_LOGIT)
        return replace(answer, logits=logits, presence_logit=presence)

    def _clicks(self, said: list[Said]) -> list[PointPrompt]:
        """Clicks of the stored plane in pixels of the stack's."""
        clicks = [one for one in said if isinstance(one, PointPrompt)]
        return [PointPrompt(*self.stack.to_stack(p.row, p.col), p.positive) for p in clicks]

    def _points(self, said: list[Said]) -> Points:
        """Prompts of the stored plane as points in the model's pixels."""
        coords, labels = [], []
        for one in said:
            if isinstance(one, BoxPrompt):
                row0, col0, row1, col1 = self.stack.box_to_stack(one.row0, one.col0, one.row1, one.col1)
                coords += [(col0, row0), (col1, row1)]
                labels += [TOP_LEFT, BOTTOM_RIGHT]
            else:
                row, col = self.stack.to_stack(one.row, one.col)
                coords.append((col, row))
                labels.append(POSITIVE if one.positive else NEGATIVE)
        height, width = self.stack.slice_shape
        size, device = self.model.config.image_size, self.model.device
        scale = torch.tensor([size / width, size / height], device=device)
        places = torch.tensor([coords], dtype=torch.float32, device=device)
        shift = 0.5 if self.options.aligns_pixel_centres else 0.0
        return Points((places + shift) * scale - shift, torch.tensor([labels], dtype=torch.float32, device=device))


def weighs_corrections(model: SAM2, options: EngineOptions) -> bool:
    """The choice, or what suits the model."""
    chosen = options.weighs_corrections
    return model.config.paints_prompts if chosen is None else chosen


def _in_order(prompts: PromptSet) -> list[Said]:
    """What was said, in the order in which it is answered."""
    return [*([prompts.box] if prompts.box else []), *prompts.points]
