"""Whole masks of segments: copied, put together, and taken from each other, in whatever labelmaps they are stored.

The volume of a segment, mL.
All segments of a segmentation as they are now, copied so that what takes long goes on beside the scene.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import slicer
from numpy.typing import NDArray

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.labels import LabelEntry, LabelTable
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.arrays import voxels_of
from NeuroSAM2Lib.scene.segments.layers import Grid, Layer, is_same_grid, layers_of, sample
from NeuroSAM2Lib.scene.volume_nodes import read_volume

Mask: TypeAlias = slicer.vtkOrientedImageData
"""The voxels of one segment, 1 inside and 0 outside."""


def read_mask(segmentation_node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> Mask | None:
    """A copy of a segment's voxels; None where it has none.

    Raises:
        DataError: The segment is not stored as a labelmap.
    """
    if Layer(segmentation_node, segment_id).is_empty:
        return None
    mask = slicer.vtkOrientedImageData()
    is_read = segmentation_node.GetBinaryLabelmapRepresentation(segment_id, mask)
    return mask if is_read and not mask.IsEmpty() else None


def add_mask(segmentation_node: slicer.vtkMRMLSegmentationNode, segment_id: str, mask: Mask) -> None:
    """Adds voxels to a segment; other segments keep theirs.

    Slicer's own merging writes the mask's values into a labelmap that segments share, as if they were the labels there; so the sum is
    made here.
    """
    before = read_mask(segmentation_node, segment_id)
    both = mask
    if before is not None:
        both, resample = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageDataResample
        resample.MergeImage(before, mask, both, resample.OPERATION_MAXIMUM)
    replace_mask(segmentation_node, segment_id, both)


def take_mask(segmentation_node: slicer.vtkMRMLSegmentationNode, segment_id: str, taken: Mask) -> None:
    """Takes voxels from a segment; other segments keep theirs."""
    mask = read_mask(segmentation_node, segment_id)
    if mask is None:
        return
    same_grid = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(taken, mask, same_grid)
    voxels_of(mask)[voxels_of(same_grid) != 0] = 0
    replace_mask(segmentation_node, segment_id, mask)


def replace_mask(segmentation_node: slicer.vtkMRMLSegmentationNode, segment_id: str, mask: Mask | None) -> None:
    """Makes a segment have these voxels, none if None; other segments keep theirs."""
    if mask is None:
        slicer.vtkSlicerSegmentationsModuleLogic.ClearSegment(segmentation_node, segment_id)
    else:
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        logic.SetBinaryLabelmapToSegment(mask, segmentation_node, segment_id, logic.MODE_REPLACE)


MM3_PER_ML = 1000.0


def volume_ml(segmentation_node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> float | None:
    """The volume of a segment in the world, parent transforms included; None where it is not stored as a labelmap."""
    try:
        layer = Layer(segmentation_node, segment_id)
    except DataError:
        return None
    if layer.is_empty:
        return 0.0
    voxel_mm3 = abs(float(np.linalg.det(layer.grid.ijk_to_ras[:3, :3])))
    # slice by slice: an array for all of a large image takes longer to make than to count
    return sum(int(np.count_nonzero(one == layer.label)) for one in layer.voxels) * voxel_mm3 / MM3_PER_ML


@dataclass(frozen=True, slots=True, eq=False)
class CopiedSegment:
    """A segment."""

    name: str
    colour: tuple[float, float, float]
    """Red, green, blue, 0 to 1."""
    voxels: NDArray[np.integer]
    """(K, J, I) of the labelmap that it lives in, with others."""
    grid: Grid
    """Of that labelmap."""
    label: int
    """Its value there."""


@dataclass(frozen=True, slots=True, eq=False)
class SegmentationSnapshot:
    """The segments on the grid of an image."""

    volume: Volume
    segments: tuple[CopiedSegment, ...]

    @classmethod
    def take(
        cls, segmentation_node: slicer.vtkMRMLSegmentationNode, volume_node: slicer.vtkMRMLScalarVolumeNode
    ) -> "SegmentationSnapshot":
        """The segments as they are now.

        Raises:
            DataError: There are none, or one is not stored as a labelmap.
        """
        copies: dict[int, NDArray[np.integer]] = {}
        segments = []
        segmentation = segmentation_node.GetSegmentation()
        for segment_id, layer in layers_of(segmentation_node).items():
            segment = segmentation.GetSegment(segment_id)
            voxels = copies.setdefault(id(layer.image), layer.voxels.copy())
            red, green, blue = segment.GetColor()
            segments.append(CopiedSegment(segment.GetName(), (red, green, blue), voxels, layer.grid, layer.label))
        if not segments:
            raise DataError(
                _("{name} is empty").format(name=segmentation_node.GetName()), hint=_("outline something first")
            )
        return cls(read_volume(volume_node), tuple(segments))

    def mask(self, number: int) -> NDArray[np.bool_]:
        """A segment, by its place in the list, on the grid of the image, (K, J, I)."""
        segment = self.segments[number]
        k, j, i = self.volume.shape
        grid = Grid(self.volume.ijk_to_ras, (0, i - 1, 0, j - 1, 0, k - 1))
        mask = np.zeros(self.volume.shape, bool)
        if segment.voxels.size == 0:
            return mask
        if not is_same_grid(segment.grid, grid):
            for index, part in enumerate(mask):
                part[...] = sample(segment.voxels, segment.grid, grid, SlicePlane(Axis.K, index)) == segment.label
            return mask
        first, shape = segment.grid.extent[::2][::-1], segment.voxels.shape
        there = tuple(slice(max(a, 0), min(a + n, m)) for a, n, m in zip(first, shape, mask.shape, strict=True))
        own = tuple(slice(one.start - a, one.stop - a) for one, a in zip(there, first, strict=True))
        if all(one.start < one.stop for one in there):
            np.equal(segment.voxels[own], segment.label, out=mask[there])
        return mask

    def labels(self) -> Volume:
        """All segments as one label map: 1 for the first, and so on; where some overlap, the later one has it."""
        voxels = np.zeros(self.volume.shape, np.min_scalar_type(len(self.segments)))
        for number in range(len(self.segments)):
            voxels[self.mask(number)] = number + 1
        return self.volume.with_voxels(voxels)

    @property
    def table(self) -> LabelTable:
        """Names and colours of the values of `labels`."""
        return LabelTable(tuple(_entry(value, one) for value, one in enumerate(self.segments, start=1)))


def _entry(value: int, segment: CopiedSegment) -> LabelEntry:
    red, green, blue = (round(255 * part) for part in segment.colour)
    return LabelEntry(value, segment.name, (red, green, blue))
