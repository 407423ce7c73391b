"""Objects of synthetic volumes that no training has seen, as long as their seeds are kept from it."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.quality import Mask
from NeuroSAM2Core.synth import sample_volume

OBJECTS_PER_VOLUME, MIN_PIXELS = 3, 64


def unseen_objects(seeds: Iterable[int], shape: tuple[int, int, int]) -> Iterator[tuple[NDArray[np.float32], Mask]]:
    """A few objects of each volume that have enough pixels on their largest slice: the image and the object, both (K, J, I).

    Args:
        seeds: One for each volume.
        shape: Of each volume.
    """
    for seed in seeds:
        sample = sample_volume(shape, torch.Generator().manual_seed(seed))
        image = sample.image.numpy().astype(np.float32)
        truths = [np.isin(sample.labels.numpy(), list(one.labels)) for one in sample.objects]
        large = [truth for truth in truths if truth.sum(axis=(1, 2)).max() >= MIN_PIXELS]
        for number in np.random.default_rng(seed).permutation(len(large))[:OBJECTS_PER_VOLUME]:
            yield image, large[number]
