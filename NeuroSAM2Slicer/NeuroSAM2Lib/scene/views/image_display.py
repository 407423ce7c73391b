"""How images are shown in slice views: window and level, and a second image over the first.

Window and level of an image: typed, from presets, found by the image's own values, inverted.
A second image over the first one in slice views, and the outlines and prompts that belong to other images.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import slicer

from NeuroSAM2Core.errors import PromptError
from NeuroSAM2Core.volume.intensity import percentile_window
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.views.slice_views import slice_nodes
from NeuroSAM2Lib.scene.volume_nodes import read_volume

GREY, INVERTED = "vtkMRMLColorTableNodeGrey", "vtkMRMLColorTableNodeInvertedGrey"


@dataclass(frozen=True, slots=True)
class WindowPreset:
    """A window by name."""

    name: str
    title: str
    window: float
    level: float
    """In Hounsfield units."""

    def apply(self, window_level: "WindowLevel") -> None:
        """Shows it."""
        window_level.set(self.window, self.level)


CT_PRESETS = (
    WindowPreset("brain", _("CT brain"), 80, 40),
    WindowPreset("stroke", _("CT stroke"), 40, 40),
    WindowPreset("bone", _("CT bone"), 2000, 500),
)


class WindowLevel:
    """Of one volume, kept in its display node.

    Args:
        volume_node: The volume; gets a display node with the first change where it has none.
    """

    def __init__(self, volume_node: slicer.vtkMRMLScalarVolumeNode) -> None:
        self._node = volume_node

    @property
    def values(self) -> tuple[float, float]:
        """Window and level, in the image's own units."""
        display = self._display()
        return display.GetWindow(), display.GetLevel()

    def set(self, window: float, level: float) -> None:
        """Shows this range.

        Raises:
            PromptError: It is none.
        """
        if not (math.isfinite(window) and math.isfinite(level) and window > 0):
            raise PromptError(
                _("window {window:g} and level {level:g} are no range").format(window=window, level=level),
                hint=_("the window is larger than 0"),
            )
        display = self._display()
        was_modifying = display.StartModify()
        display.SetAutoWindowLevel(False)
        display.SetWindowLevel(window, level)
        display.EndModify(was_modifying)

    def set_text(self, window: str, level: str) -> None:
        """The same, as a person has typed it; with a comma as well as a point.

        Raises:
            PromptError: It is no range.
        """
        try:
            self.set(float(window.replace(",", ".")), float(level.replace(",", ".")))
        except ValueError as error:
            raise PromptError(
                _("window {window!r} and level {level!r} are no numbers").format(window=window, level=level),
                hint=_("type numbers such as 80 and 40"),
            ) from error

    def set_auto(self) -> None:
        """The range of nearly all of the image's own values."""
        found = percentile_window(read_volume(self._node).voxels)
        self.set(max(found.high - found.low, 1e-6), (found.high + found.low) / 2)

    def set_preset(self, name: str) -> None:
        """One of `CT_PRESETS`."""
        next(preset for preset in CT_PRESETS if preset.name == name).apply(self)

    @property
    def is_inverted(self) -> bool:
        """High values are dark."""
        return bool(self._display().GetColorNodeID() == INVERTED)

    def invert(self) -> None:
        """Swaps dark and bright."""
        self._display().SetAndObserveColorNodeID(GREY if self.is_inverted else INVERTED)

    def _display(self) -> slicer.vtkMRMLScalarVolumeDisplayNode:
        if self._node.GetDisplayNode() is None:
            self._node.CreateDefaultDisplayNodes()
        return self._node.GetDisplayNode()


PROMPT_VOLUME, PROMPT_SEGMENTATION = "NeuroSAM2.volume", "NeuroSAM2.segmentation"
"""The references of a prompt node to its image and segmentation; see `PromptNodes`."""


class ImageOverlay:
    """The second image of all slice views of a scene.

    Args:
        scene: The scene.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene

    @property
    def node(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        """The image; None if there is none."""
        composite = next(self._composites(), None)
        return None if composite is None else self._scene.GetNodeByID(composite.GetForegroundVolumeID() or "")

    @property
    def opacity(self) -> float:
        """0 to 1."""
        composite = next(self._composites(), None)
        return 0.0 if composite is None else float(composite.GetForegroundOpacity())

    def show(self, node: slicer.vtkMRMLScalarVolumeNode | None, opacity: float) -> None:
        """Shows an image over the first one, or none."""
        for composite in self._composites():
            was_modifying = composite.StartModify()
            composite.SetForegroundVolumeID(None if node is None else node.GetID())
            composite.SetForegroundOpacity(0.0 if node is None else min(1.0, max(0.0, opacity)))
            composite.EndModify(was_modifying)

    def _composites(self) -> Iterator[slicer.vtkMRMLSliceCompositeNode]:
        for view in slice_nodes(self._scene):
            composite = slicer.vtkMRMLSliceLogic.GetSliceCompositeNode(view)
            if composite is not None:
                yield composite


def show_only_what_belongs(
    scene: slicer.vtkMRMLScene,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
    segmentation_node: slicer.vtkMRMLSegmentationNode | None,
) -> None:
    """Hides the segments and prompts of other images and segmentations, and shows those of these again.

    Args:
        scene: The scene.
        volume_node: The chosen image.
        segmentation_node: The chosen segmentation.
    """
    for node in _nodes(scene, "vtkMRMLSegmentationNode"):
        if not node.GetHideFromEditors() and (display := node.GetDisplayNode()) is not None:
            display.SetVisibility2D(node is segmentation_node)
            display.SetVisibility3D(node is segmentation_node)
    chosen = volume_node.GetID(), None if segmentation_node is None else segmentation_node.GetID()
    for node in _nodes(scene, "vtkMRMLMarkupsNode"):
        owners = node.GetNodeReferenceID(PROMPT_VOLUME), node.GetNodeReferenceID(PROMPT_SEGMENTATION)
        if (display := node.GetDisplayNode()) is not None and any(owners):
            display.SetVisibility2D(owners == chosen)


def _nodes(scene: slicer.vtkMRMLScene, kind: str) -> Iterator[slicer.vtkMRMLDisplayableNode]:
    found = scene.GetNodesByClass(kind)
    for number in range(found.GetNumberOfItems()):
        yield found.GetItemAsObject(number)
