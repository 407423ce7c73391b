"""Values by slice that survive saving and loading, in text form.

Storage may turn a left-handed grid around, and then the same slice has another number. What is remembered is the axis, the
numbers, and the matrix of the grid they were counted on; reading counts them anew on the grid as it is now.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from NeuroSAM2Core.decoding import DecodingError, decoded, parse_count, parse_json
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.volume import Axis
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.arrays import Matrix
from NeuroSAM2Lib.scene.views.slice_views import nearest_index


@dataclass(frozen=True, slots=True)
class _Content:
    """What the text holds."""

    axis: Axis
    grid: tuple[float, ...]
    slices: dict[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class StoredSlices:
    """Values by slice along one axis."""

    axis: Axis
    values: Mapping[int, tuple[float, ...]]
    """What is known of each slice, by its index."""

    def to_text(self, matrix: Matrix) -> str:
        """As JSON, counted on the grid of a matrix (4, 4)."""
        slices = {str(index): list(self.values[index]) for index in sorted(self.values)}
        return json.dumps({"axis": self.axis, "grid": matrix.ravel().tolist(), "slices": slices})

    @classmethod
    def from_text(cls, text: str, matrix: Matrix) -> "StoredSlices":
        """From JSON, counted on another grid of the same image.

        Raises:
            DataError: It is not what `to_text` writes.
        """
        try:
            content = decoded(_Content, parse_json(text), "")
            then = np.reshape(content.grid, (4, 4))
            number = "ijk".index(content.axis)
            with np.errstate(over="raise", invalid="raise"):
                change = np.linalg.inv(matrix) @ then
                now = int(np.abs(change[:3, number] * np.linalg.norm(matrix[:3, :3], axis=0)).argmax())
                moved = {
                    nearest_index(change[now, number] * _index(i) + change[now, 3]): known
                    for i, known in content.slices.items()
                }
        except (ValueError, ArithmeticError) as error:
            raise DataError(_("what the scene remembers of the slices of an object cannot be read")) from error
        return cls(list(Axis)[now], moved)


def _index(text: str) -> int:
    index = parse_count(text.removeprefix("-"))
    if index is None:
        raise DecodingError(text[:80])
    return -index if text.startswith("-") else index
