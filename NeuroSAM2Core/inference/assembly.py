"""Assembles an object's slices into a volume, and finds the slices that a volume clean-up would change."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.inference.axis_session import AxisSession
from NeuroSAM2Core.inference.prediction.postprocess import at_slice
from NeuroSAM2Core.inference.propagation.track import ObjectTrack
from NeuroSAM2Core.model.sam2 import ABSENT_LOGIT, MASK_PROMPT_LOGIT
from NeuroSAM2Core.volume import SliceMask

Voxels = NDArray[np.bool_]


def assemble_volume(slices: Iterable[SliceMask], shape: tuple[int, int, int]) -> Voxels:
    """The mask of the object, (K, J, I); empty where there is no slice."""
    voxels = np.zeros(shape, dtype=bool)
    for one in slices:
        one.plane.of(voxels)[...] = one.mask
    return voxels


def changed(slices: Iterable[SliceMask], cleaned: Voxels) -> Iterator[SliceMask]:
    """The slices that differ in a cleaned object (K, J, I), with their cleaned masks."""
    for one in slices:
        mask = one.plane.of(cleaned)
        if not np.array_equal(mask, one.mask):
            yield replace(one, mask=np.ascontiguousarray(mask), revision=0)


def logits_of(view: AxisSession, track: ObjectTrack) -> NDArray[np.float32]:
    """The logits of an object, (K, J, I); far below 0 on slices that were not done."""
    voxels = np.full(view.volume.shape, ABSENT_LOGIT, dtype=np.float32)
    for number in track.known:
        view.stack.plane(number).of(voxels)[...] = slice_logits(view, track, number)
    return voxels


def slice_logits(view: AxisSession, track: ObjectTrack, number: int) -> NDArray[np.float32]:
    """The logits of an object on a slice that is known, (H, W) of the stored plane."""
    state = track.state(number)
    if state is None:  # a given mask that nothing was asked of yet
        return np.where(track.imported[number].mask, np.float32(MASK_PROMPT_LOGIT), np.float32(-MASK_PROMPT_LOGIT))
    full = at_slice(state.logits, state.crop, view.stack.slice_shape, view.options)
    return view.stack.mask_from_stack(full.cpu().numpy())
