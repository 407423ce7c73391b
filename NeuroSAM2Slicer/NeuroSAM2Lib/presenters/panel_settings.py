"""Settings of the segmentation panel in the scene: the chosen nodes, range, clean-up and engine options.

A script node of its own, one in a scene, saved with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import slicer

from NeuroSAM2Core.decoding import parse_count
from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.legacy import former_name
from NeuroSAM2Core.remote import EngineSwitches
from NeuroSAM2Core.volume import DEFAULT_CLEANUP, Direction, MaskCleanup
from NeuroSAM2Lib.segmentation.repair_actions import Brush, RepairSettings, Scope

TAG = "NeuroSAM2Segment"
VOLUME, SEGMENTATION = "Volume", "Segmentation"
DIRECTION, FIRST, LAST = "Direction", "First", "Last"
SWITCH, ON, OFF = "Switch.", "on", "off"
SWITCHES = tuple(field.name for field in fields(EngineSwitches))
HOLES, ISLANDS, WHOLE = "HolesMm", "IslandsMm", "CleansWhole"
REPAIR_SCOPE, REPAIR_MM = "RepairScope", "RepairMm"
BRUSH_MM, SPHERE = "BrushMm", "BrushIsSphere"


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """The settings at one time."""

    volume_node: slicer.vtkMRMLScalarVolumeNode | None
    segmentation_node: slicer.vtkMRMLSegmentationNode | None
    settings: Mapping[str, str]
    """The node's parameters."""


class PanelSettings:
    """The node of a scene, the parameter node of the segmentation module; made where it is not there yet.

    Args:
        scene: The scene.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        node = scene.GetSingletonNode(TAG, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = scene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
            node.UnRegister(None)
            node.SetSingletonTag(TAG)
            node.SetName(TAG)
            node = scene.AddNode(node)
        if node.GetAttribute("ModuleName") != TAG:  # closing the scene keeps the node, but not its attributes
            node.SetAttribute("ModuleName", TAG)
        self.node: slicer.vtkMRMLScriptedModuleNode = node

    @property
    def volume_node(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The image."""
        return self.node.GetNodeReference(VOLUME)

    @property
    def segmentation_node(self) -> slicer.vtkMRMLSegmentationNode | None:
        """The segmentation."""
        return self.node.GetNodeReference(SEGMENTATION)

    def choose(
        self,
        volume_node: slicer.vtkMRMLScalarVolumeNode | None,
        segmentation_node: slicer.vtkMRMLSegmentationNode | None,
    ) -> None:
        """These are chosen now."""
        for role, node in ((VOLUME, volume_node), (SEGMENTATION, segmentation_node)):
            self.node.SetNodeReferenceID(role, None if node is None else node.GetID())

    @property
    def choices(self) -> Choices:
        """All of it."""
        names = self.node.GetParameterNames()
        return Choices(
            volume_node=self.volume_node,
            segmentation_node=self.segmentation_node,
            settings={name: self.node.GetParameter(name) for name in names},
        )

    @choices.setter
    def choices(self, choices: Choices) -> None:
        self.choose(choices.volume_node, choices.segmentation_node)
        self.node.UnsetAllParameters()
        for name, text in choices.settings.items():
            self.node.SetParameter(name, text)

    @property
    def direction(self) -> Direction:
        """Of propagation."""
        stored = self.node.GetParameter(DIRECTION)
        return Direction(stored) if stored in {one.value for one in Direction} else Direction.BOTH

    @direction.setter
    def direction(self, direction: Direction) -> None:
        self.node.SetParameter(DIRECTION, direction.value)

    @property
    def cleanup(self) -> MaskCleanup:
        """Of masks."""
        try:
            return MaskCleanup(
                hole_mm=self._size(HOLES), island_mm=self._size(ISLANDS), is_whole=bool(self.node.GetParameter(WHOLE))
            )
        except (ValueError, ConfigError):
            return DEFAULT_CLEANUP

    @cleanup.setter
    def cleanup(self, cleanup: MaskCleanup) -> None:
        for name, size in ((HOLES, cleanup.hole_mm), (ISLANDS, cleanup.island_mm)):
            self.node.SetParameter(name, "" if size is None else repr(size))
        self.node.SetParameter(WHOLE, "yes" if cleanup.is_whole else "")

    @property
    def repair(self) -> RepairSettings:
        """Of repairs by hand."""
        scope = self.node.GetParameter(REPAIR_SCOPE)
        try:
            return RepairSettings(
                scope=Scope(scope) if scope else RepairSettings().scope,
                length_mm=self._size(REPAIR_MM) or RepairSettings().length_mm,
            )
        except (ValueError, ConfigError):
            return RepairSettings()

    @repair.setter
    def repair(self, repair: RepairSettings) -> None:
        self.node.SetParameter(REPAIR_SCOPE, repair.scope.value)
        self.node.SetParameter(REPAIR_MM, repr(repair.length_mm))

    @property
    def brush(self) -> Brush:
        """Of painting and rubbing out."""
        try:
            return Brush(
                radius_mm=self._size(BRUSH_MM) or Brush().radius_mm, is_sphere=bool(self.node.GetParameter(SPHERE))
            )
        except (ValueError, ConfigError):
            return Brush()

    @brush.setter
    def brush(self, brush: Brush) -> None:
        self.node.SetParameter(BRUSH_MM, repr(brush.radius_mm))
        self.node.SetParameter(SPHERE, "yes" if brush.is_sphere else "")

    @property
    def switches(self) -> EngineSwitches:
        """What the engine does."""
        stored = {
            name: self.node.GetParameter(SWITCH + name) or self.node.GetParameter(SWITCH + former_name(name))
            for name in SWITCHES
        }
        return EngineSwitches(**{name: text == ON for name, text in stored.items() if text in (ON, OFF)})

    @switches.setter
    def switches(self, switches: EngineSwitches) -> None:
        for name in SWITCHES:
            is_on = getattr(switches, name)
            self.node.SetParameter(SWITCH + name, "" if is_on is None else ON if is_on else OFF)
            if former_name(name) != name:
                self.node.UnsetParameter(SWITCH + former_name(name))

    @property
    def slice_range(self) -> tuple[int, int] | None:
        """First and last slice of propagation; None for all."""
        first, last = (parse_count(self.node.GetParameter(name)) for name in (FIRST, LAST))
        return None if first is None or last is None else (first, last)

    @slice_range.setter
    def slice_range(self, slice_range: tuple[int, int] | None) -> None:
        first, last = ("", "") if slice_range is None else map(str, slice_range)
        self.node.SetParameter(FIRST, first)
        self.node.SetParameter(LAST, last)

    def _size(self, name: str) -> float | None:
        stored = self.node.GetParameter(name)
        return float(stored) if stored else None
