"""What a file holds, by its name. Pure."""

from enum import Enum

from NeuroSAM2Core.errors import DataError


class FileKind(Enum):
    """What a file holds."""

    NIFTI = "a volume"
    NRRD = "a volume of its own kind"
    SEGMENTATION = "a segmentation"
    SCENE = "a scene"
    DICOM = "the files of DICOM series"


ENDINGS = {
    ".nii": FileKind.NIFTI,
    ".nii.gz": FileKind.NIFTI,
    ".seg.nrrd": FileKind.SEGMENTATION,
    ".nrrd": FileKind.NRRD,
    ".mrb": FileKind.SCENE,
    ".zip": FileKind.DICOM,
}
"""The first that fits says it."""
DICOM = (".dcm", ".ima", "dicomdir")


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
            hint="open the folder of its series, or a .zip of it; or save the series as .nii.gz",
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
