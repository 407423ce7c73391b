"""The prompts of a training step: which clip gets which kind, and the simulated clicks, boxes and masks themselves.

Prompts for a whole batch of objects at once, on the device where the batch is: drawn at random, where `prompts.simulate` is not.

A training step places thousands of clicks; one by one on the host they would take longer than the model. The random numbers are drawn
on the host, a few per object, so that every device places the same prompts.

Source: Ravi et al. 2024, appendix D.2.

One prompt for each connected part of an object instead of one for the whole: the masks of the parts, and their prompts joined again.

The prompts of one batch: which slices are prompted and corrected, and how.

A plan is drawn once for a whole batch, so that its clips stay one batch.

Source: Ravi et al. 2024, appendix D.2.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from NeuroSAM2Core.errors import PromptError
from NeuroSAM2Core.model import Points
from NeuroSAM2Core.model.prompt_encoder import BOTTOM_RIGHT, NEGATIVE, NOTHING, POSITIVE, TOP_LEFT
from NeuroSAM2Core.prompts import LassoPrompt, ScribblePrompt, lasso_from_mask, scribble_from_error
from NeuroSAM2Core.prompts.simulate import parts_of, suggested_kind
from NeuroSAM2Core.training.config.step import PromptConfig
from NeuroSAM2Core.training.data.clip import ClipBatch

BOX_JITTER = 0.1
CARRIED_MARGIN_PX = 2.0
CARRIED_JITTER_PX = 3.0
MAX_SHIFT_PX = 20.0
SCRIBBLE_PLACES, SHORTEST_SCRIBBLE = 33, 0.5
"""Of a scribble's whole way as evenly spaced places a share from the second number to 1 is drawn."""
LASSO_JITTER = 0.1
MAX_LASSOS = 4


def first_points(
    kind: Literal["box", "click", "scribble"],
    truth: Bool[Tensor, "n h w"],
    rng: np.random.Generator,
    *,
    jitter: bool = True,
) -> Points:
    """A box, a click or a scribble for each object, in the pixels of `truth`; padding where the object is absent.

    Args:
        kind: Of all of them.
        truth: The objects.
        rng: Draws places and shifts.
        jitter: Each side of a box is off by up to a tenth of the box, at most 20 pixels; else boxes are tight.
    """
    if kind == "scribble":
        return scribbles(truth, rng)
    return boxes(truth, rng, jitter=jitter) if kind == "box" else clicks(truth, truth, rng)


def with_clicks(
    points: Points | None,
    truth: Bool[Tensor, "n h w"],
    answer: Bool[Tensor, "n h w"],
    rng: np.random.Generator,
    *,
    anywhere: bool,
) -> Points:
    """The points so far and one more click for each object, anywhere in the error of the answer; in the background if there is none.

    Args:
        points: So far.
        truth: The objects.
        answer: The model's prediction.
        rng: Draws the places.
        anywhere: In the object instead, where it is present.
    """
    region = truth ^ answer
    if anywhere:
        region = torch.where(_any(truth)[:, None, None], truth, region)
    region = torch.where(_any(region)[:, None, None], region, ~truth)
    new = clicks(region, truth, rng)
    if points is None:
        return new
    return Points(torch.cat((points.coords, new.coords), dim=1), torch.cat((points.labels, new.labels), dim=1))


def clicks(region: Bool[Tensor, "n h w"], truth: Bool[Tensor, "n h w"], rng: np.random.Generator) -> Points:
    """One click per object at a pixel drawn uniformly from its region: positive on the object; padding where there is no region."""
    flat = region.flatten(1)
    rank_of = flat.cumsum(dim=1, dtype=torch.int32)
    count = rank_of[:, -1:]
    rank = (_uniform(rng, (len(flat), 1), flat.device) * count).floor().clamp(max=count - 1).int() + 1
    place: Int[Tensor, "n 1"] = torch.searchsorted(rank_of, rank.clamp(min=1)).clamp(max=flat.shape[1] - 1)
    row, col = place // region.shape[-1], place % region.shape[-1]
    is_there = count > 0
    coords = torch.where(is_there[..., None], torch.stack((col, row), dim=-1).float(), 0.0)
    label = torch.where(truth.flatten(1).gather(1, place), float(POSITIVE), float(NEGATIVE))
    return Points(coords, torch.where(is_there, label, float(NOTHING)))


