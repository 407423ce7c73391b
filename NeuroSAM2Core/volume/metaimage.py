"""MetaImage files (.mha, .mhd), through SimpleITK, which is optional."""

import re
from pathlib import Path

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.volume.dicom import read_with_simple_itk
from NeuroSAM2Core.volume.stored_image import StoredImage

MAX_HEADER_LENGTH = 1 << 16
DATA_FILE = re.compile(rb"^ElementDataFile\s*=\s*(.*?)\s*$", re.MULTILINE)


def read_metaimage(path: Path) -> StoredImage:
    """The image in a MetaImage file, or in the two files .mhd and .raw.

    Raises:
        DataError: It is damaged, its voxels are elsewhere than beside it, or it is too large.
        GeometryError: It does not hold one three-dimensional volume.
        ConfigError: SimpleITK is not installed.
    """
    try:
        with path.open("rb") as file:
            named = DATA_FILE.search(file.read(MAX_HEADER_LENGTH))
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror or error}") from error
    if named is None:
        raise DataError(f"{path.name} cannot be read: its header names no voxels", hint="copy the file again")
    name = named[1].decode(errors="replace")
    if name.upper() != "LOCAL":
        is_plain = (
            Path(name).name == name and not name.upper().startswith("LIST") and "%" not in name and "\\" not in name
        )
        if not is_plain:
            raise DataError(
                f"{path.name} says that its voxels are in {name!r}; expected a file beside it",
                hint="save the image as .mha, which holds both",
            )
        if not disk.is_file(path.with_name(name)):
            raise DataError(
                f"{path.name} goes with {name}, which is not beside it",
                hint="put both into one folder, or save as .mha",
            )
    return read_with_simple_itk(path, "MetaImage")
