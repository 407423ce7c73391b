"""What a file holds, by its name. Pure."""

from collections.abc import Sequence
from enum import Enum

from NeuroSAM2Core.errors import DataError


class FileKind(Enum):
    """What a file holds."""

    IMAGE = "a volume"
    NRRD = "a volume of its own kind"
    SEGMENTATION = "a segmentation"
    SCENE = "a scene"
    DICOM = "the files of DICOM series"


ENDINGS = {
    ".nii": FileKind.IMAGE,
    ".nii.gz": FileKind.IMAGE,
    ".mgz": FileKind.IMAGE,
    ".mgh": FileKind.IMAGE,
    ".mha": FileKind.IMAGE,
    ".mhd": FileKind.IMAGE,
    ".seg.nrrd": FileKind.SEGMENTATION,
    ".nrrd": FileKind.NRRD,
    ".mrb": FileKind.SCENE,
    ".zip": FileKind.DICOM,
}
"""The first that fits says it."""
DICOM = (".dcm", ".ima", "dicomdir")
TABLES = (".tsv", ".ctbl", ".txt", ".label", ".lut", ".csv", ".raw", ".zraw")
"""Files that say something of one beside them: the names of its labels, or its voxels."""


def kind_of(name: str) -> FileKind:
    """What a file of that name holds.

    Raises:
        DataError: It cannot be opened.
    """
    for ending, kind in ENDINGS.items():
        if name.lower().endswith(ending):
            return kind
    if name.lower().endswith(DICOM):
        raise DataError(
            f"{name} is DICOM, of which a single file is not opened",
            hint="open the folder of its series, drop all its files together, or open a .zip of it",
        )
    raise DataError(
        f"{name or 'a file without a name'} cannot be opened", hint=f"expected a name that ends in {', '.join(ENDINGS)}"
    )


def is_readable(name: str) -> bool:
    """A file of that name can be opened."""
    return name.lower().endswith(tuple(ENDINGS))


def stem_of(name: str) -> str:
    """The name without what says its kind."""
    ending = next((one for one in sorted(ENDINGS, key=len, reverse=True) if name.lower().endswith(one)), "")
    return name[: len(name) - len(ending)]


def main_file(names: Sequence[str]) -> str | None:
    """Of files that were sent together, the one that the others go with: None where they are the slices of DICOM series.

    Raises:
        DataError: There are several that could be opened, or none.
    """
    readable = [name for name in names if is_readable(name)]
    if len(readable) == 1:
        return readable[0]
    if len(readable) > 1:
        raise DataError(f"{', '.join(readable[:4])} cannot be opened together", hint="open one after the other")
    if any(not name.lower().endswith(TABLES) for name in names):
        return None
    raise DataError(f"{names[0] if names else 'nothing'} cannot be opened alone", hint="send it with its image")