def boxes(truth: Bool[Tensor, "n h w"], rng: np.random.Generator, *, jitter: bool) -> Points:
    """The box of each object as two points; padding where it is absent."""
    n, height, width = truth.shape
    top, bottom = _ends(truth.any(dim=2))
    left, right = _ends(truth.any(dim=1))
    corners = torch.stack((left, top, right, bottom), dim=1).float()
    if jitter:
        sides = (corners[:, 2:] - corners[:, :2] + 1).repeat(1, 2)
        shift = 2 * _uniform(rng, (n, 4), truth.device) - 1
        corners = corners + shift * (BOX_JITTER * sides).clamp(max=MAX_SHIFT_PX)
        largest = torch.tensor([width - 1, height - 1] * 2, dtype=torch.float32).to(truth.device, non_blocking=True)
        corners = torch.minimum(corners.clamp(min=0), largest)
    first, second = corners[:, :2], corners[:, 2:]
    coords = torch.stack((torch.minimum(first, second), torch.maximum(first, second)), dim=1)
    is_there = _any(truth)[:, None]
    labels = torch.where(torch.arange(2, device=truth.device) == 0, float(TOP_LEFT), float(BOTTOM_RIGHT))
    return Points(torch.where(is_there[..., None], coords, 0.0), torch.where(is_there, labels, float(NOTHING)))


def carried_boxes(logits: Float[Tensor, "n 1 h w"], image_size: int, rng: np.random.Generator) -> Points:
    """The box of each predicted mask, a little wider and jittered, in pixels of the model's input; padding where a mask is empty.

    Args:
        logits: Masks of one slice on the decoder's grid, which covers the input.
        image_size: Side of the input.
        rng: Draws the jitter of each side.
    """
    mask = logits[:, 0] > 0
    tight = boxes(mask, rng, jitter=False)
    scale = image_size / mask.shape[-1]
    # From the outermost cells of the grid to the outermost pixels in them.
    edges = torch.tensor([[-CARRIED_MARGIN_PX], [scale - 1 + CARRIED_MARGIN_PX]]).to(logits.device, non_blocking=True)
    jitter = CARRIED_JITTER_PX * (2 * _uniform(rng, tuple(tight.coords.shape), logits.device) - 1)
    coords = (tight.coords * scale + edges + jitter).clamp(0, image_size - 1.0)
    return Points(torch.where(_any(mask)[:, None, None], coords, 0.0), tight.labels)


def scribbles(truth: Bool[Tensor, "n h w"], rng: np.random.Generator) -> Points:
    """The clicks of a scribble along the middle of each object, of at least half its way; padding where there are fewer or none."""
    chains = []
    for mask, (share, start) in zip(truth.cpu().numpy(), rng.random((len(truth), 2)), strict=True):
        whole = scribble_from_error(mask, np.zeros_like(mask))
        chains.append(() if whole is None else _stretch(whole, share, start).clicks)
    coords = np.zeros((len(chains), max(1, *map(len, chains)), 2), np.float32)
    labels = np.full(coords.shape[:2], float(NOTHING), np.float32)
    for n, chain in enumerate(chains):
        for m, click in enumerate(chain):
            coords[n, m], labels[n, m] = (click.col, click.row), POSITIVE
    return Points(torch.from_numpy(coords).to(truth.device), torch.from_numpy(labels).to(truth.device))


def _stretch(scribble: ScribblePrompt, share: float, start: float) -> ScribblePrompt:
    """A part of a scribble; `share` and `start` from 0 to 1 say how long it is and where it begins."""
    places = np.asarray(scribble.path)
    walked = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(places, axis=0), axis=1))])
    length = SHORTEST_SCRIBBLE + share * (1 - SHORTEST_SCRIBBLE)
    at = walked[-1] * (start * (1 - length) + length * np.linspace(0, 1, SCRIBBLE_PLACES))
    rows, cols = (np.interp(at, walked, places[:, axis]).tolist() for axis in (0, 1))
    return ScribblePrompt.drawn(list(zip(rows, cols, strict=True)), positive=scribble.positive)


def lassos(truth: Bool[Tensor, "n h w"], rng: np.random.Generator) -> Bool[Tensor, "n h w"]:
    """What is within rough lassos around the largest parts of each object, each a little too wide or too narrow."""
    masks = np.zeros(tuple(truth.shape), bool)
    for n, mask in enumerate(truth.cpu().numpy()):
        sizes = 1 + LASSO_JITTER * (2 * rng.random(MAX_LASSOS) - 1)
        for part, size in zip(parts_of(mask, max_parts=MAX_LASSOS), sizes, strict=False):
            masks[n] |= _lassoed(part, size)
    return torch.from_numpy(masks).to(truth.device)


def _lassoed(part: NDArray[np.bool_], size: float) -> NDArray[np.bool_]:
    """What is within a lasso around a part that is so many times as wide; the part itself where it is a speck."""
    try:
        lasso = lasso_from_mask(part)
    except PromptError:
        lasso = None
    if lasso is None:
        return part
    places = np.asarray(lasso.outline)
    middle = (places.min(axis=0) + places.max(axis=0)) / 2
    outline = [(float(row), float(col)) for row, col in middle + size * (places - middle)]
    found = LassoPrompt(tuple(outline)).mask((part.shape[0], part.shape[1]))
    return found if found.any() else part


