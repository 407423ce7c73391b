"""Opening and saving: a file becomes what is worked on, and what is worked on becomes files.

MRML is touched on the event loop only; files are read and packed beside it.
"""

import asyncio
import tempfile
import threading
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TypeVar

import slicer
from NeuroSAM2Lib.sandbox import SceneSandbox
from NeuroSAM2Lib.scene.files.bundle import unpack_bundle
from NeuroSAM2Lib.scene.files.exporting import ExportFormat, export, export_names
from NeuroSAM2Lib.scene.files.file_kinds import FileKind, kind_of, stem_of
from NeuroSAM2Lib.scene.files.node_files import (
    checked_segmentation,
    load_segmentation,
    pack_segmentation,
    store_segmentation,
)
from NeuroSAM2Lib.scene.files.nrrd_image import NrrdImage
from NeuroSAM2Lib.scene.files.packing import pack_bundle
from NeuroSAM2Lib.scene.segments.segment_masks import SegmentationSnapshot
from NeuroSAM2Lib.scene.volume_nodes import add_volume
from NeuroSAM2Lib.segmentation.object_actions import read_objects
from NeuroSAM2Lib.segmentation.sidecar import write_sidecar

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import ConfigError, DataError
from NeuroSAM2Core.labels import ImageKind, LabelTable, find_table, kind_of_image, read_table
from NeuroSAM2Core.labels.dicom_seg import SourceImages
from NeuroSAM2Core.outputs import check_outputs
from NeuroSAM2Core.volume import Volume
from NeuroSAM2Core.volume.dicom import Series, read_found
from NeuroSAM2Core.volume.files import read_image
from NeuroSAM2Web.app_state import AppState

T = TypeVar("T")


class Target(Enum):
    """What is saved, by the ending of its file."""

    NIFTI = ".nii.gz"
    SEGMENTATION = ".seg.nrrd"
    DICOM = ".dcm"
    STL = ".stl"
    OBJ = ".obj"
    PLY = ".ply"
    GLB = ".glb"
    SCENE = ".mrb"

    @property
    def has_methods(self) -> bool:
        """What led to the masks is told in a file beside it."""
        return self in (Target.NIFTI, Target.SEGMENTATION, Target.DICOM)


@dataclass(frozen=True, slots=True, eq=False)
class OpenedImage:
    """An image that was read and is not in the scene yet."""

    volume: Volume
    kind: ImageKind
    table: LabelTable | None
    """What lies beside it and names its labels."""


Asks = Callable[[OpenedImage], Awaitable[ImageKind]]


async def as_image(_opened: OpenedImage) -> ImageKind:
    """Nothing is asked: an image is an image."""
    return ImageKind.IMAGE


def methods_name(name: str) -> str:
    """The name of what led to a segmentation, beside it; each file has its own."""
    return f"{name}.json"


