"""An image and its label from their files, checked to belong together: what training, evaluation and the check before a run start from."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.training.data.dataset_file import Case
from NeuroSAM2Core.volume import Volume

SAME_POSITION_MM = 1e-2
MAX_LABEL = 2**31 - 1


@dataclass(frozen=True, slots=True, eq=False)
class LabelledVolume:
    """A volume as stored, with its label values."""

    image: Volume
    labels: NDArray[np.int32]
    """(K, J, I)."""


def read_labelled(case: Case) -> LabelledVolume:
    """Reads a case.

    Raises:
        DataError: A file is missing or damaged, the label has values that are not whole numbers, or the two are not on one grid.
        GeometryError: A file does not hold one volume.
    """
    image, label = Volume.read(case.image), Volume.read(case.label)
    check_same_grid(image, label)
    return LabelledVolume(image, whole_labels(label))


def check_same_grid(image: Volume, label: Volume) -> None:
    """Checks that two volumes have the same shape, and every corner voxel in the same place.

    Where the header of the image holds two places, a label at either belongs to it.

    Raises:
        DataError: They have not.
    """
    if image.shape != label.shape:
        raise DataError(
            f"the label {label.name} has shape {label.shape[::-1]}; its image has {image.shape[::-1]}",
            hint="resample the label to the image first",
        )
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in image.shape[::-1]], 1)).reshape(4, -1)
    apart = min(
        float(np.linalg.norm((one - other) @ corners, axis=0).max())
        for one, other in itertools.product(_matrices(image), _matrices(label))
    )
    if apart > SAME_POSITION_MM:
        raise DataError(
            f"the label {label.name} is not on the grid of its image: their matrices put a corner {apart:.3g} mm apart",
            hint="resample the label to the image first",
        )


def _matrices(volume: Volume) -> list[NDArray[np.float64]]:
    return [volume.ijk_to_ras, *(volume.place.forms() if volume.place else ())]


def whole_labels(label: Volume) -> NDArray[np.int32]:
    """Label values as whole numbers.

    Raises:
        DataError: Some are not, or are below 0.
    """
    values: NDArray[Any] = label.voxels
    if values.dtype.kind == "f":
        broken = ~np.isfinite(values) | (values != np.round(values))
        if broken.any():
            raise DataError(
                f"the label {label.name} has values that are not whole numbers, for example {values[broken][0]:g}",
                hint="a probability map needs a threshold first; a resampled label needs nearest neighbours",
            )
    low, high = values.min(), values.max()
    if low < 0 or high > MAX_LABEL:
        raise DataError(f"the label {label.name} has values from {low:g} to {high:g}; expected 0 and above")
    return values.astype(np.int32)
