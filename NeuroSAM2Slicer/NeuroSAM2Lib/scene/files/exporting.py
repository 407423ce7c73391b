"""What is outlined, as the files that other programs read. Nothing here touches the scene: it starts from a snapshot of it.

Closed surfaces of masks in files: STL, OBJ and PLY, one file for each object, and GLB, one file for all.

Nothing here touches the scene, so that it may run beside it. STL, OBJ and PLY are in mm, in left, posterior, superior, as Slicer writes
and reads them; GLB is in metres with the patient upright, as viewers of that format expect.
"""

import json
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import Cancelled, DataError
from NeuroSAM2Core.labels import write_table
from NeuroSAM2Core.labels.dicom_seg import SourceImages, write_dicom_seg
from NeuroSAM2Core.outputs import check_outputs
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.arrays import Matrix, set_voxels
from NeuroSAM2Lib.scene.files.packing import never, write_complete
from NeuroSAM2Lib.scene.segments.segment_masks import SegmentationSnapshot

SMOOTHING = 15
"""Passes of the filter that takes the steps of voxels away; it keeps the volume."""
PASS_BAND = 0.05
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
RAS_TO_GLTF = np.array([[0.001, 0, 0], [0, 0, 0.001], [0, -0.001, 0]])
"""From mm to metres; up is the second axis."""
GLB_MAGIC, JSON_CHUNK, BINARY_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942
FLOAT, UNSIGNED_INT = 5126, 5125
"""Types of numbers in glTF."""


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """The closed surface of an object."""

    name: str
    colour: tuple[float, float, float]
    """Red, green, blue, 0 to 1."""
    points: NDArray[np.float64]
    """(N, 3), RAS in mm."""
    normals: NDArray[np.float64]
    """(N, 3), outwards."""
    triangles: NDArray[np.int64]
    """(M, 3): three points each, anticlockwise as seen from outside."""


def closed_surface(
    name: str,
    colour: tuple[float, float, float],
    mask: NDArray[np.bool_],
    ijk_to_ras: Matrix,
    *,
    smoothing: int = SMOOTHING,
) -> Surface:
    """The surface of a mask.

    Args:
        name: Of the object.
        colour: Of the object.
        mask: (K, J, I), not empty.
        ijk_to_ras: (4, 4), to mm.
        smoothing: Passes of the smoothing filter; 0 leaves the steps of the voxels.
    """
    image = vtk.vtkImageData()
    set_voxels(image, np.pad(mask.view(np.uint8), 1), (-1, -1, -1))
    shape = vtk.vtkDiscreteFlyingEdges3D()
    shape.SetInputData(image)
    shape.SetValue(0, 1)
    last: vtk.vtkPolyDataAlgorithm = shape
    if smoothing:
        last = vtk.vtkWindowedSincPolyDataFilter()
        last.SetInputConnection(shape.GetOutputPort())
        last.SetNumberOfIterations(smoothing)
        last.SetPassBand(PASS_BAND)
        last.BoundarySmoothingOff()
        last.FeatureEdgeSmoothingOff()
        last.NonManifoldSmoothingOn()
        last.NormalizeCoordinatesOn()
    last.Update()
    found = last.GetOutput()
    ijk = vtk_to_numpy(found.GetPoints().GetData()).astype(np.float64)
    triangles = vtk_to_numpy(found.GetPolys().GetConnectivityArray()).reshape(-1, 3).astype(np.int64)
    points = ijk @ ijk_to_ras[:3, :3].T + ijk_to_ras[:3, 3]
    if _volume(points, triangles) < 0:
        triangles = triangles[:, ::-1]
    return Surface(name, colour, points, _normals(points, triangles), triangles)


def write_surfaces(path: Path, surfaces: Sequence[Surface], *, overwrite: bool = False) -> None:
    """Writes surfaces into one file, in the format that its name ends in. See `write_complete`.

    Raises:
        DataError: It cannot be written, or is there already.
    """
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise DataError(
            _("cannot write {name}: expected a name that ends in {endings}").format(
                name=path.name, endings=", ".join(WRITERS)
            )
        )
    write_complete(path, lambda target: writer(target, surfaces), overwrite=overwrite)


