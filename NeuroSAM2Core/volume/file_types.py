"""What a file that is no NIfTI file is, by how it begins, and what to do with it."""

from NeuroSAM2Core.errors import DataError

GZIP = b"\x1f\x8b"
DICOM_AT = 128
IDENTIFYING_GROUP = b"\x08\0"
"""What old DICOM files without a preamble begin with."""
CONVERT = "convert it to .nii.gz, for example with 3D Slicer"
KINDS = {
    GZIP: "packed twice with gzip",
    b"NRRD000": "an NRRD file",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"II*\0": "a TIFF picture",
    b"MM\0*": "a TIFF picture",
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
    b"%PDF": "a PDF document",
    b"\x89HDF": "an HDF5 file, as MINC 2 is",
    b"CDF\x01": "a NetCDF file, as MINC 1 is",
    b"\x93NUMPY": "a NumPy array, which says nothing of its place",
    b"PK\x03\x04": "a ZIP archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"BZh": "packed with bzip2",
    b"\xfd7zXZ": "packed with xz",
    b"\x28\xb5\x2f\xfd": "packed with zstd",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
}
"""By the first bytes."""
HINTS = {
    GZIP: "unpack it once",
    b"PK\x03\x04": "unpack it first",
    b"7z\xbc\xaf": "unpack it first",
    b"BZh": "unpack it first",
    b"\xfd7zXZ": "unpack it first",
    b"\x28\xb5\x2f\xfd": "unpack it first",
    b"version https://git-lfs": "fetch it with `git lfs pull`",
    b"<!DOCTYPE": "download the file again",
    b"<html": "download the file again",
}
"""For those that are not converted."""


def is_dicom(start: bytes) -> bool:
    """A file that begins like this is DICOM."""
    has_preamble = start[DICOM_AT : DICOM_AT + 4] == b"DICM"
    return has_preamble or (start[:2] == IDENTIFYING_GROUP and start[3:4] == b"\0")


def is_metaimage(start: bytes) -> bool:
    """A file that begins like this is MetaImage."""
    return start.lstrip().startswith((b"ObjectType", b"NDims"))


def refusal(name: str, start: bytes) -> DataError:
    """Why a file that begins like this cannot be read, and what to do."""
    for first, kind in KINDS.items():
        if start.startswith(first):
            return DataError(f"{name} is no NIfTI file, but {kind}", hint=HINTS.get(first, CONVERT))
    if not start:
        return DataError(f"{name} cannot be read: it is empty", hint="copy it again")
    if name.lower().endswith((".nii", ".nii.gz")):
        return DataError(f"{name} cannot be read: it does not begin as a NIfTI file does", hint="copy it again")
    return DataError(
        f"{name} is not a NIfTI file; expected .nii, .nii.gz, .mgz, .mha or .mhd",
        hint=f"if it is an image, {CONVERT}; else copy it again",
    )
