"""Labelled synthetic volumes in pure torch: heads with folded brains, and shapes that are no anatomy; any size, any contrast.

`sample_anatomy` makes the geometry, `render` one of many pictures of it; they read no file. `anatomy` makes heads of published label maps.
No real image is ever seen.
"""

import torch

from NeuroSAM2Core.synth.brain import OBJECTS, LabelMap, SyntheticObject, SyntheticVolume, head_labels, render
from NeuroSAM2Core.synth.frame import Size, random_frame, uniform
from NeuroSAM2Core.synth.shapes import noise_labels, scattered_labels

__all__ = ["LabelMap", "SyntheticObject", "SyntheticVolume", "render", "sample_anatomy", "sample_volume"]

HEADS, NOISE = 0.7, 0.12


def sample_anatomy(size: Size, generator: torch.Generator) -> LabelMap:
    """The geometry of one volume, on the generator's device: mostly heads, else noise regions or scattered shapes."""
    frame = random_frame(size, generator)
    kind = uniform(generator)
    is_head = kind < HEADS
    candidates: tuple[SyntheticObject, ...]
    if is_head:
        labels, candidates = head_labels(frame, generator), OBJECTS
    else:
        labels = noise_labels(frame, generator) if kind < HEADS + NOISE else scattered_labels(frame, generator)
        candidates = tuple(SyntheticObject(f"shape {i}", frozenset({i})) for i in range(1, 32))
    present = set(torch.unique(labels).tolist())
    return LabelMap(labels, tuple(o for o in candidates if o.labels & present), is_head)


def sample_volume(size: Size, generator: torch.Generator) -> SyntheticVolume:
    """One volume with its truth."""
    return render(sample_anatomy(size, generator), generator)
