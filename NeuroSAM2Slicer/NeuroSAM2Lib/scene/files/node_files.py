"""Volumes and segmentations between files and the scene, where there is no application to do it.

Images go through `Volume`; segmentations through Slicer's own storage nodes, which read what was written anew (see `nrrd_image`).
Whole scenes are the application's business. The packages for NRRD files are imported when one is read or packed: Slicer's panel, which
does neither, loads before packages are installed.
"""

from pathlib import Path

import slicer

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Lib.scene.files.packing import IsCancelled, never, pack_nrrd, write_complete


def checked_segmentation(path: Path, folder: Path) -> Path:
    """A copy of a .seg.nrrd file that Slicer reads safely and quickly, in a folder; touches no scene.

    Raises:
        DataError: It cannot be read.
    """
    from NeuroSAM2Lib.scene.files.nrrd_image import NrrdImage

    anew = folder / "a.seg.nrrd"
    try:
        NrrdImage.read(path).write(anew)
    except OSError as error:
        raise DataError(
            f"{path.name} cannot be read: {error.strerror or error}", hint="is there space left on the disk?"
        ) from error
    return anew


def load_segmentation(
    scene: slicer.vtkMRMLScene, checked: Path, name: str, file_name: str
) -> slicer.vtkMRMLSegmentationNode:
    """Puts the segmentation of a file that was checked into the scene.

    Args:
        scene: Gets it.
        checked: From `checked_segmentation`.
        name: Of the node.
        file_name: What the person calls the file.

    Raises:
        DataError: It cannot be read.
    """
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", scene.GenerateUniqueName(name))
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(disk.as_utf8(checked))
    if not storage.ReadData(node):
        scene.RemoveNode(node)
        raise DataError(f"{file_name} cannot be read", hint="the file may be damaged or of another kind; copy it again")
    node.CreateDefaultDisplayNodes()
    return node


def store_segmentation(node: slicer.vtkMRMLSegmentationNode, folder: Path) -> Path:
    """Writes all segments into a .seg.nrrd file in a folder, not packed: that is quick.

    Raises:
        DataError: It could not be written.
    """
    stored = folder / "a.seg.nrrd"
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(disk.as_utf8(stored))
    storage.SetUseCompression(0)
    if not storage.WriteData(node) or not stored.is_file():
        raise DataError(f"{node.GetName()} cannot be written", hint="is there space left on the disk?")
    return stored


def pack_segmentation(stored: Path, path: Path, *, overwrite: bool = False, is_cancelled: IsCancelled = never) -> None:
    """Packs what `store_segmentation` has written; touches no scene.

    Args:
        stored: From there.
        path: The file.
        overwrite: A file that is there may be replaced.
        is_cancelled: Asked for every piece.

    Raises:
        DataError: It could not be written, or is there already.
        Cancelled: It was asked for.
    """

    def write(target: Path) -> bool:
        with target.open("wb") as whole:
            pack_nrrd(stored, whole, is_cancelled)
        return True

    write_complete(path, write, overwrite=overwrite)