class FileIO:
    """Opens and saves files for the app; one at a time.

    Args:
        app_state: Works on them.
    """

    def __init__(self, app_state: AppState) -> None:
        self.app_state = app_state
        self._turn = asyncio.Lock()
        self._images: list[Path] = []
        """That were opened: nothing is saved over them."""
        self._sources: dict[str, SourceImages | ConfigError] = {}
        """The DICOM slices of images, by the id of their node; or why they are not known."""

    async def open(self, path: Path, name: str, asks: Asks = as_image, *, table: Path | None = None) -> None:
        """Opens a file; what was open stays in the scene, unless the file is a scene of its own.

        Args:
            path: Where it is.
            name: What the person calls it.
            table: Names the labels, if it is a label map; what lies beside it under its name if None.
            asks: What an image is taken for that may be a label map.

        Raises:
            NeuroSAM2Error: It cannot be read, or does not go with what is open.
        """
        kind, stem, scene = kind_of(name), stem_of(name), self.app_state.host.scene
        async with self._turn:
            if kind in (FileKind.IMAGE, FileKind.NRRD):
                opened = await asyncio.to_thread(_read_image, path, stem, kind, table)
                if opened.kind is not ImageKind.IMAGE and await asks(opened) is ImageKind.LABELS:
                    await self._add_labels(opened)
                    return
                self._images.append(path.resolve())
                self.app_state.choose_volume(add_volume(scene, opened.volume, stem))
            elif kind is FileKind.SEGMENTATION:
                if self.app_state.volume_node is None:
                    raise DataError(f"{name} is a segmentation without an image", hint="open its image first")
                with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                    checked = await asyncio.to_thread(checked_segmentation, path, Path(folder))
                    self.app_state.choose_segmentation(load_segmentation(scene, checked, stem, name))
            else:
                with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                    self._open_scene(await asyncio.to_thread(_tried, path, name, Path(folder)))

    async def open_series(self, series: Series, name: str) -> None:
        """Opens a DICOM series.

        Args:
            series: The series; its files may go away afterwards.
            name: What the person calls it.

        Raises:
            NeuroSAM2Error: It cannot be read.
        """
        async with self._turn:
            volume = Volume.of(await asyncio.to_thread(read_found, series, name))
            node = add_volume(self.app_state.host.scene, volume, name)
            self.app_state.choose_volume(node)
            self._sources[node.GetID()] = await asyncio.to_thread(_source, series)

    async def save(self, target: Target, path: Path, *, overwrite: bool = False) -> list[Path]:
        """Writes what is worked on; beside a segmentation, what led to it.

        Args:
            target: What.
            path: Where to; its name ends as the target says.
            overwrite: Files that are there may be replaced.

        Returns:
            The files.

        Raises:
            NeuroSAM2Error: There is nothing to save, it cannot be written there, or it would replace an image that was opened, or a
                file unasked.
        """
        async with self._turn:
            paths = [path.with_name(name) for name in self.names_beside(target, path.name)]
            check_outputs(paths, inputs=self._images, overwrite=overwrite)
            if target is Target.SCENE:
                await self._save_scene(path, overwrite=overwrite)
                return [path]
            _, segmentation_node = self._chosen()
            if target is Target.SEGMENTATION:
                with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                    stored = store_segmentation(segmentation_node, Path(folder))
                    await _stoppable(partial(pack_segmentation, stored, path, overwrite=overwrite))
                written = [path]
            else:
                written = await self._export(ExportFormat(target.value), path, overwrite=overwrite)
            return [*written, *(self._methods_beside(path, overwrite=overwrite) if target.has_methods else ())]

    def names_beside(self, target: Target, name: str) -> list[str]:
        """The names of all files that saving under a name may write."""
        names = [name]
        if target not in (Target.SCENE, Target.SEGMENTATION):
            names = export_names(ExportFormat(target.value), name, self._object_names())
        return [*names, methods_name(name)] if target.has_methods else names

    @property
    def has_work(self) -> bool:
        """Something was segmented, which opening a scene would take away."""
        session = self.app_state.presenter.session
        return session is not None and any(record.prompts.planes for record in session.document.records.values())

    def name_for(self, target: Target) -> str:
        """A name for the file."""
        volume = self.app_state.volume_node
        stem = "scene" if volume is None else str(volume.GetName())
        return f"{disk.file_name(stem)}{'' if target is Target.SCENE else ' segmentation'}{target.value}"

    async def _add_labels(self, opened: OpenedImage) -> None:
        """A label map becomes objects on the image that is open."""
        session = self.app_state.presenter.session
        if session is None or session.ended:
            raise DataError(f"{opened.volume.name} is a label map without an image", hint="open its image first")
        objects = await asyncio.to_thread(read_objects, session.document.volume, opened.volume, opened.table)
        self.app_state.presenter.add_labels(objects)

    async def _export(self, kind: ExportFormat, path: Path, *, overwrite: bool) -> list[Path]:
        volume_node, segmentation_node = self._chosen()
        source = self._sources.get(volume_node.GetID()) if kind is ExportFormat.DICOM else None
        if isinstance(source, ConfigError):
            raise source
        snapshot = SegmentationSnapshot.take(segmentation_node, volume_node)
        return await _stoppable(partial(export, snapshot, kind, path, source=source, overwrite=overwrite))

    def _object_names(self) -> tuple[str, ...]:
        if self.app_state.segmentation_node is None:
            return ()
        segmentation = self.app_state.segmentation_node.GetSegmentation()
        return tuple(segmentation.GetSegment(one).GetName() for one in segmentation.GetSegmentIDs())

    def _chosen(self) -> tuple[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSegmentationNode]:
        volume_node, segmentation_node = self.app_state.volume_node, self.app_state.segmentation_node
        if volume_node is None or segmentation_node is None:
            raise DataError("there is no segmentation to save", hint="open an image and outline something first")
        return volume_node, segmentation_node

    def _open_scene(self, scene: Path) -> None:
        self.app_state.presenter.select(None, None)
        self.app_state.host.scene.Clear(0)
        try:
            self.app_state.host.load_unpacked(scene)
        finally:
            self.app_state.restore()

    async def _save_scene(self, path: Path, *, overwrite: bool) -> None:
        watch = self.app_state.presenter.watch
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
            nullcontext() if watch is None else watch.storing(),
        ):
            stored = Path(folder) / path.stem
            self.app_state.host.store(stored)
            await _stoppable(partial(pack_bundle, stored, path, overwrite=overwrite))

    def _methods_beside(self, path: Path, *, overwrite: bool) -> list[Path]:
        session = self.app_state.presenter.session
        if session is None or session.ended:
            return []
        methods = path.with_name(methods_name(path.name))
        write_sidecar(session.document, methods, overwrite=overwrite)
        return [methods]


async def _stoppable(work: Callable[..., T]) -> T:
    """Does something in a thread; it is told to stop where nobody waits for it any more."""
    stop = threading.Event()
    try:
        return await asyncio.to_thread(work, is_cancelled=stop.is_set)
    finally:
        stop.set()


def _source(series: Series) -> SourceImages | ConfigError:
    try:
        return SourceImages.read(series.files)
    except ConfigError as error:
        return error


def _read_image(path: Path, stem: str, kind: FileKind, table: Path | None) -> OpenedImage:
    if kind is FileKind.NRRD:
        image = NrrdImage.read(path).volume().stored
    else:
        image = read_image(path)
    volume = replace(Volume.of(image), name=stem)
    found = kind_of_image(image.voxels, path.name, intent=image.intent)
    beside = None if found is ImageKind.IMAGE else table or find_table(path)
    return OpenedImage(volume, found, None if beside is None else read_table(beside))


def _tried(path: Path, name: str, folder: Path) -> Path:
    """The scene of a bundle, unpacked into a folder and read once in another process."""
    with SceneSandbox() as sandbox:
        scene = unpack_bundle(path, folder)
        sandbox.read(scene, name)
    return scene
