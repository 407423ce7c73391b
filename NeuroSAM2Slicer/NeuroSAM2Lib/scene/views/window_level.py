"""Window and level of an image: typed, from presets, found by the image's own values, inverted."""

import math
from dataclasses import dataclass

import slicer

from NeuroSAM2Core.errors import PromptError
from NeuroSAM2Core.volume.intensity import percentile_window
from NeuroSAM2Lib.i18n import tr as _
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
