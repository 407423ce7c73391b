"""The labelmaps behind a segmentation: which image a segment lives in, the part of it that is in use, and how they grow.

Several segments may share one labelmap (a layer), each with its own label; a labelmap covers only the part of the reference
geometry that was ever painted. Undo and other tools replace these images: `SegmentWatch` knows when.

Which voxels of a segmentation's own grid stand for one slice of a volume, and the way between them. Pure NumPy.

Where both grids are the same, a slice is a slab. Where they are not (a segmentation made on another image, a finer or coarser
grid), every voxel of the segmentation belongs to the slice that its centre is nearest to, so that slices never share a voxel.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.volume import SlicePlane
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.arrays import Matrix, set_voxels, to_matrix, to_vtk, voxels_of
from NeuroSAM2Lib.scene.observer import FIRST, SceneObserver
from NeuroSAM2Lib.scene.volume_nodes import in_world

Mask = NDArray[np.bool_]
Extent = tuple[int, int, int, int, int, int]
"""First and last index along i, j, k, as VTK gives them."""
SNAP = 1e-3
"""Grids that differ by less, in voxels, are the same."""


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """A regular grid in the world."""

    ijk_to_ras: Matrix
    extent: Extent

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, J, I)."""
        a, b, c, d, e, f = self.extent
        return f - e + 1, d - c + 1, b - a + 1


@dataclass(frozen=True, slots=True, eq=False)
class GridSlice:
    """The voxels of a grid that stand for a slice of a volume."""

    extent: Extent
    """A block of the grid that holds them all."""
    belongs: Mask | None
    """(K, J, I) of the block: the voxel stands for the slice; None if all do."""
    rows: NDArray[np.intp] | None
    """Pixel row of every voxel of the block; None if the block is the slice itself."""
    cols: NDArray[np.intp] | None
    shape: tuple[int, int, int]
    """Of the block."""

    def spread(self, picture: NDArray[np.generic]) -> NDArray[np.generic]:
        """A picture (H, W) of the slice on the voxels of the block, (K, J, I)."""
        if self.rows is None or self.cols is None:
            return picture.reshape(self.shape)
        return picture[self.rows, self.cols]


def grid_slice(grid: Grid, volume: Grid, plane: SlicePlane) -> GridSlice | None:
    """The voxels of `grid` that stand for a slice of `volume`; None if there are none."""
    if is_same_grid(grid, volume):
        return _same_grid(grid, volume, plane)
    return _other_grid(grid, volume, plane, np.linalg.inv(volume.ijk_to_ras) @ grid.ijk_to_ras)


def is_same_grid(one: Grid, other: Grid) -> bool:
    """The same indices mean the same places, whatever part of the grid is in use."""
    reach = max(1, *map(abs, one.extent), *map(abs, other.extent))
    return _change(one.ijk_to_ras.tobytes(), other.ijk_to_ras.tobytes()) * reach < SNAP


@functools.lru_cache(maxsize=16)
def _change(one: bytes, other: bytes) -> float:
    """By how many voxels two grids differ at most, for each voxel from their origin."""
    first, second = (np.frombuffer(matrix).reshape(4, 4) for matrix in (one, other))
    return float(np.abs(np.linalg.solve(second, first) - np.eye(4)).max())


def slab(volume: Grid, plane: SlicePlane) -> Extent:
    """A slice of a volume as a part of its grid."""
    number = "ijk".index(plane.axis)
    extent = list(volume.extent)
    extent[2 * number] = extent[2 * number + 1] = plane.index + volume.extent[2 * number]
    return _as_extent(extent)


def sample(values: NDArray[np.generic], grid: Grid, volume: Grid, plane: SlicePlane) -> NDArray[np.generic]:
    """What a grid's array (K, J, I) holds at the pixels of a slice of a volume, (H, W); 0 outside it."""
    kji = volume.shape
    axis = plane.axis.array_axis
    height, width = (n for a, n in enumerate(kji) if a != axis)
    row, col = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    index = np.full_like(row, plane.index)
    parts = [row, col]
    parts.insert(axis, index)
    ijk = np.stack(parts[::-1], axis=-1) + np.array(volume.extent[::2])
    to_grid = np.linalg.inv(grid.ijk_to_ras) @ volume.ijk_to_ras
    places = np.floor(ijk @ to_grid[:3, :3].T + to_grid[:3, 3] + 0.5).astype(np.intp) - np.array(grid.extent[::2])
    limits = np.array(grid.shape[::-1])
    is_inside = ((places >= 0) & (places < limits)).all(axis=-1)
    picture = np.zeros((height, width), dtype=values.dtype)
    i, j, k = places[is_inside].T
    picture[is_inside] = values[k, j, i]
    return picture


def _same_grid(grid: Grid, volume: Grid, plane: SlicePlane) -> GridSlice | None:
    """A slab of the volume's own extent, as far as the grid reaches."""
    whole = slab(volume, plane)
    cut = _common(whole, grid.extent)
    if cut is None:
        return None
    if cut == whole:
        return GridSlice(whole, None, None, None, _shape(whole))
    return _block(cut, volume, plane, np.eye(4))


