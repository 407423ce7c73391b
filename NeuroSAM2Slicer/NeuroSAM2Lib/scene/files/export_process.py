"""Exports in a process beside this one: surfaces of large objects take seconds, and nothing else in a Python runs while VTK makes them.

The two share a folder, which holds what to write, label maps as `.npy` and the rest as JSON, and gets the result.
"""

import json
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from NeuroSAM2Core import disk
from NeuroSAM2Core.decoding import decoded, parse_json
from NeuroSAM2Core.errors import DataError, NeuroSAM2Error, WorkerError
from NeuroSAM2Core.labels.dicom_seg import SourceImages
from NeuroSAM2Core.volume import Volume
from NeuroSAM2Core.volume.header import HeaderGeometry
from NeuroSAM2Lib.beside import Start, Work, running
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.files.exporting import ExportFormat, export
from NeuroSAM2Lib.scene.segments.layers import Extent, Grid
from NeuroSAM2Lib.scene.segments.segment_masks import CopiedSegment, SegmentationSnapshot

REQUEST, RESULT, LOG = "request.json", "result.json", "log.txt"
PROGRAM = f"import sys; sys.modules['slicer.i18n'] = None; from {__name__} import main; main(sys.argv[1:])"
"""Slicer's Python has the function that translates, which fails there without the application."""
SLICES_AT_ONCE = 32
"""Are written between two steps."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Segment:
    name: str
    colour: tuple[float, float, float]
    voxels: int
    """The number of its label map."""
    ijk_to_ras: tuple[float, ...]
    extent: Extent
    label: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Request:
    kind: ExportFormat
    path: str
    overwrite: bool
    source_files: tuple[str, ...] | None
    name: str
    """Of the image, as the next three."""
    shape: tuple[int, int, int]
    ijk_to_ras: tuple[float, ...]
    place: str
    segments: tuple[_Segment, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Result:
    files: tuple[str, ...] = ()
    message: str = ""
    hint: str = ""


def exporting(
    snapshot: SegmentationSnapshot,
    kind: ExportFormat,
    path: Path,
    *,
    python: str,
    start: Start,
    source_files: Sequence[str] | None = None,
    overwrite: bool = False,
) -> Work[list[Path]]:
    """What `export` does. Returns the files.

    Args:
        snapshot: The segments.
        kind: The format.
        path: Of the first file.
        python: The interpreter that has VTK.
        start: Starts it, with this interpreter's module path.
        source_files: The DICOM slices of the image, in its order; None where it comes from elsewhere.
        overwrite: Files that are there may be replaced.

    Raises:
        DataError: They cannot be written; see `export`. Where no process can be started, it is done here, which takes its time.
    """
    with tempfile.TemporaryDirectory(prefix="neurosam2-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        yield from _writing_request(folder, snapshot, kind, path, source_files, overwrite=overwrite)
        try:
            yield from running(_("the export"), (python, "-P", "-c", PROGRAM, str(folder)), folder / LOG, start)
        except WorkerError as error:
            logger.warning("an export is done in this process: %s", error)
            source = None if source_files is None else SourceImages.read(source_files)
            return export(snapshot, kind, path, source=source, overwrite=overwrite)
        result = decoded(_Result, parse_json((folder / RESULT).read_text(encoding="utf-8")), "result")
        if result.message:
            raise DataError(result.message, hint=result.hint)
        return [Path(one) for one in result.files]


def _writing_request(
    folder: Path,
    snapshot: SegmentationSnapshot,
    kind: ExportFormat,
    path: Path,
    source_files: Sequence[str] | None,
    *,
    overwrite: bool,
) -> Work[None]:
    """Writes what the process needs, a few slices a step."""
    maps: dict[int, NDArray[Any]] = {id(one.voxels): one.voxels for one in snapshot.segments}
    for number, voxels in enumerate(maps.values()):
        with (folder / f"{number}.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": voxels.dtype.str, "fortran_order": False, "shape": voxels.shape}
            )
            for first in range(0, len(voxels), SLICES_AT_ONCE):
                file.write(np.ascontiguousarray(voxels[first : first + SLICES_AT_ONCE]).data)
                yield None
    numbers = {key: number for number, key in enumerate(maps)}
    volume = snapshot.volume
    request = {
        "kind": kind.value,
        "path": str(path),
        "overwrite": overwrite,
        "source_files": None if source_files is None else list(source_files),
        "name": volume.name,
        "shape": volume.shape,
        "ijk_to_ras": volume.ijk_to_ras.ravel().tolist(),
        "place": "" if volume.place is None else volume.place.as_text(),
        "segments": [
            {
                "name": one.name,
                "colour": one.colour,
                "voxels": numbers[id(one.voxels)],
                "ijk_to_ras": one.grid.ijk_to_ras.ravel().tolist(),
                "extent": one.grid.extent,
                "label": one.label,
            }
            for one in snapshot.segments
        ],
    }
    (folder / REQUEST).write_text(json.dumps(request), encoding="utf-8")


def main(arguments: Sequence[str]) -> None:
    """Writes what the request in a folder names, and the result beside it."""
    (folder,) = map(Path, arguments)
    try:
        result: dict[str, object] = {"files": [str(one) for one in _exported(folder)]}
    except NeuroSAM2Error as error:
        result = {"message": error.message, "hint": error.hint}
    (folder / RESULT).write_text(json.dumps(result), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)  # Slicer's libraries need not be tidied up


def _exported(folder: Path) -> list[Path]:
    request = decoded(_Request, parse_json(disk.read_text(folder / REQUEST)), "request")
    maps = [
        np.load(folder / f"{n}.npy", allow_pickle=False) for n in range(1 + max(one.voxels for one in request.segments))
    ]
    place = HeaderGeometry.from_text(request.place) if request.place else None
    volume = Volume(
        np.broadcast_to(np.uint8(0), request.shape), _matrix(request.ijk_to_ras), name=request.name, place=place
    )
    segments = tuple(
        CopiedSegment(one.name, one.colour, maps[one.voxels], Grid(_matrix(one.ijk_to_ras), one.extent), one.label)
        for one in request.segments
    )
    source = None if request.source_files is None else SourceImages.read(request.source_files)
    path = Path(request.path)
    return export(
        SegmentationSnapshot(volume, segments), request.kind, path, source=source, overwrite=request.overwrite
    )


def _matrix(numbers: Sequence[float]) -> NDArray[np.float64]:
    return np.asarray(numbers, float).reshape(4, 4)
