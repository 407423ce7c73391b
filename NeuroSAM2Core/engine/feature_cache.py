"""Features of slices, computed when they are first needed and kept while there is room: all objects and all passes share them.

Slices are brought to the model's size one by one; the volume never exists at that size.
"""

import logging
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from NeuroSAM2Core.engine.precision import computing
from NeuroSAM2Core.model import SAM2, ImageFeatures, to_model_input
from NeuroSAM2Core.volume import IntensityWindow, SliceStack

logger = logging.getLogger(__name__)

LOOK_AHEAD = 4
MAX_SIZE_FOR_BATCHES = 256


class FeatureCache:
    """The encoded slices of a stack; the least recently used are forgotten first.

    Args:
        model: Encodes.
        stack: The slices.
        window: What is black and what is white.
        max_bytes: Room for features; one slice is always kept.
        is_exact: Encode in float32 even where the device is faster in bfloat16.
    """

    def __init__(
        self, model: SAM2, stack: SliceStack, window: IntensityWindow, *, max_bytes: int, is_exact: bool
    ) -> None:
        self.model, self.stack, self.window = model, stack, window
        self.max_bytes, self.is_exact = max_bytes, is_exact
        self._kept: OrderedDict[int, ImageFeatures] = OrderedDict()
        self._bytes = 0
        self._batch = LOOK_AHEAD

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return self._bytes

    @property
    def has_room(self) -> bool:
        """One more slice would not push another out."""
        return self._bytes + self._bytes // max(len(self._kept), 1) <= self.max_bytes

    def forget(self) -> None:
        """Lets go of all features; they are made again when they are needed."""
        self._kept.clear()
        self._bytes = 0

    def __contains__(self, number: int) -> bool:
        return number in self._kept

    def get(self, number: int, upcoming: Sequence[int] = ()) -> ImageFeatures:
        """The features of a slice, (1, ...).

        Args:
            number: The slice in the stack.
            upcoming: Slices that will be asked for next; small ones are encoded along with it.
        """
        if number not in self._kept:
            batch = [number]
            if self.model.config.image_size <= MAX_SIZE_FOR_BATCHES or self.model.device.type == "cuda":
                batch += [n for n in upcoming[: self._batch - 1] if n not in self._kept]
            features = self._encode(batch)
            for row, n in reversed(list(enumerate(batch[: len(features.coarse)]))):
                self._keep(n, features[[row]])
        self._kept.move_to_end(number)
        return self._kept[number]

    def model_input(self, numbers: Sequence[int]) -> Tensor:
        """Slices as the model sees them, (B, 3, S, S)."""
        grey = np.stack([self.window.normalise(self.stack.voxels[n]) for n in numbers])
        config = self.model.config
        return to_model_input(torch.from_numpy(grey).to(self.model.device), config.image_size, config.intensity_range)

    def _encode(self, batch: Sequence[int]) -> ImageFeatures:
        """The features of the first slice, and of as many of the others as the device has room for."""
        try:
            with computing(self.model, is_exact=self.is_exact, part="encoder"):
                return self.model.encode_image(self.model_input(batch))
        except torch.OutOfMemoryError:
            if len(batch) == 1 and not self._kept:
                raise
        if len(batch) == 1:
            logger.warning("the device has no room for features of more slices; those of others are let go")
            self.forget()
        else:
            self._batch = len(batch) // 2
            logger.warning("the device has no room for %d slices at once; now %d", len(batch), self._batch)
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
        return self._encode(batch[: self._batch])

    def _keep(self, number: int, features: ImageFeatures) -> None:
        self._kept[number] = features
        self._bytes += features.nbytes
        while self._bytes > self.max_bytes and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= dropped.nbytes
