"""What is under the pointer: the position, the voxel, the value of every open image, the objects.

The intensities within a region of a slice: an ellipse, or the mask of an object.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import slicer
from numpy.typing import NDArray

from NeuroSAM2Core.errors import NeuroSAM2Error, PromptError
from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.volume import SlicePlane, Volume
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.arrays import Matrix
from NeuroSAM2Lib.scene.segments.layers import Layer
from NeuroSAM2Lib.scene.views.slice_views import nearest_index
from NeuroSAM2Lib.scene.volume_nodes import read_volume


@dataclass(frozen=True, kw_only=True, slots=True)
class Readout:
    """Of one position."""

    ras: tuple[float, float, float]
    """In mm."""
    ijk: tuple[int, int, int] | None
    """The voxel of the chosen image; None outside it."""
    values: tuple[tuple[str, float], ...] = ()
    """Of the images that have a voxel there, by name."""
    objects: tuple[str, ...] = ()
    """The names of the segments there that are shown."""

    @property
    def lines(self) -> tuple[str, ...]:
        """For people."""
        sides = [
            f"{side[value < 0]} {abs(value):.1f}" for side, value in zip(("RL", "AP", "SI"), self.ras, strict=True)
        ]
        voxel = [] if self.ijk is None else [f"({', '.join(map(str, self.ijk))})"]
        values = [f"{name}: {value:.6g}" for name, value in self.values]
        return ("  ".join([*sides, "mm", *voxel]), *values, *([", ".join(self.objects)] if self.objects else []))


def read_at(
    scene: slicer.vtkMRMLScene,
    volume: Volume,
    ras: Matrix,
    segmentation_node: slicer.vtkMRMLSegmentationNode | None = None,
) -> Readout:
    """What is at a world position.

    Args:
        scene: With all open images.
        volume: The chosen one, whose voxels are counted.
        ras: (3,) in mm.
        segmentation_node: Whose segments are named.
    """
    x, y, z = map(float, ras)
    return Readout(
        ras=(x, y, z),
        ijk=voxel_at(volume, ras),
        values=tuple(_values(scene, ras)),
        objects=() if segmentation_node is None else tuple(segments_at(segmentation_node, ras)),
    )


def voxel_at(volume: Volume, ras: Matrix) -> tuple[int, int, int] | None:
    """The voxel at a world position; None outside the volume."""
    i, j, k = (nearest_index(float(place)) for place in volume.to_ijk(np.asarray(ras, dtype=float)))
    is_inside = all(0 <= index < size for index, size in zip((k, j, i), volume.shape, strict=True))
    return (i, j, k) if is_inside else None


def segments_at(node: slicer.vtkMRMLSegmentationNode, ras: Matrix) -> Iterator[str]:
    """The names of the segments at a world position, as far as they are shown."""
    display, segmentation = node.GetDisplayNode(), node.GetSegmentation()
    for segment_id in segmentation.GetSegmentIDs():
        if display is None or (display.GetVisibility() and display.GetSegmentVisibility(segment_id)):
            with suppress(NeuroSAM2Error):
                layer = Layer(node, segment_id)
                if not layer.is_empty and _label_at(layer, ras) == layer.label:
                    yield segmentation.GetSegment(segment_id).GetName()


def _label_at(layer: Layer, ras: Matrix) -> int:
    place = np.linalg.inv(layer.grid.ijk_to_ras) @ [*ras, 1.0]
    i, j, k = (nearest_index(float(one)) for one in place[:3])
    return int(layer.copy_of_block((i, i, j, j, k, k))[0, 0, 0])


def _values(scene: slicer.vtkMRMLScene, ras: Matrix) -> Iterator[tuple[str, float]]:
    found = scene.GetNodesByClass("vtkMRMLScalarVolumeNode")
    for number in range(found.GetNumberOfItems()):
        node = found.GetItemAsObject(number)
        if node.GetHideFromEditors():
            continue
        with suppress(NeuroSAM2Error):
            volume = read_volume(node)
            ijk = voxel_at(volume, ras)
            if ijk is not None:
                yield node.GetName(), float(volume.voxels[ijk[::-1]])


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionValues:
    """Of the pixels of a region."""

    num_pixels: int
    area_mm2: float
    mean: float
    sd: float
    """Of the population; 0 for one pixel."""
    lowest: float
    highest: float

    @property
    def sentence(self) -> str:
        """For people."""
        return _(
            "mean {mean:.6g}, SD {sd:.4g}, min {lowest:.6g}, max {highest:.6g}, {area:.1f} mm² ({count} pixels)"
        ).format(
            mean=self.mean,
            sd=self.sd,
            lowest=self.lowest,
            highest=self.highest,
            area=self.area_mm2,
            count=self.num_pixels,
        )


def ellipse_mask(shape: tuple[int, int], box: BoxPrompt) -> NDArray[np.bool_]:
    """The pixels (H, W) whose centres lie in the ellipse that fills a box."""
    rows, cols = np.ogrid[: shape[0], : shape[1]]
    down = (rows - (box.row0 + box.row1) / 2) / max((box.row1 - box.row0) / 2, 1e-9)
    across = (cols - (box.col0 + box.col1) / 2) / max((box.col1 - box.col0) / 2, 1e-9)
    return np.asarray(down**2 + across**2 <= 1 + 1e-6)


def region_values(volume: Volume, plane: SlicePlane, mask: NDArray[np.bool_]) -> RegionValues:
    """The intensities of an image in a region of a slice; voxels that are no numbers do not count.

    Args:
        volume: The image.
        plane: A slice of it.
        mask: (H, W).

    Raises:
        PromptError: No pixel is inside.
    """
    values = plane.of(volume.voxels)[mask].astype(float)
    values = values[np.isfinite(values)]
    if not values.size:
        raise PromptError(_("there is no pixel inside"), hint=_("draw a larger region inside the image"))
    across = [n for axis, n in enumerate(volume.spacing_mm) if "ijk"[axis] != plane.axis]
    return RegionValues(
        num_pixels=values.size,
        area_mm2=float(values.size * across[0] * across[1]),
        mean=float(values.mean()),
        sd=float(values.std()),
        lowest=float(values.min()),
        highest=float(values.max()),
    )
