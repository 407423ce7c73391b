"""Features of slices, computed when they are first needed and kept while they fit in memory: all objects and all passes share them.

Slices are brought to the model's size one by one; the volume never exists at that size.

How much memory the engine's values hold.
"""

import itertools
import logging
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass

import torch
from torch import Tensor

from NeuroSAM2Core.components.device import release_cached_memory
from NeuroSAM2Core.errors import is_out_of_memory
from NeuroSAM2Core.inference.precision import computing
from NeuroSAM2Core.inference.prediction.crop import Crop
from NeuroSAM2Core.model import SAM2, ImageFeatures, to_model_input
from NeuroSAM2Core.volume import SliceStack

logger = logging.getLogger(__name__)


def memory_bytes(*values: object) -> int:
    """The memory of all tensors in some values, bytes; shared storages count once."""
    storages: dict[int, int] = {}
    _count(values, storages)
    return sum(storages.values())


@dataclass(slots=True)
class CountedMemory:
    """The memory of values that never change, counted anew only where others have taken their place."""

    _counted: list[object] = field(default_factory=list)
    _nbytes: int = 0

    def nbytes(self, values: Sequence[object]) -> int:
        """The memory of all tensors in some values, bytes; see `memory_bytes`."""
        is_known = len(values) == len(self._counted)
        if not is_known or any(one is not other for one, other in zip(values, self._counted, strict=True)):
            self._counted, self._nbytes = list(values), memory_bytes(*values)
        return self._nbytes


def _count(value: object, storages: dict[int, int]) -> None:
    """Adds address and size of what holds each tensor in a value."""
    if isinstance(value, Tensor):
        storage = value.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
    elif isinstance(value, Mapping | list | tuple):
        for one in value.values() if isinstance(value, Mapping) else value:
            _count(one, storages)
    elif is_dataclass(value):
        for name in value.__dataclass_fields__:
            _count(getattr(value, name), storages)


LOOK_AHEAD = 4
"""Crops of a slice and of those that come after it."""
BATCH, CPU_BATCH = 16, 4
"""Crops of several objects. A CPU gains next to nothing from more, and a click waits for a batch to end."""
MAX_SIZE_FOR_BATCHES = 256


