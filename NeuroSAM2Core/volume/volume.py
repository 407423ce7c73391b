"""A volume: voxels on a regular grid and where that grid is in the patient.

Arrays are (K, J, I), the last index fastest along the file's first axis; geometry is (i, j, k). World positions are RAS in mm: to the
patient's right, to the front (anterior), upwards (superior).
"""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core.errors import GeometryError
from NeuroSAM2Core.volume.header import HeaderGeometry, StoredImage

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """Voxels with their geometry. The voxels are never changed."""

    voxels: NDArray[Any]
    """(K, J, I), any real type."""
    ijk_to_ras: Matrix
    """(4, 4): homogeneous voxel indices (i, j, k, 1) to RAS mm."""
    name: str = field(default="volume", kw_only=True)
    place: HeaderGeometry | None = field(default=None, kw_only=True)
    """What the header of the NIfTI file says of the grid, where the volume is from one: masks carry it over."""

    def __post_init__(self) -> None:
        if self.voxels.ndim != 3 or 0 in self.voxels.shape:
            raise GeometryError(
                f"a volume has three dimensions and at least one voxel; got shape {self.voxels.shape[::-1]}"
            )
        matrix = np.array(self.ijk_to_ras, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise GeometryError(f"the matrix from voxels to space must be 4 x 4 finite numbers; got {matrix.tolist()}")
        scale = np.linalg.norm(matrix[:3, :3], axis=0)
        if (scale == 0).any() or abs(np.linalg.det(matrix[:3, :3] / scale)) < 1e-6:
            raise GeometryError(
                "the matrix from voxels to space is flat: two voxel axes have the same direction, or one has no length",
                hint="repair the header, for example by loading the image in 3D Slicer and saving it again",
            )
        voxels = self.voxels.view()
        voxels.flags.writeable = False
        matrix.flags.writeable = False
        object.__setattr__(self, "voxels", voxels)
        object.__setattr__(self, "ijk_to_ras", matrix)

    @classmethod
    def read(cls, path: str | Path, *, series: str | int | None = None) -> "Volume":
        """The volume in a file, or in the folder of a DICOM series; see `files.read_image`."""
        from NeuroSAM2Core.volume.files import read_image

        return cls.of(read_image(Path(path), series=series))

    @classmethod
    def of(cls, image: StoredImage) -> "Volume":
        """The volume of an image as a file holds it.

        Raises:
            GeometryError: Its matrix is flat.
        """
        return cls(image.voxels, image.ijk_to_ras, name=image.name, place=image.place)

    def write(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Writes a NIfTI file; one that is there already is replaced only when asked. See `files.write_nifti`."""
        from NeuroSAM2Core.volume.files import write_nifti

        write_nifti(Path(path), self.stored, overwrite=overwrite)

    @property
    def stored(self) -> StoredImage:
        """As a file holds it."""
        return StoredImage(self.voxels, self.ijk_to_ras, self.name, self.place)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, J, I)."""
        k, j, i = self.voxels.shape
        return k, j, i

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbours along i, j, k, in mm."""
        i, j, k = np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of a voxel in mL, for sheared grids too."""
        return float(abs(np.linalg.det(self.ijk_to_ras[:3, :3]))) / 1000.0

    @property
    def ras_to_ijk(self) -> Matrix:
        """The inverse of `ijk_to_ras`."""
        return _inverse(self.ijk_to_ras.tobytes())

    def to_ras(self, ijk: NDArray[Any]) -> Matrix:
        """World positions (..., 3) in mm of voxel indices (..., 3)."""
        return np.asarray(ijk) @ self.ijk_to_ras[:3, :3].T + self.ijk_to_ras[:3, 3]

    def to_ijk(self, ras: NDArray[Any]) -> Matrix:
        """Voxel indices (..., 3), not rounded, of world positions (..., 3) in mm."""
        inverse = self.ras_to_ijk
        return np.asarray(ras) @ inverse[:3, :3].T + inverse[:3, 3]

    def moved(self, matrix: Matrix) -> "Volume":
        """The same voxels elsewhere: a position goes where a matrix (4, 4) puts it, RAS in mm."""
        return Volume(self.voxels, matrix @ self.ijk_to_ras, name=self.name)

    def with_voxels(self, voxels: NDArray[Any], *, name: str = "") -> "Volume":
        """Other voxels on the same grid.

        Raises:
            GeometryError: Their shape is another.
        """
        if voxels.shape != self.voxels.shape:
            raise GeometryError(f"voxels of shape {voxels.shape} do not fit a volume of shape {self.voxels.shape}")
        return Volume(voxels, self.ijk_to_ras, name=name or self.name, place=self.place)


@lru_cache(maxsize=64)
def _inverse(matrix: bytes) -> Matrix:
    """Of a matrix (4, 4); views ask for that of the same volume many times a second."""
    inverse = np.asarray(np.linalg.inv(np.frombuffer(matrix).reshape(4, 4)))
    inverse.flags.writeable = False
    return inverse