def _any(masks: Bool[Tensor, "n h w"]) -> Bool[Tensor, " n"]:
    return masks.flatten(1).any(dim=1)


def _ends(line: Bool[Tensor, "n m"]) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
    """The first and the last true place of each row."""
    filled = line.int()
    return filled.argmax(dim=1), line.shape[1] - 1 - filled.flip(1).argmax(dim=1)


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], device: torch.device) -> Float[Tensor, "..."]:
    return torch.from_numpy(rng.random(shape, dtype=np.float32)).to(device, non_blocking=True)


def parts_by_object(truth: Bool[Tensor, "n h w"], *, max_parts: int) -> Bool[Tensor, "n p h w"]:
    """The parts of every object on a slice (8 neighbours), the largest first; empty masks where an object has fewer.

    Args:
        truth: The objects.
        max_parts: Smaller parts beyond this many get no prompt.
    """
    found = [parts_of(mask, max_parts=max_parts) for mask in truth.cpu().numpy()]
    most = max(1, *(len(parts) for parts in found))
    masks = np.zeros((len(found), most, *truth.shape[1:]), dtype=bool)
    for n, parts in enumerate(found):
        for m, part in enumerate(parts):
            masks[n, m] = part
    return torch.from_numpy(masks).to(truth.device)


def joined(points: Points, num_objects: int) -> Points:
    """The prompts of all parts as those of their objects, without the places that no object uses.

    Args:
        points: Of the parts, (objects times parts) row by row.
        num_objects: How many objects the rows belong to.
    """
    coords = points.coords.reshape(num_objects, -1, 2)
    labels = points.labels.reshape(num_objects, -1)
    is_used = (labels != NOTHING).any(dim=0)
    is_used[0] = True  # an object that is absent is still asked about
    return Points(coords[:, is_used], labels[:, is_used])


PromptKind = Literal["box", "click", "scribble", "lasso", "mask"]
MASKS: tuple[PromptKind, ...] = ("lasso", "mask")
"""Kinds that say where the object is on a slice, so that there is nothing to correct."""


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
        kind = cls._kind(config, num_slices, rng.random())
        jitter = rng.random() < config.jitter_box_prob
        # Nothing is learned from a slice whose mask is given: one is left to be found.
        most = min(config.max_prompted, num_slices - 1 if kind in MASKS else num_slices)
        num_prompted = int(rng.integers(1, most + 1))
        num_corrected = (
            0 if kind in MASKS else int(rng.integers(num_prompted, max(config.max_corrected, num_prompted) + 1))
        )
        others = rng.permutation(np.arange(1, num_slices)).tolist()
        prompted = (0, *sorted(others[: num_prompted - 1]))
        extra = others[num_prompted - 1 : num_corrected - 1]
        corrected = () if kind in MASKS else (*prompted, *sorted(extra))
        num_clicks = config.num_corrections
        if config.random_corrections:
            num_clicks = int(rng.integers(num_clicks + 1))
        between = range(1, num_slices - config.max_supervised) if config.max_supervised else range(0)
        unsupervised = frozenset(between) - {*prompted, *corrected}
        return cls(kind, jitter, prompted, corrected, num_clicks, unsupervised)

    @staticmethod
    def _kind(config: PromptConfig, num_slices: int, chance: float) -> PromptKind:
        """The kind that a number from 0 to 1 stands for."""
        points = config.box + config.click
        if chance < points:
            return "box" if chance < config.box else "click"
        if chance < points + config.scribble:
            return "scribble"
        if num_slices == 1:
            return "click"
        return "lasso" if chance < points + config.scribble + config.lasso else "mask"

    def order(self, num_slices: int) -> list[int]:
        """Prompted slices first, then the rest: later prompts are remembered by earlier slices."""
        return [*self.prompted, *(t for t in range(num_slices) if t not in self.prompted)]


def planned(prompts: PromptConfig, batch: ClipBatch, rng: np.random.Generator) -> PromptPlan:
    """What is prompted and corrected in a batch; where that is asked for, what most of its objects suit on their first slice."""
    plan = PromptPlan.draw(prompts, batch.images.shape[1], rng)
    if not prompts.auto_prompt_type or plan.kind not in ("box", "click"):
        return plan
    kinds = [suggested_kind(mask) for mask in batch.masks[:, :, 0][batch.is_real].cpu().numpy()]
    return replace(plan, kind="box" if 2 * kinds.count("box") > len(kinds) else "click")


def plan_generator(seed: int, step: int, batch: int = 0) -> np.random.Generator:
    """What draws the prompt plan of a batch: whoever makes the batch can know which prompts it will get."""
    return np.random.default_rng((seed, step, batch, 0))