class FeatureBudget:
    """Memory for features that several caches share: the least recently used are evicted first, across all caches.

    Args:
        max_bytes: The limit; the crop that was asked for last is always kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._caches: weakref.WeakSet[FeatureCache] = weakref.WeakSet()
        self._clock = itertools.count()

    def join(self, cache: "FeatureCache") -> None:
        """One more cache within this limit."""
        self._caches.add(cache)

    def tick(self) -> int:
        """The time by which uses are ordered."""
        return next(self._clock)

    @property
    def nbytes(self) -> int:
        """Memory held by all caches, bytes."""
        return sum(cache.nbytes for cache in self._caches)

    @property
    def has_space(self) -> bool:
        """True while one more slice fits without evicting another."""
        nbytes, count = self.nbytes, sum(len(cache) for cache in self._caches)
        return nbytes + nbytes // max(count, 1) <= self.max_bytes

    def keep_within(self) -> None:
        """Evicts features until the limit is met."""
        while self.nbytes > self.max_bytes and sum(len(cache) for cache in self._caches) > 1:
            min((cache for cache in self._caches if len(cache)), key=lambda cache: cache.oldest_use).forget_oldest()

    def halve(self) -> None:
        """Keeps half as much from now on: the device has less memory than expected."""
        self.max_bytes //= 2
        self.keep_within()


class FeatureCache:
    """The encoded crops of a stack's slices; the least recently used are evicted first.

    Args:
        model: Encodes.
        stack: The slices.
        max_bytes: Memory for features, or memory that is shared with other caches; those of one crop are always kept.
        is_exact: Encode in float32 even where the device is faster in bfloat16.
    """

    def __init__(self, model: SAM2, stack: SliceStack, *, max_bytes: int | FeatureBudget, is_exact: bool) -> None:
        self.model, self.stack = model, stack
        self.is_exact = is_exact
        self.budget = max_bytes if isinstance(max_bytes, FeatureBudget) else FeatureBudget(max_bytes)
        self.budget.join(self)
        self._kept: OrderedDict[tuple[int, Crop], ImageFeatures] = OrderedDict()
        self._used: dict[tuple[int, Crop], int] = {}
        self._bytes = 0
        self._batch = CPU_BATCH if model.device.type == "cpu" else BATCH

    @property
    def nbytes(self) -> int:
        """Memory held, bytes."""
        return self._bytes

    @property
    def has_space(self) -> bool:
        """True while one more slice fits without evicting another."""
        return self.budget.has_space

    @property
    def oldest_use(self) -> int:
        """When what was unused for longest was used."""
        return self._used[next(iter(self._kept))]

    def forget_oldest(self) -> None:
        """Evicts the least recently used features."""
        key, dropped = self._kept.popitem(last=False)
        del self._used[key]
        self._bytes -= dropped.nbytes

    def forget(self) -> None:
        """Evicts all features; they are computed again on demand."""
        self._kept.clear()
        self._used.clear()
        self._bytes = 0

    def encode_singly(self) -> None:
        """Encodes one crop at a time from now on."""
        self._batch = 1

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, key: tuple[int, Crop]) -> bool:
        return key in self._kept

    def get(self, number: int, crop: Crop, upcoming: Sequence[int] = ()) -> ImageFeatures:
        """The features of a crop of a slice, (1, ...).

        Args:
            number: The slice in the stack.
            crop: The part of it.
            upcoming: Slices whose same part will be asked for next; small ones are encoded along with it.
        """
        return self.get_all([(number, crop)], [(n, crop) for n in upcoming[:LOOK_AHEAD]])[0]

    def get_all(
        self, keys: Sequence[tuple[int, Crop]], upcoming: Sequence[tuple[int, Crop]] = ()
    ) -> list[ImageFeatures]:
        """The features of some crops, (1, ...) each; those that are missing are encoded together.

        Args:
            keys: Slice and crop of each.
            upcoming: What will be asked for next; encoded along with the others where a batch has room.
        """
        found = {key: self._kept[key] for key in keys if key in self._kept}
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        later = [key for key in dict.fromkeys(upcoming) if key not in self._kept and key not in missing]
        while missing:
            batch = [*missing[: self.at_once], *later[: max(0, min(self.at_once, LOOK_AHEAD) - len(missing))]]
            features = self._encode(batch)
            done = batch[: len(features.coarse)]
            encoded = {key: features[[row]] for row, key in enumerate(done)}
            for key in reversed(done):
                self._keep(key, encoded[key])
            found |= encoded
            missing = missing[len(done) :]
        for key in keys:
            if key in self._kept:
                self._kept.move_to_end(key)
                self._used[key] = self.budget.tick()
        return [found[key] for key in keys]

    @property
    def at_once(self) -> int:
        """How many crops are computed together: what a device is faster with and has memory for."""
        is_small = self.model.config.image_size <= MAX_SIZE_FOR_BATCHES
        return self._batch if is_small or self.model.device.type != "cpu" else 1

    def model_input(self, keys: Sequence[tuple[int, Crop]]) -> Tensor:
        """Crops as the model sees them, (B, 3, S, S)."""
        config, inputs = self.model.config, []
        for number, crop in keys:
            grey = torch.from_numpy(crop.window.normalise(crop.of(self.stack.voxels[number])))
            inputs.append(to_model_input(grey[None].to(self.model.device), config.image_size, config.intensity_range))
        return torch.cat(inputs)

    def _encode(self, batch: Sequence[tuple[int, Crop]]) -> ImageFeatures:
        """The features of the first crop, and of as many of the others as the memory of the device allows."""
        try:
            with computing(self.model, is_exact=self.is_exact, part="encoder"):
                return self.model.encode_image(self.model_input(batch))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or (len(batch) == 1 and not self._kept):
                raise
        if len(batch) == 1:
            logger.warning(
                "the device does not have enough memory for features of more slices; those of others are let go"
            )
            self.forget()
        else:
            self._batch = len(batch) // 2
            logger.warning(
                "the device does not have enough memory for %d slices at once; now %d", len(batch), self._batch
            )
        release_cached_memory()
        return self._encode(batch[: self._batch])

    def _keep(self, key: tuple[int, Crop], features: ImageFeatures) -> None:
        self._kept[key] = features
        self._used[key] = self.budget.tick()
        self._bytes += features.nbytes
        self.budget.keep_within()
