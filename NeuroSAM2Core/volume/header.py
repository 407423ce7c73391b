"""Headers of NIfTI files: where they put the grid, and what files of ours begin with.

A header has two matrices, qform and sform, each with a code, in its own unit of length. Readers choose differently where the two differ, so
a mask carries over both as they are stored; then it lies on its image for every reader. We choose as ITK does, and with it SimpleITK and
3D Slicer.

`StoredImage` is what an image file holds, before it is known to be a volume that one can work on.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

SCANNER = 1
"""The code of coordinates of the scanner."""
MAX_CODE, MAX_UNITS = 2**15 - 1, 255
"""That a header can hold."""
UNIT_BITS = 0x07
"""Of `xyzt_units`, those that hold the unit of length."""
MM = 2
UNITS_MM = {1: 1000.0, MM: 1.0, 3: 0.001}
"""Metres, millimetres and microns in mm; what is unknown is taken for mm."""
SKEW = 1e-4
"""Largest product of two axes of length 1 that are at right angles."""
SAME_MATRIX = 1e-6
"""Relative difference of matrices that is rounding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeaderGeometry:
    """All that a NIfTI header says of its grid's place, by the names of its fields."""

    qform_code: int
    sform_code: int
    xyzt_units: int
    pixdim: tuple[float, ...]
    """(4,): the handedness of the qform, then the spacing along i, j, k."""
    quatern: tuple[float, ...]
    """(3,): b, c, d."""
    qoffset: tuple[float, ...]
    """(3,)."""
    srow: tuple[float, ...]
    """(12,): the first three rows of the sform."""

    def __post_init__(self) -> None:
        for name, count in (("pixdim", 4), ("quatern", 3), ("qoffset", 3), ("srow", 12)):
            if len(getattr(self, name)) != count:
                raise ValueError(f"{name} has {len(getattr(self, name))} numbers; expected {count}")
        if not (abs(self.qform_code) <= MAX_CODE and abs(self.sform_code) <= MAX_CODE):
            raise ValueError(f"qform and sform have the codes {self.qform_code} and {self.sform_code}; expected 0 to 5")
        if not 0 <= self.xyzt_units <= MAX_UNITS:
            raise ValueError(f"the units are {self.xyzt_units}; expected 0 to {MAX_UNITS}")

    @classmethod
    def of(cls, header: Any) -> "HeaderGeometry":  # noqa: ANN401  (of nibabel, which is not needed here)
        """What a header of nibabel says."""
        return cls(
            qform_code=int(header["qform_code"]),
            sform_code=int(header["sform_code"]),
            xyzt_units=int(header["xyzt_units"]),
            pixdim=tuple(header["pixdim"][:4].tolist()),
            quatern=tuple(float(header[f"quatern_{letter}"]) for letter in "bcd"),
            qoffset=tuple(float(header[f"qoffset_{letter}"]) for letter in "xyz"),
            srow=tuple(value for letter in "xyz" for value in header[f"srow_{letter}"].tolist()),
        )

    @classmethod
    def from_text(cls, text: str) -> "HeaderGeometry":
        """The inverse of `as_text`.

        Raises:
            ValueError: It is something else.
        """
        try:
            values: dict[str, Any] = {
                name: tuple(map(float, v)) if isinstance(v, list) else v for name, v in json.loads(text).items()
            }
            return cls(**values)
        except (TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ValueError(f"not a place: {error}") from error

    def as_text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    def put_into(self, header: Any) -> None:  # noqa: ANN401  (see `of`)
        """Makes a header say the same."""
        for name in ("qform_code", "sform_code", "xyzt_units"):
            header[name] = getattr(self, name)
        header["pixdim"][:4] = self.pixdim
        for row, (part, axis) in enumerate(zip("bcd", "xyz", strict=True)):
            header[f"quatern_{part}"], header[f"qoffset_{axis}"] = self.quatern[row], self.qoffset[row]
            header[f"srow_{axis}"] = self.srow[4 * row : 4 * row + 4]

    @property
    def unit_mm(self) -> float:
        """The header's unit of length in mm."""
        return UNITS_MM.get(self.xyzt_units & UNIT_BITS, 1.0)

    @property
    def ijk_to_ras(self) -> Matrix:
        """(4, 4), in mm: what ITK chooses; where it finds nothing without skew, the sform.

        Of two forms that agree within 0.0001, ITK sometimes takes the other; that is not repeated here.
        """
        qform, sform, spacing = self._qform(), self._sform(), self._spacing()
        if self.qform_code <= 0 and self.sform_code <= 0:
            chosen = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
        elif self.qform_code <= 0 or (self.sform_code > 0 and is_orthogonal(sform) and self.sform_code == SCANNER):
            chosen = _with_spacing(sform, spacing)
        else:
            chosen = qform
        return _in_mm(chosen, self.unit_mm)

    def forms(self) -> list[Matrix]:
        """Every matrix (4, 4) in mm that a reader may choose, the one of ITK first."""
        coded = [
            form for code, form in ((self.qform_code, self._qform()), (self.sform_code, self._sform())) if code > 0
        ]
        return [self.ijk_to_ras, *(_in_mm(form, self.unit_mm) for form in coded)]

    def _spacing(self) -> Matrix:
        spacing = np.abs(np.array(self.pixdim[1:], dtype=np.float64))
        return np.where(np.isfinite(spacing) & (spacing > 0), spacing, 1.0)

    def _qform(self) -> Matrix:
        """The rotation of the unit quaternion, whose first part is not stored, and the spacing."""
        vector = np.array(self.quatern, dtype=np.float64)
        with np.errstate(all="ignore"):
            rest = 1.0 - float(vector @ vector)
        if rest < 1e-7:
            vector, rest = vector / np.linalg.norm(vector), 0.0
        a, b, c, d = np.array([np.sqrt(rest), *vector])
        matrix = np.eye(4)
        matrix[:3, :3] = np.array(
            [
                [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
                [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
                [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
            ]
        ) * (self._spacing() * [1, 1, -1 if self.pixdim[0] < 0 else 1])
        matrix[:3, 3] = self.qoffset
        return matrix

    def _sform(self) -> Matrix:
        return np.vstack([np.reshape(np.array(self.srow, dtype=np.float64), (3, 4)), [0, 0, 0, 1]])


def is_orthogonal(matrix: Matrix) -> bool:
    """The axes of a grid are at right angles."""
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if not (np.isfinite(lengths).all() and lengths.all()):
        return False
    axes = matrix[:3, :3] / lengths
    return bool(np.allclose(axes.T @ axes, np.eye(3), rtol=0, atol=SKEW))


def is_same_matrix(one: Matrix, other: Matrix) -> bool:
    """Two matrices differ by rounding only."""
    return bool(np.allclose(one, other, rtol=SAME_MATRIX, atol=SAME_MATRIX * float(np.abs(other).max())))


def _with_spacing(form: Matrix, spacing: Sequence[float] | Matrix) -> Matrix:
    """An sform at right angles with the spacing that the header names, which ITK takes."""
    lengths = np.linalg.norm(form[:3, :3], axis=0)
    if not is_orthogonal(form) or np.allclose(lengths, spacing, rtol=SAME_MATRIX, atol=0):
        return form
    scaled = form.copy()
    scaled[:3, :3] *= np.asarray(spacing) / lengths
    return scaled


def _in_mm(matrix: Matrix, unit_mm: float) -> Matrix:
    return np.asarray(np.diag([unit_mm, unit_mm, unit_mm, 1.0]) @ matrix)


@dataclass(frozen=True, slots=True, eq=False)
class StoredImage:
    """Voxels and their place as a file has them."""

    voxels: NDArray[Any]
    """(K, J, I)."""
    ijk_to_ras: NDArray[np.float64]
    """(4, 4): homogeneous voxel indices (i, j, k, 1) to RAS mm."""
    name: str
    place: HeaderGeometry | None = None
    """What the header of a NIfTI file says of the grid, where the image is from one."""
    intent: int = 0
    """The intent code of a NIfTI header; 1002 means labels."""
    dicom_files: tuple[str, ...] = ()
    """Where the image is from DICOM, the files of its slices."""


MAX_SIDE_LENGTH = 2**15 - 1
"""Voxels along an axis in the older of the two formats."""


def header_bytes(image: StoredImage, dtype: np.dtype[Any], note: str = "") -> bytes:
    """What a NIfTI file of an image begins with, up to the first voxel. Of the libraries for files, only nibabel is needed.

    Args:
        image: Its place is that of the file it came from, as it was stored there, if it came from one and was not moved.
        dtype: Of the voxels that follow.
        note: Kept as the header's description, at most 79 characters.
    """
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    header = (Nifti1Header if max(image.voxels.shape) <= MAX_SIDE_LENGTH else Nifti2Header)()
    header.set_data_dtype(dtype)
    header.set_data_shape(image.voxels.shape[::-1])
    header.set_slope_inter(1.0, 0.0)
    header["descrip"] = note
    place, matrix = image.place, image.ijk_to_ras
    if place is not None and is_same_matrix(place.ijk_to_ras, matrix):
        place.put_into(header)
    else:
        header.set_qform(matrix, code=SCANNER if is_orthogonal(matrix) else 0)
        header.set_sform(matrix, code=SCANNER)
        header["pixdim"][1:4] = np.linalg.norm(matrix[:3, :3], axis=0)
        header["xyzt_units"] = MM
    length = -(-(len(header.binaryblock) + 4) // 16) * 16  # four bytes say that there are no extensions
    header.set_data_offset(length)
    return bytes(header.binaryblock).ljust(length, b"\0")
