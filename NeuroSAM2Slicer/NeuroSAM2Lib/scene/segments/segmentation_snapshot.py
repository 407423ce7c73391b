"""All segments of a segmentation as they are now, copied so that what takes long goes on beside the scene."""

from dataclasses import dataclass

import numpy as np
import slicer
from numpy.typing import NDArray

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.labels import LabelEntry, LabelTable
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.segments.layers import layers_of
from NeuroSAM2Lib.scene.segments.slice_grid import Grid, is_same_grid, sample
from NeuroSAM2Lib.scene.volume_nodes import read_volume


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