def _other_grid(grid: Grid, volume: Grid, plane: SlicePlane, to_volume: Matrix) -> GridSlice | None:
    number = "ijk".index(plane.axis)
    low, high = np.array(volume.extent[::2]) - 0.5, np.array(volume.extent[1::2]) + 0.5
    low[number] = plane.index + volume.extent[2 * number] - 0.5
    high[number] = low[number] + 1
    corners = np.array([[(low, high)[s >> axis & 1][axis] for axis in range(3)] for s in range(8)])
    back = np.linalg.inv(to_volume)
    reach = corners @ back[:3, :3].T + back[:3, 3]
    first, last = np.floor(reach.min(axis=0)).astype(int), np.ceil(reach.max(axis=0)).astype(int)
    block = _common(_as_extent([n for pair in zip(first, last, strict=True) for n in pair]), grid.extent)
    return None if block is None else _block(block, volume, plane, to_volume)


def _block(block: Extent, volume: Grid, plane: SlicePlane, to_volume: Matrix) -> GridSlice | None:
    k, j, i = (np.arange(block[2 * a], block[2 * a + 1] + 1) for a in (2, 1, 0))
    ijk = np.stack(np.meshgrid(k, j, i, indexing="ij")[::-1], axis=-1)
    places = np.floor(ijk @ to_volume[:3, :3].T + to_volume[:3, 3] + 0.5).astype(np.intp) - np.array(volume.extent[::2])
    limits = np.array(volume.shape[::-1])
    belongs = ((places >= 0) & (places < limits)).all(axis=-1)
    belongs &= places[..., "ijk".index(plane.axis)] == plane.index
    if not belongs.any():
        return None
    kji = [np.where(belongs, places[..., a], 0) for a in (2, 1, 0)]
    del kji[plane.axis.array_axis]
    return GridSlice(block, belongs, kji[0], kji[1], _shape(block))


def _common(one: Extent, other: Extent) -> Extent | None:
    low = [max(a, b) for a, b in zip(one[::2], other[::2], strict=True)]
    high = [min(a, b) for a, b in zip(one[1::2], other[1::2], strict=True)]
    if any(a > b for a, b in zip(low, high, strict=True)):
        return None
    return _as_extent([n for pair in zip(low, high, strict=True) for n in pair])


def _shape(extent: Extent) -> tuple[int, int, int]:
    return extent[5] - extent[4] + 1, extent[3] - extent[2] + 1, extent[1] - extent[0] + 1


def _as_extent(values: list[int]) -> Extent:
    a, b, c, d, e, f = map(int, values)
    return a, b, c, d, e, f


LABELMAP = "Binary labelmap"
GEOMETRY = "Reference image geometry"
MARGIN = 16
"""Voxels by which a labelmap grows beyond what is needed, so that it need not grow for every slice."""


def label_values(segmentation_node: slicer.vtkMRMLSegmentationNode) -> dict[str, int]:
    """What each segment is in a label map of all, by its id: 1 for the first, and so on."""
    ids = segmentation_node.GetSegmentation().GetSegmentIDs()
    return {segment_id: number for number, segment_id in enumerate(ids, start=1)}


T = TypeVar("T")


