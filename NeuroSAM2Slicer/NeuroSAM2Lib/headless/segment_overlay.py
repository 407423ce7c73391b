"""All segments over a slice, as one picture.

Slicer's displayable manager draws a picture and a line for every segment, which takes some milliseconds each without a graphics card.
Here every labelmap is sampled once, whatever the number of its segments, and blended into the image below.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from NeuroSAM2Core.errors import GeometryError
from NeuroSAM2Lib.scene.arrays import Matrix, to_matrix, to_vtk, voxels_of
from NeuroSAM2Lib.scene.observer import SceneObserver
from NeuroSAM2Lib.scene.segments.layers import LABELMAP
from NeuroSAM2Lib.scene.volume_nodes import transform_to_world

Picture = NDArray[np.uint8]
"""(H, W, 3), its first row at the bottom."""
Labels = NDArray[np.integer]
"""(H, W), 0 where there is none."""


FULL = 256
"""The weight of a pixel that nothing lies over."""
TURN_VOXELS = 0.01
"""By less than this over a whole view, an index of a voxel does not depend on x or y."""


@dataclass(frozen=True, slots=True)
class LabelStyle:
    """How the label of a segment is shown."""

    label: int
    colour: tuple[float, float, float]
    fill: float
    """Opacity, 0 to 1."""
    outline: float
    """The same, of the outermost pixels."""


@dataclass(frozen=True, slots=True)
class LabelLayer:
    """A labelmap and its segments that are shown."""

    image: slicer.vtkOrientedImageData
    to_world: Matrix
    styles: tuple[LabelStyle, ...]
    line_px: int


def blend_labels(picture: Picture, labels: Labels, styles: tuple[LabelStyle, ...], line_px: int = 1) -> None:
    """Draws labels into a picture.

    Args:
        picture: Changed in place.
        labels: Of its pixels, from the first row and column on.
        styles: Labels without one are not drawn.
        line_px: The width of outlines.
    """
    rows, cols = _box_of(labels)
    labels, part = labels[rows, cols], picture[rows, cols]
    if not labels.size:
        return
    count = int(labels.max()) + 1
    kept, added = np.full(2 * count, FULL, np.uint16), np.zeros((3, 2 * count), np.uint16)
    for style in styles:
        if style.label < count:
            for kind, opacity in ((style.label, style.fill), (count + style.label, max(style.fill, style.outline))):
                kept[kind] = round(FULL * (1 - opacity))
                added[:, kind] = np.multiply(style.colour, 255 * opacity * FULL) + FULL / 2
    kinds = labels.astype(np.min_scalar_type(2 * count))
    kinds[_edges(labels, line_px) & (labels != 0)] += count
    weights = kept.take(kinds)
    for channel in range(3):  # in whole numbers, because this is done for every picture
        part[..., channel] = (part[..., channel] * weights + added[channel].take(kinds)) >> 8


def _box_of(labels: Labels) -> tuple[slice, slice]:
    rows, cols = np.flatnonzero(labels.any(axis=1)), np.flatnonzero(labels.any(axis=0))
    if not len(rows):
        return slice(0), slice(0)
    return slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)


def _edges(labels: Labels, line_px: int) -> NDArray[np.bool_]:
    """The pixels of every label within so many of another label or of the end of the box."""
    padded = np.pad(labels, line_px)
    height, width = labels.shape
    edge = np.zeros(labels.shape, bool)
    for step in range(1, line_px + 1):
        for y, x in ((step, 0), (-step, 0), (0, step), (0, -step)):
            edge |= padded[line_px + y : line_px + y + height, line_px + x : line_px + x + width] != labels
    return edge


def sample_labels(layer: LabelLayer, xy_to_ras: Matrix, size: tuple[int, int]) -> tuple[Labels, int, int]:
    """The labels of a layer at the pixels of a view, nearest neighbour, and the first row and column where there are any.

    Args:
        layer: The labelmap.
        xy_to_ras: Of the view, whose pixels count from its lower left.
        size: Width and height.
    """
    xy_to_ijk = np.linalg.inv(layer.to_world) @ xy_to_ras
    steps = np.abs(xy_to_ijk[:3, :2]) * size > TURN_VOXELS
    if (steps.sum(axis=1) > 1).any():
        return _reslice(layer.image, xy_to_ijk, size), 0, 0
    return _pick(layer.image, xy_to_ijk, size, steps)


def _pick(
    image: slicer.vtkOrientedImageData, xy_to_ijk: Matrix, size: tuple[int, int], steps: NDArray[np.bool_]
) -> tuple[Labels, int, int]:
    """Where the view's rows and columns are along the voxels', every index needs one of x and y at most."""
    first = np.array(image.GetExtent()[::2])
    limits = np.array(image.GetDimensions())
    inside = [np.ones(n, bool) for n in size]
    indices = []
    for axis in range(3):
        along = 1 if steps[axis, 1] else 0
        places = xy_to_ijk[axis, along] * np.arange(size[along]) * steps[axis, along] + xy_to_ijk[axis, 3]
        index = np.floor(places + 0.5).astype(np.intp) - first[axis]
        inside[along] &= (index >= 0) & (index < limits[axis])
        indices.append((along, index))
    ranges = [np.flatnonzero(one) for one in inside]
    if not all(len(one) for one in ranges):
        return np.zeros((0, 0), np.uint8), 0, 0
    (i, j, k) = (index[ranges[along]].reshape((1, -1) if along == 0 else (-1, 1)) for along, index in indices)
    labels = voxels_of(image)[k, j, i]
    whole = np.broadcast_to(labels, (len(ranges[1]), len(ranges[0])))
    return whole, int(ranges[1][0]), int(ranges[0][0])


def _reslice(image: slicer.vtkOrientedImageData, xy_to_ijk: Matrix, size: tuple[int, int]) -> Labels:
    plain = vtk.vtkImageData()
    plain.SetExtent(image.GetExtent())
    plain.GetPointData().SetScalars(image.GetPointData().GetScalars())
    transform = vtk.vtkMatrixToLinearTransform()
    transform.SetInput(to_vtk(xy_to_ijk))
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(plain)
    reslice.SetResliceTransform(transform)
    reslice.SetInterpolationModeToNearestNeighbor()
    reslice.SetOutputSpacing(1, 1, 1)
    reslice.SetOutputOrigin(0, 0, 0)
    reslice.SetOutputExtent(0, size[0] - 1, 0, size[1] - 1, 0, 0)
    reslice.Update()
    return voxels_of(reslice.GetOutput())[0]


class SegmentOverlay:
    """What the segmentations of a scene show in slice views.

    Args:
        scene: Whose.
        on_change: Called whenever pictures may have become out of date; often several times in a row.
    """

    def __init__(self, scene: slicer.vtkMRMLScene, on_change: Callable[[], None]) -> None:
        self._scene, self._on_change = scene, on_change
        self._watch = SceneObserver()
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndImportEvent, scene.EndCloseEvent):
            self._watch.on(scene, event, self._notice)
        self._layers: list[LabelLayer] | None = None

    def draw(self, picture: Picture, slice_node: slicer.vtkMRMLSliceNode) -> None:
        """Blends all segments into the picture of a view."""
        xy_to_ras = to_matrix(slice_node.GetXYToRAS())
        height, width, _ = picture.shape
        for layer in self.layers:
            labels, row, col = sample_labels(layer, xy_to_ras, (width, height))
            blend_labels(picture[row:, col:], labels, layer.styles, layer.line_px)

    @property
    def layers(self) -> list[LabelLayer]:
        """The labelmaps that are shown, the lowest first; read anew after something has changed."""
        if self._layers is None:
            found = self._scene.GetNodesByClass("vtkMRMLSegmentationNode")
            nodes = [found.GetItemAsObject(number) for number in range(found.GetNumberOfItems())]
            for node in nodes:
                self._follow(node)
            self._layers = []
            for node in nodes:
                with suppress(GeometryError):  # under a warp, which sessions refuse
                    self._layers.extend(layers_shown(node))
        return self._layers

    def _follow(self, node: slicer.vtkMRMLSegmentationNode) -> None:
        segmentation = node.GetSegmentation()
        for event in (
            segmentation.SegmentAdded,
            segmentation.SegmentRemoved,
            segmentation.SegmentModified,
            segmentation.SegmentsOrderModified,
            segmentation.RepresentationModified,
            segmentation.ContainedRepresentationNamesModified,
        ):
            self._watch.on(segmentation, event, self._notice)
        for event in (vtk.vtkCommand.ModifiedEvent, node.DisplayModifiedEvent, node.TransformModifiedEvent):
            self._watch.on(node, event, self._notice)

    def _notice(self, _caller: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        self._layers = None
        self._on_change()


def layers_shown(node: slicer.vtkMRMLSegmentationNode) -> Iterator[LabelLayer]:
    """The labelmaps of a segmentation with what is shown of them."""
    display = node.GetDisplayNode()
    if display is None or not display.GetVisibility() or not display.GetVisibility2D():
        return
    styles: dict[int, list[LabelStyle]] = {}
    images: dict[int, slicer.vtkOrientedImageData] = {}
    segmentation = node.GetSegmentation()
    for segment_id in segmentation.GetSegmentIDs():
        image = segmentation.GetSegment(segment_id).GetRepresentation(LABELMAP)
        if image is not None and not image.IsEmpty() and display.GetSegmentVisibility(segment_id):
            images[id(image)] = image
            styles.setdefault(id(image), []).append(_style(segmentation, display, segment_id))
    world = transform_to_world(node) if images else np.eye(4)
    for key, image in images.items():
        matrix = vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(matrix)
        line_px = max(1, display.GetSliceIntersectionThickness())
        yield LabelLayer(image, world @ to_matrix(matrix), tuple(styles[key]), line_px)


def _style(
    segmentation: slicer.vtkSegmentation, display: slicer.vtkMRMLSegmentationDisplayNode, segment_id: str
) -> LabelStyle:
    segment = segmentation.GetSegment(segment_id)
    has_fill = display.GetVisibility2DFill() and display.GetSegmentVisibility2DFill(segment_id)
    has_outline = display.GetVisibility2DOutline() and display.GetSegmentVisibility2DOutline(segment_id)
    return LabelStyle(
        label=segment.GetLabelValue(),
        colour=segment.GetColor(),
        fill=has_fill * display.GetOpacity() * display.GetOpacity2DFill() * display.GetSegmentOpacity2DFill(segment_id),
        outline=has_outline
        * display.GetOpacity()
        * display.GetOpacity2DOutline()
        * display.GetSegmentOpacity2DOutline(segment_id),
    )
