"""A scene as it is now, to be packed into a bundle beside it: what takes long touches no scene and can be given up."""

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import slicer

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import Cancelled, DataError
from NeuroSAM2Lib.headless.application import HeadlessApplication
from NeuroSAM2Lib.scene.arrays import voxels_of
from NeuroSAM2Lib.scene.files.node_files import write_complete
from NeuroSAM2Lib.scene.files.nrrd_image import NrrdImage
from NeuroSAM2Lib.scene.volume_nodes import local_matrix

DATA = "Data"
PIECE = 1 << 20
LEVEL = 1
"""Of the packing: quick, and nearly as small."""
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


class SceneSnapshot:
    """The files of a scene in a folder, but for the voxels of its images.

    Args:
        app: Its scene.
        folder: Empty; for this snapshot alone.
        name: Of the bundle, without its ending.

    Raises:
        DataError: A node cannot be written.
    """

    def __init__(self, app: HeadlessApplication, folder: Path, name: str) -> None:
        self.folder = folder / name
        (self.folder / DATA).mkdir(parents=True)
        self._images: list[Callable[[], None]] = []
        scene = app.scene
        with _unchanged(app):
            scene.SetRootDirectory(disk.as_utf8(self.folder))
            for number, node in enumerate(app.stored_nodes()):
                self._write_node(node, number)
            scene.SetURL(disk.as_utf8(self.folder / f"{name}.mrml"))
            if not scene.Commit(disk.as_utf8(self.folder / f"{name}.mrml")):
                raise DataError("the scene could not be written", hint="is there space left on the disk?")

    def pack(self, path: Path, *, overwrite: bool = False, is_cancelled: Callable[[], bool] = lambda: False) -> None:
        """Writes the bundle; it is whole or not there. Touches no scene.

        Args:
            path: Of the bundle.
            overwrite: A file that is there may be replaced.
            is_cancelled: Asked for every piece.

        Raises:
            DataError: It cannot be written, or is there already.
            Cancelled: It was asked for.
        """

        def write(target: Path) -> bool:
            for write_image in self._images:
                if is_cancelled():
                    raise Cancelled
                write_image()
            with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as bundle:
                for one in sorted(self.folder.rglob("*")):
                    if one.is_file():
                        _pack_file(bundle, one, str(one.relative_to(self.folder.parent).as_posix()), is_cancelled)
            return True

        write_complete(path, write, overwrite=overwrite)

    def _write_node(self, node: slicer.vtkMRMLStorableNode, number: int) -> None:
        storage = node.GetStorageNode()
        name = disk.file_name(f"{node.GetName()}_{number}")
        path = self.folder / DATA / f"{name}.{storage.GetDefaultWriteFileExtension()}"
        storage.ResetFileNameList()
        storage.SetFileName(disk.as_utf8(path))
        storage.SetUseCompression(0)
        image = node.GetImageData() if node.IsA("vtkMRMLScalarVolumeNode") else None
        if image is not None and path.suffix == ".nrrd" and image.GetNumberOfScalarComponents() == 1:
            place = RAS_TO_LPS @ local_matrix(node)
            self._images.append(
                partial(NrrdImage(name=name, voxels=voxels_of(image)[None], ijk_to_lps=place).write, path)
            )
        elif not storage.WriteData(node):
            raise DataError(f"{node.GetName()} could not be written", hint="is there space left on the disk?")


@contextmanager
def _unchanged(app: HeadlessApplication) -> Iterator[None]:
    """Afterwards the scene and its nodes name the files that they named before."""
    scene = app.scene
    before = scene.GetRootDirectory(), scene.GetURL()
    known = []
    for node in app.stored_nodes():
        storage = node.GetStorageNode()
        known.append((storage, storage.GetFileName(), storage.GetUseCompression()))
    try:
        yield
    finally:
        for storage, name, use_compression in known:
            storage.ResetFileNameList()
            storage.SetFileName(name)
            storage.SetUseCompression(use_compression)
        scene.SetRootDirectory(before[0] or "")
        scene.SetURL(before[1] or "")


def _pack_file(bundle: zipfile.ZipFile, path: Path, name: str, is_cancelled: Callable[[], bool]) -> None:
    with path.open("rb") as file, bundle.open(_entry(path, name), "w") as packed:
        while piece := file.read(PIECE):
            if is_cancelled():
                raise Cancelled
            packed.write(piece)


def _entry(path: Path, name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry._compresslevel = LEVEL  # type: ignore[attr-defined]  # public as `compress_level` from Python 3.13 on
    return entry
