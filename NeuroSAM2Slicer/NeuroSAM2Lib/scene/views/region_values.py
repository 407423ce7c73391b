"""The intensities within a region of a slice: an ellipse, or the mask of an object."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import PromptError
from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.volume import SlicePlane, Volume
from NeuroSAM2Lib.i18n import tr as _


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
