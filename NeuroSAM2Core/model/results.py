"""What the three stages of the model hand to each other: image features, a mask prediction, a memory to read.

Shapes use B for the batch (images, or objects on slices), C for `width`, Cm for `memory_width`, S for the image size, s = S / 16. A batch
of objects on one slice shares its features: where a shape says `#b`, a batch of one serves all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """What the image encoder sees in a slice: everything later stages need, computed once per slice."""

    coarse: Float[Tensor, "b c s s"]
    """Stride 16: what memory attention and the decoder's transformer work on."""
    stride8: Float[Tensor, "b c4 s2 s2"]
    """Stride 8, already projected to C / 4 channels for the mask decoder."""
    stride4: Float[Tensor, "b c8 s4 s4"]
    """Stride 4, already projected to C / 8 channels for the mask decoder."""

    def __getitem__(self, rows: slice | list[int] | Int[Tensor, " n"]) -> "ImageFeatures":
        """The features of some images of the batch."""
        return ImageFeatures(self.coarse[rows], self.stride8[rows], self.stride4[rows])

    @classmethod
    def joined(cls, several: Sequence["ImageFeatures"]) -> "ImageFeatures":
        """The features that several objects look at as one batch; those of one image where all look at the same."""
        if all(one is several[0] for one in several):
            return several[0]
        return cls(*(torch.cat([getattr(one, level.name) for one in several]) for level in fields(cls)))

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return sum(t.numel() * t.element_size() for t in (self.coarse, self.stride8, self.stride4))


@dataclass(frozen=True, slots=True)
class Points:
    """Point prompts in model pixels; a box is two points. Padding carries the label -1."""

    coords: Float[Tensor, "b n 2"]
    """(x, y) in pixels of the S x S input; half a pixel is added by the prompt encoder."""
    labels: Float[Tensor, "b n"]
    """1 positive, 0 negative, 2 and 3 the box corners (top left, bottom right), -1 nothing."""


@dataclass(frozen=True, slots=True)
class MaskPrediction:
    """The mask decoder's answer for B objects on one slice."""

    logits: Float[Tensor, "b 1 s4 s4"]
    """The chosen mask at a quarter of the input size; -1024 everywhere if the object is absent."""
    iou: Float[Tensor, "b 1"]
    """The IoU that the model expects of the chosen mask, 0 to 1."""
    pointer: Float[Tensor, "b c"]
    """The object pointer: one token that says what the object looks like."""
    object_score_logits: Float[Tensor, "b 1"]
    """Above 0 the object is in this slice."""
    all_logits: Float[Tensor, "b m s4 s4"]
    """All M candidate masks; M is 3 where one prompt leaves the extent open, 4 where someone else chooses, else 1."""
    all_ious: Float[Tensor, "b m"]
    """The expected IoU of each candidate."""
    all_pointers: Float[Tensor, "b m c"]
    """The object pointer of each candidate."""

    def __getitem__(self, rows: slice) -> "MaskPrediction":
        """The answers for some objects of the batch."""
        return MaskPrediction(*(getattr(self, one.name)[rows] for one in fields(self)))

    def candidate(self, m: int) -> "MaskPrediction":
        """The answer with candidate `m` as the chosen mask."""
        return replace(
            self,
            logits=self.all_logits[:, m : m + 1],
            iou=self.all_ious[:, m : m + 1],
            pointer=self.all_pointers[:, m],
        )


@dataclass(frozen=True, slots=True)
class SpatialMemory:
    """One remembered slice, as a grid of tokens."""

    features: Float[Tensor, "b cm s s"]
    slot: int
    """Temporal position: 0 for a conditioning slice, else the distance in slices, 1 to `num_mask_memories` - 1."""


@dataclass(frozen=True, slots=True)
class PointerMemory:
    """One remembered object pointer."""

    pointer: Float[Tensor, "b c"]
    offset: float | Float[Tensor, " b"]
    """Distance in slices along the pass (negative: ahead), over the longest distance a pointer is kept for; one for all objects, or
    one for each."""