class SegmentWatch:
    """Keeps what was read of a segmentation's segments until they change in anything but their voxels.

    Args:
        segmentation_node: Whose segments they are.
    """

    def __init__(self, segmentation_node: slicer.vtkMRMLSegmentationNode) -> None:
        self._node = segmentation_node
        self._known: dict[str, Any] = {}
        self._watched: slicer.vtkSegmentation | None = None
        self._observer = SceneObserver()

    def kept(self, name: str, read: Callable[[], T]) -> T:
        """What `read` returns; it is called again after segments were added, removed, reordered, renamed, tagged or stored in other images.

        Args:
            name: Of what it reads.
            read: Reads it.
        """
        segmentation = self._node.GetSegmentation()
        if segmentation is not self._watched:
            self._follow(segmentation)
        if name not in self._known:
            self._known[name] = read()
        value: T = self._known[name]
        return value

    def _follow(self, segmentation: slicer.vtkSegmentation) -> None:
        self._observer.off()
        for event in (
            segmentation.SegmentAdded,
            segmentation.SegmentRemoved,
            segmentation.SegmentModified,
            segmentation.SegmentsOrderModified,
            segmentation.ContainedRepresentationNamesModified,
        ):  # before those who keep an event from the others
            self._observer.on(segmentation, event, self._on_change, priority=3 * FIRST)
        self._watched = segmentation
        self._known.clear()

    def _on_change(self, _segmentation: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        self._known.clear()


class Layer:
    """The labelmap that holds a segment.

    Raises:
        DataError: The segment is not stored as a labelmap.
    """

    def __init__(self, segmentation_node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> None:
        self.segmentation = segmentation_node.GetSegmentation()
        segment = self.segmentation.GetSegment(segment_id)
        image = None if segment is None else segment.GetRepresentation(LABELMAP)
        if image is None or self.segmentation.GetSourceRepresentationName() != LABELMAP:
            raise DataError(
                _("the segment {name} is not stored as a labelmap").format(
                    name=segment_id if segment is None else segment.GetName()
                ),
                hint=_("make the binary labelmap the source representation in the Segmentations module"),
            )
        self.segmentation_node, self.image, self.label = segmentation_node, image, segment.GetLabelValue()
        self.segment_id = segment_id

    @property
    def is_empty(self) -> bool:
        """Nothing was ever painted in it."""
        return bool(self.image.IsEmpty())

    @property
    def grid(self) -> Grid:
        """The part in use, in the world."""
        matrix = vtk.vtkMatrix4x4()
        self.image.GetImageToWorldMatrix(matrix)
        return Grid(in_world(self.segmentation_node, to_matrix(matrix)), self.image.GetExtent())

    @property
    def voxels(self) -> NDArray[Any]:
        """The labels, (K, J, I) of the part in use; a view."""
        return np.zeros((0, 0, 0), np.uint8) if self.is_empty else voxels_of(self.image)

    def block(self, extent: Extent) -> NDArray[Any]:
        """The labels of a part, a view; it must be in use."""
        first = self.image.GetExtent()[::2]
        i, j, k = (slice(extent[2 * a] - first[a], extent[2 * a + 1] - first[a] + 1) for a in range(3))
        return self.voxels[k, j, i]

    def copy_of_block(self, extent: Extent) -> NDArray[Any]:
        """The labels of a part; 0 where nothing was painted yet."""
        shape = tuple(extent[2 * a + 1] - extent[2 * a] + 1 for a in (2, 1, 0))
        result = np.zeros(shape, self.voxels.dtype)
        if self.is_empty:
            return result
        there = self.image.GetExtent()
        common = [(max(extent[2 * a], there[2 * a]), min(extent[2 * a + 1], there[2 * a + 1])) for a in range(3)]
        if any(low > high for low, high in common):
            return result
        i, j, k = (slice(low - extent[2 * a], high - extent[2 * a] + 1) for a, (low, high) in enumerate(common))
        (a, b), (c, d), (e, f) = common
        result[k, j, i] = self.block((a, b, c, d, e, f))
        return result

    def reserve(self, extent: Extent, reference: Grid) -> None:
        """Grows the part in use until it holds an extent and can hold the segment's label."""
        there = self.image.GetExtent()
        holds = not self.is_empty and _common(extent, there) == extent
        if holds and self.label <= self.image.GetScalarTypeMax():
            return
        wide = np.promote_types(self.voxels.dtype, np.min_scalar_type(self.label))
        target = list(extent)
        for a in range(3):
            if not holds:
                target[2 * a] = min(extent[2 * a], max(extent[2 * a] - MARGIN, reference.extent[2 * a]))
                target[2 * a + 1] = max(extent[2 * a + 1], min(extent[2 * a + 1] + MARGIN, reference.extent[2 * a + 1]))
            if not self.is_empty:
                target[2 * a] = min(target[2 * a], there[2 * a])
                target[2 * a + 1] = max(target[2 * a + 1], there[2 * a + 1])
        if self.is_empty:
            self._take_reference_geometry()
        a, b, c, d, e, f = target
        grown = self.copy_of_block((a, b, c, d, e, f)).astype(wide, copy=False)
        set_voxels(self.image, grown, (a, c, e))

    def announce(self) -> None:
        """Tells the scene that the labels changed; not the image itself, or every surface would be thrown away."""
        self.image.GetPointData().GetScalars().Modified()
        self.segmentation.InvokeEvent(self.segmentation.SourceRepresentationModified, self.segment_id)
        self.segmentation.InvokeEvent(self.segmentation.RepresentationModified, self.segment_id)  # what views go by

    def _take_reference_geometry(self) -> None:
        geometry = _reference_geometry(self.segmentation)
        if geometry is not None:
            self.image.SetImageToWorldMatrix(to_vtk(geometry[0]))


def reference_grid(segmentation_node: slicer.vtkMRMLSegmentationNode) -> Grid | None:
    """The segmentation's reference geometry in the world; None where it has none yet."""
    geometry = _reference_geometry(segmentation_node.GetSegmentation())
    if geometry is None:
        return None
    matrix, extent = geometry
    return Grid(in_world(segmentation_node, matrix), extent)


def layers_of(segmentation_node: slicer.vtkMRMLSegmentationNode) -> dict[str, Layer]:
    """The layers of all segments, by segment; those that share one have the same image."""
    return {name: Layer(segmentation_node, name) for name in segmentation_node.GetSegmentation().GetSegmentIDs()}


def _reference_geometry(segmentation: slicer.vtkSegmentation) -> tuple[Matrix, Extent] | None:
    text = segmentation.GetConversionParameter(GEOMETRY)
    return _parsed_geometry(text) if text else None


@functools.lru_cache(maxsize=16)
def _parsed_geometry(text: str) -> tuple[Matrix, Extent] | None:
    matrix, extent = vtk.vtkMatrix4x4(), [0] * 6
    if not slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, matrix, extent):
        return None
    return to_matrix(matrix), _as_extent(extent)
