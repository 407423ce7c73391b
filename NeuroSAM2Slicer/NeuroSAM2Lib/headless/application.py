"""Slicer's scene and logics without Slicer's application: used by tests, scripts and the browser app.

`HeadlessApplication` sets up what the application would: default nodes, colours, slice orientations, the module logics and the
input and output that scene bundles need.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import slicer
import vtk

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.outputs import check_outputs
from NeuroSAM2Lib.scene.files.bundle import unpack_bundle
from NeuroSAM2Lib.scene.files.packing import pack_bundle
from NeuroSAM2Lib.segmentation.undo import SegmentationHistory


class HeadlessApplication:
    """A scene with Slicer's logics attached; a `Host`.

    Args:
        folder: Where scene bundles are unpacked and journals are kept.
        agrees: The answer to every question.
    """

    def __init__(self, folder: Path, *, agrees: bool = False) -> None:
        self.scene = slicer.vtkMRMLScene()
        self.journal_folder, self._folder = folder / "journals", folder
        self.editor: slicer.vtkMRMLSegmentEditorNode | None = None
        """The Segment Editor's settings, where a script has made some."""
        self._agrees = agrees
        self._histories: dict[str, SegmentationHistory] = {}
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        self.scene.AddNode(crosshair)
        self.logic = slicer.vtkSlicerApplicationLogic()
        self.logic.SetMRMLScene(self.scene)
        self.logic.GetColorLogic().SetMRMLScene(self.scene)
        self.logic.GetColorLogic().AddDefaultColorNodes()
        self.logic.SetModuleLogic("Colors", self.logic.GetColorLogic())
        self.logic.SetSliceLogics(vtk.vtkCollection())
        self.logic.SetViewLogics(vtk.vtkCollection())
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)
        self.segmentations = self._attach(slicer.vtkSlicerSegmentationsModuleLogic(), "Segmentations")
        _unregister_repeated_rules()
        self.markups = self._attach(slicer.vtkSlicerMarkupsLogic(), "Markups")
        self.volumes = self._attach(slicer.vtkSlicerVolumesLogic(), "Volumes")
        self.transforms = self._attach(slicer.vtkSlicerTransformLogic(), "Transforms")
        self._cache = slicer.vtkCacheManager()  # where bundles are packed; nothing that fetches is attached
        self._cache.SetRemoteCacheDirectory(str(folder))
        self.scene.SetCacheManager(self._cache)

    def edit_history(self, segmentation_node: slicer.vtkMRMLSegmentationNode) -> SegmentationHistory:
        """See `Host`."""
        key = segmentation_node.GetID()
        known = self._histories.get(key)
        if known is None or known.history.GetSegmentation() is not segmentation_node.GetSegmentation():
            known = self._histories[key] = SegmentationHistory.of(segmentation_node)
        return known

    def editor_node(self) -> slicer.vtkMRMLSegmentEditorNode | None:
        """See `Host`."""
        return self.editor

    def confirm(self, question: str) -> bool:
        """See `Host`."""
        return self._agrees

    def save(self, path: Path, *, overwrite: bool = False) -> None:
        """Writes the scene: all of it into an .mrb, or an .mrml and the nodes' files beside it.

        Args:
            path: The file.
            overwrite: It, and the nodes' files, may be replaced where they are there.

        Raises:
            DataError: It could not be written, or is there already.
        """
        check_outputs([path], overwrite=overwrite)
        if path.suffix == ".mrb":
            with tempfile.TemporaryDirectory(dir=self._folder, ignore_cleanup_errors=True) as folder:
                self.store(Path(folder) / path.stem)
                pack_bundle(Path(folder) / path.stem, path, overwrite=overwrite)
            return
        self.scene.StartState(
            self.scene.SaveState
        )  # Slicer's own save dialog only notes the time: see `SessionObserver`
        try:
            is_written = self._write(path, overwrite=overwrite)
        finally:
            self.scene.EndState(self.scene.SaveState)
        if not is_written:
            raise DataError(f"the scene could not be written to {path.name}", hint="is there space left on the disk?")

    def store(self, folder: Path) -> None:
        """Writes the scene and the files of its nodes into a new folder, not packed: that is quick. `pack_bundle` makes a bundle of it.

        Raises:
            DataError: It could not be written.
        """
        folder.mkdir()
        packing = [
            storage
            for node in self._stored()
            if (storage := _storage(node)) is not None and storage.GetUseCompression()
        ]
        for storage in packing:
            storage.SetUseCompression(0)
        self.scene.StartState(self.scene.SaveState)
        try:
            is_written = self.scene.SaveSceneToSlicerDataBundleDirectory(disk.as_utf8(folder), None, None)
        finally:
            self.scene.EndState(self.scene.SaveState)
            for storage in packing:
                storage.SetUseCompression(1)
        if not is_written:
            raise DataError("the scene could not be written", hint="is there space left on the disk?")

    def load(self, path: Path) -> None:
        """Adds what a saved scene holds.

        Raises:
            DataError: It could not be read.
        """
        if path.suffix != ".mrb":
            self._import(path)
            return
        with tempfile.TemporaryDirectory(dir=self._folder, ignore_cleanup_errors=True) as folder:
            self.load_unpacked(unpack_bundle(path, Path(folder)))

    def load_unpacked(self, path: Path) -> None:
        """Adds what the scene of an unpacked bundle holds; its files are not needed any more.

        Raises:
            DataError: It could not be read.
        """
        self._import(path)
        for node in _nodes(self.scene, "vtkMRMLStorageNode"):
            if (name := node.GetFileName()) and Path(name).is_relative_to(path.parent):
                node.ResetFileNameList()
                node.SetFileName(Path(name).name)
                node.InvalidateFile()
        self.scene.SetRootDirectory("")
        self.scene.SetURL("")

    def _import(self, path: Path) -> None:
        self.scene.SetURL(disk.as_utf8(path))
        if not self.scene.Import():
            raise DataError(f"the scene {path.name} could not be read")

    def _write(self, path: Path, *, overwrite: bool) -> bool:
        self.scene.SetRootDirectory(disk.as_utf8(path.parent))
        for node in self._stored():
            self._save_node(node, path.parent, overwrite=overwrite)
        return bool(self.scene.Commit(disk.as_utf8(path)))

    def _attach(self, logic: slicer.vtkMRMLAbstractLogic, name: str) -> slicer.vtkMRMLAbstractLogic:
        logic.SetMRMLApplicationLogic(self.logic)
        logic.SetMRMLScene(self.scene)
        self.logic.SetModuleLogic(name, logic)
        return logic

    def _stored(self) -> Iterator[slicer.vtkMRMLStorableNode]:
        for node in _nodes(self.scene, "vtkMRMLStorableNode"):
            if node.GetSaveWithScene() and not node.IsA("vtkMRMLColorNode"):
                yield node

    def _save_node(self, node: slicer.vtkMRMLStorableNode, folder: Path, *, overwrite: bool) -> None:
        storage = _storage(node)
        if storage is None:
            return
        suffix = storage.GetDefaultWriteFileExtension()
        name = disk.file_name(f"{node.GetName()}_{node.GetID()}")
        path = folder / f"{name}.{suffix}"
        check_outputs([path], overwrite=overwrite)
        storage.SetFileName(disk.as_utf8(path))
        if not storage.WriteData(node):
            raise DataError(f"{node.GetName()} could not be written", hint="is there space left on the disk?")


def _storage(node: slicer.vtkMRMLStorableNode) -> slicer.vtkMRMLStorageNode | None:
    """Reads and writes the node; made where it is missing. None for a node that needs none."""
    if node.GetStorageNode() is None:
        node.AddDefaultStorageNode()
    return node.GetStorageNode()


def _unregister_repeated_rules() -> None:
    """Leaves one converter rule of each kind: every logic registers all of them for the process, which makes each conversion slower."""
    factory, kinds = slicer.vtkSegmentationConverterFactory.GetInstance(), set()
    for rule in factory.GetConverterRules():
        if rule.GetClassName() in kinds:
            factory.UnregisterConverterRule(rule)
        kinds.add(rule.GetClassName())


def _nodes(scene: slicer.vtkMRMLScene, kind: str) -> Iterator[slicer.vtkMRMLNode]:
    found = scene.GetNodesByClass(kind)
    for number in range(found.GetNumberOfItems()):
        yield found.GetItemAsObject(number)
