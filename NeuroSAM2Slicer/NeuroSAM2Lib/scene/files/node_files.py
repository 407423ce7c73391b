"""Volumes and segmentations between files and the scene, where there is no application to do it.

Images go through `Volume`; segmentations through Slicer's own storage nodes, which read what was written anew (see `nrrd_image`).
Whole scenes are the application's business.
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import slicer
import vtk

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.outputs import check_outputs, is_there
from NeuroSAM2Core.volume import Volume
from NeuroSAM2Lib.scene.arrays import set_voxels, to_vtk
from NeuroSAM2Lib.scene.files.nrrd_image import NrrdImage
from NeuroSAM2Lib.scene.segments.segmentation_snapshot import SegmentationSnapshot
from NeuroSAM2Lib.scene.volume_nodes import store_header_geometry


def add_volume(scene: slicer.vtkMRMLScene, volume: Volume, name: str) -> slicer.vtkMRMLScalarVolumeNode:
    """Puts a volume into the scene, under a name of its own."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", scene.GenerateUniqueName(name))
    image = vtk.vtkImageData()
    set_voxels(image, volume.voxels)
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(to_vtk(volume.ijk_to_ras))
    store_header_geometry(node, volume.place)
    node.CreateDefaultDisplayNodes()
    return node


def read_nrrd(scene: slicer.vtkMRMLScene, path: Path, name: str) -> slicer.vtkMRMLScalarVolumeNode:
    """Puts the volume of an .nrrd file into the scene.

    Raises:
        DataError: It cannot be read, or holds no single-component volume.
    """
    return add_volume(scene, NrrdImage.read(path).volume(), name)


def read_segmentation(scene: slicer.vtkMRMLScene, path: Path, name: str) -> slicer.vtkMRMLSegmentationNode:
    """Puts the segmentation of a .seg.nrrd file into the scene.

    Raises:
        DataError: It cannot be read.
    """
    image = NrrdImage.read(path)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", scene.GenerateUniqueName(name))
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            anew = Path(folder) / "a.seg.nrrd"
            image.write(anew)
            storage = slicer.vtkMRMLSegmentationStorageNode()
            storage.SetFileName(disk.as_utf8(anew))
            is_read = bool(storage.ReadData(node))
    except OSError as error:
        scene.RemoveNode(node)
        raise DataError(
            f"{path.name} cannot be read: {error.strerror or error}", hint="is there space left on the disk?"
        ) from error
    if not is_read:
        scene.RemoveNode(node)
        raise DataError(f"{path.name} cannot be read", hint="the file may be damaged or of another kind; copy it again")
    node.CreateDefaultDisplayNodes()
    return node


def write_segmentation(node: slicer.vtkMRMLSegmentationNode, path: Path, *, overwrite: bool = False) -> None:
    """Writes all segments into a .seg.nrrd file; the file is whole or not there. See `write_complete`."""
    storage = slicer.vtkMRMLSegmentationStorageNode()

    def write(target: Path) -> bool:
        storage.SetFileName(disk.as_utf8(target))
        return bool(storage.WriteData(node))

    write_complete(path, write, overwrite=overwrite)


def label_values(segmentation_node: slicer.vtkMRMLSegmentationNode) -> dict[str, int]:
    """What each segment is in a label map of all, by its id: 1 for the first, and so on."""
    ids = segmentation_node.GetSegmentation().GetSegmentIDs()
    return {segment_id: number for number, segment_id in enumerate(ids, start=1)}


def labels_on(segmentation_node: slicer.vtkMRMLSegmentationNode, volume_node: slicer.vtkMRMLScalarVolumeNode) -> Volume:
    """All segments on a volume's own grid: 0 for nothing, else as `label_values` says; where some overlap, the later one has it.

    Raises:
        DataError: There are none, or one is not stored as a labelmap.
    """
    return SegmentationSnapshot.take(segmentation_node, volume_node).labels()


def write_complete(path: Path, write: Callable[[Path], bool], *, overwrite: bool = False) -> None:
    """Lets something be written under its own name in a folder beside the target, then puts it there in one step.

    Where the target is a link, what it leads to is replaced; a file that is replaced keeps its mode.

    Args:
        path: The target.
        write: Writes the path that it is given, and says whether it has.
        overwrite: A file that is there may be replaced.

    Raises:
        DataError: It could not be written, or is there already.
    """
    check_outputs([path], overwrite=overwrite)
    target = Path(os.path.realpath(path))
    try:
        folder = Path(tempfile.mkdtemp(prefix=".", dir=target.parent))
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}", hint="choose a folder that you may write to"
        ) from error
    try:
        partial = folder / path.name
        if not write(partial) or not partial.is_file():
            raise DataError(f"cannot write {path}", hint="is there space left on the disk?")
        with suppress(FileNotFoundError):
            partial.chmod(stat.S_IMODE(target.stat().st_mode))
        disk.replace(partial, target) if overwrite else disk.move_to_free_name(partial, target)
    except FileExistsError as error:
        raise is_there(path) from error
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
