"""Features of slices, computed when they are first needed and kept while there is room: all objects and all passes share them.

Slices are brought to the model's size one by one; the volume never exists at that size.
"""

import logging
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor

from NeuroSAM2Core.engine.crop import Crop
from NeuroSAM2Core.engine.precision import computing
from NeuroSAM2Core.model import SAM2, ImageFeatures, to_model_input
from NeuroSAM2Core.volume import SliceStack

logger = logging.getLogger(__name__)

LOOK_AHEAD = 4
MAX_SIZE_FOR_BATCHES = 256


class FeatureCache:
    """The encoded crops of a stack's slices; the least recently used are forgotten first.

    Args:
        model: Encodes.
        stack: The slices.
        max_bytes: Room for features; those of one crop are always kept.
        is_exact: Encode in float32 even where the device is faster in bfloat16.
    """

    def __init__(self, model: SAM2, stack: SliceStack, *, max_bytes: int, is_exact: bool) -> None:
        self.model, self.stack = model, stack
        self.max_bytes, self.is_exact = max_bytes, is_exact
        self._kept: OrderedDict[tuple[int, Crop], ImageFeatures] = OrderedDict()
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

    def __contains__(self, key: tuple[int, Crop]) -> bool:
        return key in self._kept

    def get(self, number: int, crop: Crop, upcoming: Sequence[int] = ()) -> ImageFeatures:
        """The features of a crop of a slice, (1, ...).

        Args:
            number: The slice in the stack.
            crop: The part of it.
            upcoming: Slices whose same part will be asked for next; small ones are encoded along with it.
        """
        self.ensure([(number, crop), *((n, crop) for n in upcoming)])
        self._kept.move_to_end((number, crop))
        return self._kept[number, crop]

    def ensure(self, keys: Sequence[tuple[int, Crop]]) -> None:
        """Encodes the first of some crops, and as many of the others along with it as are encoded together."""
        if keys[0] in self._kept:
            return
        batch = [keys[0]]
        if self.model.config.image_size <= MAX_SIZE_FOR_BATCHES or self.model.device.type == "cuda":
            batch += [key for key in keys[1 : self._batch] if key not in self._kept]
        features = self._encode(batch)
        for row, key in reversed(list(enumerate(batch[: len(features.coarse)]))):
            self._keep(key, features[[row]])

    def model_input(self, keys: Sequence[tuple[int, Crop]]) -> Tensor:
        """Crops as the model sees them, (B, 3, S, S)."""
        config, inputs = self.model.config, []
        for number, crop in keys:
            grey = torch.from_numpy(crop.window.normalise(crop.of(self.stack.voxels[number])))
            inputs.append(to_model_input(grey[None].to(self.model.device), config.image_size, config.intensity_range))
        return torch.cat(inputs)

    def _encode(self, batch: Sequence[tuple[int, Crop]]) -> ImageFeatures:
        """The features of the first crop, and of as many of the others as the device has room for."""
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

    def _keep(self, key: tuple[int, Crop], features: ImageFeatures) -> None:
        self._kept[key] = features
        self._bytes += features.nbytes
        while self._bytes > self.max_bytes and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= dropped.nbytes