def _volume(points: NDArray[np.float64], triangles: NDArray[np.int64]) -> float:
    """Inside a closed surface; negative where triangles are clockwise."""
    a, b, c = (points[triangles[:, n]] - points[:1] for n in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def _normals(points: NDArray[np.float64], triangles: NDArray[np.int64]) -> NDArray[np.float64]:
    a, b, c = (points[triangles[:, n]] for n in range(3))
    across = np.cross(b - a, c - a)
    normals = np.zeros_like(points)
    for n in range(3):
        np.add.at(normals, triangles[:, n], across)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    return normals / np.where(lengths > 0, lengths, 1)


def _as_vtk(surfaces: Iterable[Surface]) -> vtk.vtkPolyData:
    """All of them as one, in LPS."""
    appended = vtk.vtkAppendPolyData()
    for one in surfaces:
        data, points, polygons = vtk.vtkPolyData(), vtk.vtkPoints(), vtk.vtkCellArray()
        points.SetData(numpy_to_vtk(one.points @ RAS_TO_LPS, deep=True))
        offsets = np.arange(0, 3 * len(one.triangles) + 1, 3)
        polygons.SetData(
            numpy_to_vtk(offsets, deep=True, array_type=vtk.VTK_ID_TYPE),
            numpy_to_vtk(one.triangles.ravel(), deep=True, array_type=vtk.VTK_ID_TYPE),
        )
        data.SetPoints(points)
        data.SetPolys(polygons)
        colours = np.tile(np.array([round(255 * part) for part in one.colour], np.uint8), (len(one.points), 1))
        scalars = numpy_to_vtk(colours, deep=True)
        scalars.SetName("RGB")
        data.GetPointData().SetScalars(scalars)
        appended.AddInputData(data)
    appended.Update()
    return appended.GetOutput()


def _write_stl(path: Path, surfaces: Sequence[Surface]) -> bool:
    writer = vtk.vtkSTLWriter()
    writer.SetFileTypeToBinary()
    writer.SetHeader("NeuroSAM2 SPACE=LPS")
    return _write_with(writer, path, surfaces)


def _write_obj(path: Path, surfaces: Sequence[Surface]) -> bool:
    return _write_with(vtk.vtkOBJWriter(), path, surfaces)


def _write_ply(path: Path, surfaces: Sequence[Surface]) -> bool:
    writer = vtk.vtkPLYWriter()
    writer.SetFileTypeToBinary()
    writer.SetArrayName("RGB")
    writer.AddComment("SPACE=LPS")
    return _write_with(writer, path, surfaces)


def _write_with(writer: Any, path: Path, surfaces: Sequence[Surface]) -> bool:  # noqa: ANN401  (any of VTK's writers)
    writer.SetInputData(_as_vtk(surfaces))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # VTK takes no name that is not UTF-8
        written = Path(folder) / f"a{path.suffix}"
        writer.SetFileName(disk.as_utf8(written))
        if not writer.Write() or not written.is_file():
            return False
        shutil.copyfile(written, path)
    return True


def _write_glb(path: Path, surfaces: Sequence[Surface]) -> bool:
    """A binary glTF file; VTK's own writer keeps neither names nor colours."""
    data = bytearray()
    views: list[dict[str, object]] = []
    accessors: list[dict[str, object]] = []

    def add(values: NDArray[Any], kind: str, number: int, **about: object) -> int:
        views.append({"buffer": 0, "byteOffset": len(data), "byteLength": values.nbytes})
        accessors.append(
            {
                "bufferView": len(views) - 1,
                "componentType": number,
                "count": values.size // (3 if kind == "VEC3" else 1),
            }
            | {"type": kind}
            | about
        )
        data.extend(np.ascontiguousarray(values).tobytes())
        return len(accessors) - 1

    meshes, materials = [], []
    for number, one in enumerate(surfaces):
        points = (one.points @ RAS_TO_GLTF.T).astype("<f4")
        normals = one.normals @ RAS_TO_GLTF.T
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        position = add(points, "VEC3", FLOAT, min=points.min(axis=0).tolist(), max=points.max(axis=0).tolist())
        normal = add(normals.astype("<f4"), "VEC3", FLOAT)
        indices = add(one.triangles.ravel().astype("<u4"), "SCALAR", UNSIGNED_INT)
        primitive = {"attributes": {"POSITION": position, "NORMAL": normal}, "indices": indices, "material": number}
        meshes.append({"name": one.name, "primitives": [primitive]})
        colour = [*(_linear(part) for part in one.colour), 1.0]
        shine = {"baseColorFactor": colour, "metallicFactor": 0.0, "roughnessFactor": 0.8}
        materials.append({"name": one.name, "pbrMetallicRoughness": shine})
    count = len(meshes)
    scene = {
        "asset": {"version": "2.0", "generator": "NeuroSAM2"},
        "scene": 0,
        "scenes": [{"nodes": list(range(count))}],
        "nodes": [{"name": one.name, "mesh": number} for number, one in enumerate(surfaces)],
        "meshes": meshes,
        "materials": materials,
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(data)}],
    }
    text = json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    with path.open("wb") as file:
        file.write(struct.pack("<3I", GLB_MAGIC, 2, 12 + 8 + len(text) + 8 + len(data)))
        file.write(struct.pack("<2I", len(text), JSON_CHUNK) + text)
        file.write(struct.pack("<2I", len(data), BINARY_CHUNK) + data)
    return True


def _linear(part: float) -> float:
    """A part of an sRGB colour in the linear numbers of glTF."""
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4


WRITERS: dict[str, Callable[[Path, Sequence[Surface]], bool]] = {
    ".stl": _write_stl,
    ".obj": _write_obj,
    ".ply": _write_ply,
    ".glb": _write_glb,
}


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
