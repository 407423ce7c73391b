"""What is outlined, as the files that other programs read. Nothing here touches the scene: it starts from a snapshot of it."""

from collections.abc import Callable
from enum import Enum
from pathlib import Path

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import Cancelled, DataError
from NeuroSAM2Core.labels import write_table
from NeuroSAM2Core.labels.dicom_seg import SourceImages, write_dicom_seg
from NeuroSAM2Core.outputs import check_outputs
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.files.packing import never
from NeuroSAM2Lib.scene.files.surface_files import closed_surface, write_surfaces
from NeuroSAM2Lib.scene.segments.segmentation_snapshot import SegmentationSnapshot

TABLE = ".tsv"


class ExportFormat(Enum):
    """What is written, by the ending of its file."""

    NIFTI = ".nii.gz"
    DICOM = ".dcm"
    STL = ".stl"
    OBJ = ".obj"
    PLY = ".ply"
    GLB = ".glb"

    @property
    def is_per_object(self) -> bool:
        """Each object has a file of its own."""
        return self in (ExportFormat.STL, ExportFormat.OBJ, ExportFormat.PLY)


def export_names(kind: ExportFormat, name: str, objects: tuple[str, ...]) -> list[str]:
    """The names of all files that are written under a name.

    Args:
        kind: The format; the name ends as it says.
        name: As the person has chosen it.
        objects: The names of the objects.
    """
    stem = name[: len(name) - len(kind.value)]
    if kind is ExportFormat.NIFTI:
        return [name, stem + TABLE]
    if not kind.is_per_object or len(objects) < 2:
        return [name]
    names: dict[str, None] = {}
    for number, one in enumerate(objects, start=1):
        wanted = f"{stem} {disk.file_name(one)}"
        taken = wanted.casefold() in {known.casefold() for known in names}
        names[f"{wanted} {number}" if taken else wanted] = None
    return [one + kind.value for one in names]


def export(
    snapshot: SegmentationSnapshot,
    kind: ExportFormat,
    path: Path,
    *,
    source: SourceImages | None = None,
    overwrite: bool = False,
    is_cancelled: Callable[[], bool] = never,
) -> list[Path]:
    """Writes what is outlined. Returns the files.

    Args:
        snapshot: The segments.
        kind: The format.
        path: Of the first file; others lie beside it, see `export_names`.
        source: The DICOM slices of the image; only for DICOM.
        overwrite: Files that are there may be replaced.
        is_cancelled: Asked between objects.

    Raises:
        DataError: They cannot be written, there is nothing to write, or the image is not from DICOM.
        ConfigError: A package is missing.
        Cancelled: It was asked for; files that were written stay.
    """
    names = export_names(kind, path.name, tuple(one.name for one in snapshot.segments))
    paths = [path.with_name(name) for name in names]
    check_outputs(paths, overwrite=overwrite)
    if kind is ExportFormat.NIFTI:
        snapshot.labels().write(paths[0], overwrite=overwrite)
        write_table(paths[1], snapshot.table, overwrite=overwrite)
        return paths
    if kind is ExportFormat.DICOM:
        if source is None:
            raise DataError(
                _(
                    "a DICOM segmentation refers to the DICOM slices of its image, and this image was not opened from DICOM"
                ),
                hint=_("open the DICOM series, or save as .nii.gz or .seg.nrrd"),
            )
        write_dicom_seg(path, snapshot.labels().voxels, snapshot.table, source, overwrite=overwrite)
        return paths
    surfaces = []
    for number, segment in enumerate(snapshot.segments):
        if is_cancelled():
            raise Cancelled
        mask = snapshot.mask(number)
        if mask.any():
            surfaces.append((number, closed_surface(segment.name, segment.colour, mask, snapshot.volume.ijk_to_ras)))
    if not surfaces:
        raise DataError(_("there is no surface: nothing is outlined"), hint=_("outline something first"))
    if len(paths) == 1:
        write_surfaces(path, [one for number, one in surfaces], overwrite=overwrite)
        return paths
    for number, surface in surfaces:
        write_surfaces(paths[number], [surface], overwrite=overwrite)
    return [paths[number] for number, surface in surfaces]
