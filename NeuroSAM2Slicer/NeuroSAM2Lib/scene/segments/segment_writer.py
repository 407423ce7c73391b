"""One slice of one segment, replaced exactly, in the segment's own grid. Nothing else changes.

Other slices and other segments stay as they are, unless the Segment Editor's overlap policy lets the segment take voxels from
them; its editable area is honoured. Confirmed slices of other objects can be named as ones that give nothing away.

The Segment Editor's masking settings: the editable area, and which other segments may be overwritten.

Read from its parameter node, decided nowhere else.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from NeuroSAM2Core.errors import DataError, GeometryError
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.arrays import set_voxels, voxels_of
from NeuroSAM2Lib.scene.segments.layers import (
    Grid,
    GridSlice,
    Layer,
    SegmentWatch,
    grid_slice,
    is_same_grid,
    reference_grid,
    sample,
    slab,
)


class Overwrite(Enum):
    """Which other segments lose the voxels that a segment gains."""

    ALL = slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments
    VISIBLE = slicer.vtkMRMLSegmentEditorNode.OverwriteVisibleSegments
    NONE = slicer.vtkMRMLSegmentEditorNode.OverwriteNone


@dataclass(frozen=True, kw_only=True, slots=True)
class EditPolicy:
    """The editor's settings; as they are here where there is no editor: paint everywhere, other segments stay."""

    overwrite: Overwrite = Overwrite.NONE
    mask_mode: int = slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere
    mask_segment_id: str = ""
    intensity_range: tuple[float, float] | None = None

    @classmethod
    def of(cls, node: slicer.vtkMRMLSegmentEditorNode | None) -> "EditPolicy":
        """The settings of a parameter node."""
        if node is None:
            return cls()
        return cls(
            overwrite=Overwrite(node.GetOverwriteMode()),
            mask_mode=node.GetMaskMode(),
            mask_segment_id=node.GetMaskSegmentID() or "",
            intensity_range=tuple(node.GetSourceVolumeIntensityMaskRange())
            if node.GetSourceVolumeIntensityMask()
            else None,
        )

    def overwritable(self, segmentation_node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> set[str]:
        """The segments that may be overwritten."""
        if self.overwrite is Overwrite.NONE:
            return set()
        names = set(segmentation_node.GetSegmentation().GetSegmentIDs())
        display = segmentation_node.GetDisplayNode()
        if self.overwrite is Overwrite.VISIBLE and display is not None:
            names = {name for name in names if display.GetSegmentVisibility(name)}
        return names - {segment_id}

    def editable(self, layer: Layer, part: GridSlice, intensities: NDArray[Any] | None) -> NDArray[np.bool_] | None:
        """Where the block of a slice may be changed, (K, J, I); None for everywhere.

        Args:
            layer: Of the segment that is edited, large enough for the block.
            part: The slice.
            intensities: Of the image on the slice's pixels, (H, W), for the intensity range.
        """
        allowed = part.belongs
        if self.mask_mode != slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere:
            segments = self._allowed_by_segments(layer, part)
            allowed = segments if allowed is None else allowed & segments
        if self.intensity_range is not None and intensities is not None:
            low, high = self.intensity_range
            bright = part.spread((intensities >= low) & (intensities <= high)).astype(bool)
            allowed = bright if allowed is None else allowed & bright
        return allowed

    def _allowed_by_segments(self, layer: Layer, part: GridSlice) -> NDArray[np.bool_]:
        """By the editor's own rule for its masking mode."""
        geometry, forbidden = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageData()
        matrix = vtk.vtkMatrix4x4()
        layer.image.GetImageToWorldMatrix(matrix)
        geometry.SetImageToWorldMatrix(matrix)
        set_voxels(geometry, np.zeros(part.shape, np.uint8), part.extent[::2])
        is_made = layer.segmentation_node.GenerateEditMask(
            forbidden, self.mask_mode, geometry, layer.segment_id, self.mask_segment_id
        )
        if not is_made:
            return np.zeros(part.shape, bool)
        return np.asarray(voxels_of(forbidden) == 0)


Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class WrittenSlice:
    """What writing a slice of a segment has done."""

    before: Mask
    """The segment on the slice, (H, W), as it was."""
    after: Mask
    """As it is now: what was asked for, where the policy allows it."""
    changed: frozenset[str]
    """The segments of which any voxel changed."""


class SegmentWriter:
    """Reads and writes slices of segments.

    Args:
        segmentation_node: Holds the segments; gets the volume's geometry as reference where it has none.
        volume_node: The image whose slices are meant.
        volume: The same, read.
    """

    def __init__(
        self,
        segmentation_node: slicer.vtkMRMLSegmentationNode,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
        volume: Volume,
    ) -> None:
        self.node, self.volume = segmentation_node, volume
        k, j, i = volume.shape
        self._image_grid = Grid(volume.ijk_to_ras, (0, i - 1, 0, j - 1, 0, k - 1))
        if reference_grid(segmentation_node) is None:
            segmentation_node.SetReferenceImageGeometryParameterFromVolumeNode(volume_node)
        self._unannounced: set[str] | None = None
        self._watch = SegmentWatch(segmentation_node)

    def read_whole(self, segment_id: str) -> Mask:
        """The segment on the image's grid, (K, J, I)."""
        layer = self._layer(segment_id)
        if layer.is_empty:
            return np.zeros(self.volume.shape, bool)
        if is_same_grid(layer.grid, self._image_grid):
            return np.asarray(layer.copy_of_block(self._image_grid.extent) == layer.label)
        return np.stack([self.read(segment_id, SlicePlane(Axis.K, k)) for k in range(self.volume.shape[0])])

    def slices_in_use(self, segment_id: str, axis: Axis) -> range:
        """The slices of the image that the segment may have voxels on, by index."""
        layer, count = self._layer(segment_id), self.volume.shape[axis.array_axis]
        if layer.is_empty:
            return range(0)
        if not is_same_grid(layer.grid, self._image_grid):
            return range(count)
        place = 2 * "ijk".index(axis)
        first, last = layer.image.GetExtent()[place : place + 2]
        return range(max(0, first), min(count, last + 1))

    def is_on_image_grid(self, segment_id: str) -> bool:
        """The segment's voxels are the image's."""
        layer = Layer(self.node, segment_id)
        return layer.is_empty or is_same_grid(layer.grid, self._image_grid)

    def reach(self, segment_id: str) -> tuple[int, int, int]:
        """How large the part of the image's grid is at most that the segment can be on, (K, J, I)."""
        layer = Layer(self.node, segment_id)
        if self.is_on_image_grid(segment_id):
            k, j, i = (min(one, whole) for one, whole in zip(layer.voxels.shape, self.volume.shape, strict=True))
            return k, j, i
        return self.volume.shape

    @contextmanager
    def together(self) -> Iterator[None]:
        """The scene hears of all slices that are written meanwhile at the end, once for each segment."""
        self._unannounced = set()
        try:
            yield
        finally:
            changed, self._unannounced = self._unannounced, None
            was_modifying = self.node.StartModify()
            for segment_id in sorted(changed):
                Layer(self.node, segment_id).announce()
            self.node.EndModify(was_modifying)

    def read(self, segment_id: str, plane: SlicePlane) -> Mask:
        """The segment on a slice of the image, (H, W)."""
        layer = self._layer(segment_id)
        shape = plane.of(self.volume.voxels).shape
        if layer.is_empty:
            return np.zeros(shape, bool)
        grid = layer.grid
        if is_same_grid(grid, self._image_grid):
            picture = layer.copy_of_block(slab(self._image_grid, plane)).reshape(shape)
        else:
            picture = sample(layer.voxels, grid, self._image_grid, plane)
        return np.asarray(picture == layer.label)

    def write(
        self, segment_id: str, plane: SlicePlane, mask: Mask, *, policy: EditPolicy, keeping: Collection[str] = ()
    ) -> WrittenSlice:
        """Makes a slice of the segment be this mask, where the policy allows it.

        Args:
            segment_id: The segment.
            plane: A slice of the image.
            mask: The object on it, (H, W).
            policy: Where may be painted and what is overwritten.
            keeping: Segments that give nothing away on this slice, whatever the policy.

        Raises:
            GeometryError: The segmentation's grid has no voxel on that slice.
            DataError: The segment is not there or not a labelmap.
        """
        plane.check_inside(self.volume)
        reference = reference_grid(self.node)
        assert reference is not None, "the constructor sees to it"
        layer = self._layer(segment_id)
        grid = reference if layer.is_empty else Grid(layer.grid.ijk_to_ras, reference.extent)
        part = grid_slice(grid, self._image_grid, plane)
        if part is None:
            raise GeometryError(
                _("the segmentation has no voxels on slice {index} along {axis} of the image").format(
                    index=plane.index, axis=plane.axis
                ),
                hint=_("choose the image as the segmentation's source geometry, or start a new segmentation"),
            )
        if not mask.any() and layer.is_empty:
            return WrittenSlice(mask, mask, frozenset())
        layer.reserve(part.extent, reference)
        block = layer.block(part.extent)
        inside = np.asarray(block == layer.label)
        target = self._target(layer, part, inside, plane, mask, policy, keeping)
        is_whole = part.rows is None  # the block is the slice
        before = inside.reshape(mask.shape) if is_whole else self.read(segment_id, plane)
        if np.array_equal(inside, target):
            return WrittenSlice(before, before, frozenset())
        changed = self._replace(layer, part, block, inside, target, policy, keeping)
        return WrittenSlice(before, target.reshape(mask.shape) if is_whole else self.read(segment_id, plane), changed)

    def _target(
        self,
        layer: Layer,
        part: GridSlice,
        inside: Mask,
        plane: SlicePlane,
        mask: Mask,
        policy: EditPolicy,
        keeping: Collection[str],
    ) -> Mask:
        """The segment on the block as it should be; `inside` is as it is."""
        target = part.spread(mask).astype(bool)
        intensities = plane.of(self.volume.voxels) if policy.intensity_range is not None else None
        allowed = policy.editable(layer, part, intensities)
        if allowed is not None:
            target = np.where(allowed, target, inside)
        if policy.overwrite is not Overwrite.NONE:  # does not overlap: what may not be taken is left out
            layers = self._layers()
            for name in (set(keeping) & layers.keys()) - {layer.segment_id}:
                target = target & (layers[name].copy_of_block(part.extent) != layers[name].label)
        return target

    def _replace(
        self,
        layer: Layer,
        part: GridSlice,
        block: NDArray[Any],
        inside: Mask,
        target: Mask,
        policy: EditPolicy,
        keeping: Collection[str],
    ) -> frozenset[str]:
        """Makes the segment on a block be the target; the segments that have changed."""
        others = {name: other for name, other in self._layers().items() if name != layer.segment_id}
        giving = (policy.overwritable(self.node, layer.segment_id) & others.keys()) - set(keeping)
        gained, lost = target & ~inside, inside & ~target
        sharing = {name for name, other in others.items() if other.image is layer.image}
        if any((block[gained] == others[name].label).any() for name in sharing - giving):
            self.node.GetSegmentation().SeparateSegmentLabelmap(layer.segment_id)
            layer = self._layer(layer.segment_id)
            layer.reserve(part.extent, Grid(layer.grid.ijk_to_ras, part.extent))
            block = layer.block(part.extent)
            sharing = set()
        was_modifying = self.node.StartModify()
        poorer = {name for name in giving & sharing if (block[gained] == others[name].label).any()}
        poorer |= {name for name in giving - sharing if self._take(others[name], part, target)}
        block[gained] = layer.label
        block[lost] = 0
        self._announce(layer)
        for name in poorer & sharing:
            self._announce(others[name])
        self.node.EndModify(was_modifying)
        return frozenset({layer.segment_id, *poorer})

    def _take(self, other: Layer, part: GridSlice, taken: Mask) -> bool:
        """Clears a segment of another layer where the voxels went to someone else; says whether there were any."""
        there = other.copy_of_block(part.extent)
        if not (taken & (there == other.label)).any():
            return False
        reference = reference_grid(self.node)
        assert reference is not None
        other.reserve(part.extent, reference)
        block = other.block(part.extent)
        block[taken & (block == other.label)] = 0
        self._announce(other)
        return True

    def _announce(self, layer: Layer) -> None:
        if self._unannounced is None:
            layer.announce()
        else:
            self._unannounced.add(layer.segment_id)

    def _layer(self, segment_id: str) -> Layer:
        """See `Layer`."""
        return self._layers().get(segment_id) or Layer(self.node, segment_id)

    def _layers(self) -> dict[str, Layer]:
        return self._watch.kept("layers", self._read_layers)

    def _read_layers(self) -> dict[str, Layer]:
        """Those of the segments that are stored as labelmaps."""
        layers = {}
        for segment_id in self.node.GetSegmentation().GetSegmentIDs():
            with suppress(DataError):
                layers[segment_id] = Layer(self.node, segment_id)
        return layers
