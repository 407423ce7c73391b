"""Opening and saving: a file becomes what is worked on, and what is worked on becomes files. MRML on the loop, reading and packing beside it."""

import asyncio
from collections.abc import Callable
from enum import Enum
from pathlib import Path

import slicer
from NeuroSAM2MRML.headless import HeadlessApplication
from NeuroSAM2MRML.scene.bundle import check_bundle
from NeuroSAM2MRML.scene.file_kinds import FileKind, kind_of, stem_of
from NeuroSAM2MRML.scene.files import (
    add_volume,
    labels_on,
    read_nrrd,
    read_segmentation,
    write_segmentation,
    write_whole,
)
from NeuroSAM2MRML.session.sidecar import write_sidecar
from NeuroSAM2MRML.workplace.panel_memory import PanelMemory
from NeuroSAM2MRML.workplace.workplace import Workplace

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.volume import Volume

Choose = Callable[[slicer.vtkMRMLScalarVolumeNode | None, slicer.vtkMRMLSegmentationNode | None], None]


class Target(Enum):
    """What is saved, by the ending of its file."""

    NIFTI = ".nii.gz"
    SEGMENTATION = ".seg.nrrd"
    SCENE = ".mrb"


class FileDesk:
    """One for the app.

    Args:
        host: Has the scene.
        workplace: Has the session.
        choose: Puts a volume and a segmentation to work and shows them; a new segmentation where it is None.
    """

    def __init__(self, host: HeadlessApplication, workplace: Workplace, choose: Choose) -> None:
        self.host, self.workplace, self._choose = host, workplace, choose
        self._lock = asyncio.Lock()

    async def open(self, path: Path, name: str) -> None:
        """Opens a file; what was open stays in the scene, unless the file is a scene of its own.

        Args:
            path: Where it is.
            name: What the person calls it.

        Raises:
            NeuroSAM2Error: It cannot be read, or does not go with what is open.
        """
        kind = kind_of(name)
        async with self._lock:
            if kind is FileKind.NIFTI:
                volume = await asyncio.to_thread(Volume.read, path)
                self._choose(add_volume(self.host.scene, volume, stem_of(name)), None)
            elif kind is FileKind.NRRD:
                self._choose(read_nrrd(self.host.scene, path, stem_of(name)), None)
            elif kind is FileKind.SEGMENTATION:
                self._open_segmentation(path, stem_of(name))
            else:
                await asyncio.to_thread(check_bundle, path, path.parent)
                self._open_scene(path)

    async def save(self, target: Target, path: Path) -> list[Path]:
        """Writes what is worked on; beside a segmentation, what led to it.

        Args:
            target: What.
            path: Where to; its name ends as the target says.

        Returns:
            The files.

        Raises:
            NeuroSAM2Error: There is nothing to save, or it cannot be written there.
        """
        async with self._lock:
            if target is Target.SCENE:
                write_whole(path, self._write_scene)
                return [path]
            volume_node, segmentation_node = self._chosen()
            if target is Target.NIFTI:
                labels = labels_on(segmentation_node, volume_node)
                await asyncio.to_thread(labels.write, path)
            else:
                write_segmentation(segmentation_node, path)
            return [path, *self._methods_beside(path)]

    @property
    def has_work(self) -> bool:
        """Something was outlined that opening a scene would take away."""
        session = self.workplace.session
        return session is not None and any(record.prompts.planes for record in session.desk.records.values())

    def name(self, target: Target) -> str:
        """A name for the file."""
        memory = PanelMemory(self.host.scene)
        volume = memory.volume_node
        stem = "scene" if volume is None else volume.GetName()
        return f"{stem}{'' if target is Target.SCENE else ' segmentation'}{target.value}".replace("/", "-")

    def _chosen(self) -> tuple[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSegmentationNode]:
        memory = PanelMemory(self.host.scene)
        if memory.volume_node is None or memory.segmentation_node is None:
            raise DataError("there is no segmentation to save", hint="open an image and outline something first")
        return memory.volume_node, memory.segmentation_node

    def _open_segmentation(self, path: Path, name: str) -> None:
        volume = PanelMemory(self.host.scene).volume_node
        if volume is None:
            raise DataError(f"{path.name} is a segmentation without an image", hint="open its image first")
        self._choose(volume, read_segmentation(self.host.scene, path, name))

    def _open_scene(self, path: Path) -> None:
        self.workplace.select(None, None)
        scene = self.host.scene
        scene.Clear(0)
        try:
            self.host.load(path)
        finally:
            memory = PanelMemory(scene)
            volume = memory.volume_node or scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
            segmentation = memory.segmentation_node or scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
            self._choose(volume, segmentation)

    def _write_scene(self, path: Path) -> bool:
        self.host.save(path)
        return True

    def _methods_beside(self, path: Path) -> list[Path]:
        session = self.workplace.session
        if session is None or session.ended:
            return []
        methods = path.with_name(f"{stem_of(path.name)}.json")
        write_sidecar(session.desk, methods)
        return [methods]
