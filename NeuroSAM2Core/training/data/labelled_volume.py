"""An image and its label from their files, checked to belong together: what training, evaluation and the check before a run start from."""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.labels import SAME_POSITION_MM, corners_apart_mm, whole_numbers
from NeuroSAM2Core.training.data.dataset_file import Case
from NeuroSAM2Core.volume import Volume


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
    return LabelledVolume(image, whole_numbers(label))


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
    apart = min(
        corners_apart_mm(one, other, image.shape)
        for one, other in itertools.product(_matrices(image), _matrices(label))
    )
    if apart > SAME_POSITION_MM:
        raise DataError(
            f"the label {label.name} is not on the grid of its image: their matrices put a corner {apart:.3g} mm apart",
            hint="resample the label to the image first",
        )


def _matrices(volume: Volume) -> list[NDArray[np.float64]]:
    return [volume.ijk_to_ras, *(volume.place.forms() if volume.place else ())]
