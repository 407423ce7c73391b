"""NIfTI files in and out, through nibabel. Reading is lazy where the file allows it; writing is atomic."""

import io
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from isal import igzip
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, SpatialImage
from numpy.typing import NDArray

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import DataError, GeometryError

SUFFIXES = (".nii", ".nii.gz")
WRITABLE = (np.uint8, np.int16, np.int32, np.float32, np.float64, np.uint16)


def read_nifti(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The voxels (K, J, I) of a NIfTI file, integers as stored, anything scaled as float32; and its matrix (4, 4) from (i, j, k) to RAS mm.

    Raises:
        DataError: The file is missing, damaged or not NIfTI.
        GeometryError: It does not hold one three-dimensional volume.
    """
    path = disk.extended(path)
    if not path.is_file():
        raise DataError(
            f"there is no file {path}", hint="check the path; a relative one starts from the current folder"
        )
    if not path.name.lower().endswith(SUFFIXES):
        raise DataError(
            f"{path.name} is not a NIfTI file; expected .nii or .nii.gz", hint="convert it, for example with 3D Slicer"
        )
    try:
        image: Any = nibabel.load(path)
        if path.name.lower().endswith(".gz"):  # nibabel would unpack with zlib, at half the speed
            image = type(image).from_stream(io.BytesIO(igzip.decompress(path.read_bytes())))
        shape = image.shape
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        _check_shape(path, shape)
        voxels = _voxels(image).reshape(shape)
        affine = np.asarray(image.affine, dtype=np.float64)
    except (
        ImageFileError,
        HeaderDataError,
        EOFError,
        OSError,
        ValueError,
        OverflowError,
        MemoryError,
        ArithmeticError,
    ) as error:
        raise DataError(
            f"{path.name} cannot be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            hint="the file may be damaged or cut short; copy it again",
        ) from error
    except Exception as error:
        if type(error).__module__.startswith(("zlib", "gzip", "isal")):
            raise DataError(
                f"{path.name} cannot be unpacked: {error}", hint="the file is damaged; copy it again"
            ) from error
        raise
    return voxels.T, affine


def write_nifti(path: Path, voxels: NDArray[Any], ijk_to_ras: NDArray[np.float64]) -> None:
    """Writes a NIfTI file with this very matrix; the file is whole or not there.

    Args:
        path: Of the file.
        voxels: (K, J, I); booleans as bytes.
        ijk_to_ras: (4, 4), in mm.

    Raises:
        DataError: It cannot be written there.
    """
    check_target(path)
    if voxels.dtype == bool:
        voxels = voxels.view(np.uint8)
    if voxels.dtype not in WRITABLE:
        voxels = voxels.astype(np.float32 if voxels.dtype.kind == "f" else np.int32)
    image = nibabel.Nifti1Image(voxels.T, ijk_to_ras)
    image.header.set_xyzt_units("mm")
    image.set_sform(ijk_to_ras, code="scanner")
    suffix = ".nii.gz" if path.name.lower().endswith(".gz") else ".nii"
    try:
        with disk.replaced_atomically(path, suffix=suffix) as partial:
            nibabel.save(image, partial)
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {disk.reason(error, path)}",
            hint="choose a folder that exists and that you may write to",
        ) from error


def check_target(path: Path) -> None:
    """Checks, before long work, that a volume may be written there.

    Raises:
        DataError: The name or the folder will not do.
    """
    if not path.name.lower().endswith(SUFFIXES):
        raise DataError(f"cannot write {path.name}: expected a name that ends in .nii or .nii.gz")
    if not path.parent.is_dir():
        raise DataError(f"cannot write {path.name}: there is no folder {path.parent}")


def _check_shape(path: Path, shape: tuple[int, ...]) -> None:
    if len(shape) == 4:
        raise GeometryError(
            f"{path.name} holds {shape[3]} volumes (shape {shape}); expected one",
            hint="extract one of them first, for example the mean or the first frame",
        )
    if len(shape) != 3 or 0 in shape:
        raise GeometryError(f"{path.name} has shape {shape}; expected three dimensions")


def _voxels(image: SpatialImage) -> NDArray[Any]:
    """The stored array (I, J, K): as it is where the file scales nothing, else scaled to float32."""
    proxy = image.dataobj
    assert isinstance(proxy, ArrayProxy)
    if proxy.dtype.fields is not None or proxy.dtype.kind not in "iuf":
        raise ValueError(f"voxels of type {proxy.dtype} are not intensities")
    if (proxy.slope, proxy.inter) == (1.0, 0.0):
        array = np.asanyarray(proxy.get_unscaled())
    else:
        array = np.asarray(proxy, dtype=np.float32)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array.astype(np.float32) if array.dtype in (np.float16, np.longdouble) else array
