"""The view panel: window and level, layout, second image, crosshair, measurements, 3D view."""

from NeuroSAM2Lib.presenters.view_presenter import ViewPresenter
from NeuroSAM2Lib.scene.views.window_level import CT_PRESETS

from NeuroSAM2Web.app_state import AppState
from NeuroSAM2Web.view_tools import ViewTools

AUTO = "auto"
PRESETS = {AUTO: "Automatic", **{preset.name: preset.title for preset in CT_PRESETS}}
RULERS = ("distance", "angle", "region")
HALF = 50


class ViewPanel:
    """One panel.

    Args:
        app_state: Has the presenter, the views and the page.
    """

    def __init__(self, app_state: AppState) -> None:
        self.app_state = app_state
        self.presenter = ViewPresenter(app_state.presenter)
        self.tools = ViewTools(app_state.views, self.presenter, app_state.server, app_state.wake)
        self._opacity = HALF
        app_state.state.update({"layout": "three"})
        app_state.state.change("tool")(self._note_tool)
        self._copy()

    def poll(self) -> bool:
        """Takes in and shows what there is; true while more is expected."""
        self._copy()
        return self.tools.follow(self.app_state.segmentation_node)

    def close(self) -> None:
        """Nothing ends with it but the 3D view's process, for which the app waits."""

    def set_window(self, window: str, level: str) -> None:
        """Numbers were typed."""
        self.presenter.change_window(lambda one: one.set_text(window, level))
        self.app_state.state.update({"window": window, "level": level})
        self.app_state.state.flush()  # so that the field changes where what was typed is not taken
        self.app_state.wake()

    def set_preset(self, name: str) -> None:
        """A preset was chosen."""
        self.presenter.change_window(lambda one: one.set_auto() if name == AUTO else one.set_preset(name))
        self.app_state.wake()

    def invert(self) -> None:
        """Dark and bright are swapped."""
        self.presenter.change_window(lambda one: one.invert())
        self.app_state.wake()

    def set_second(self, node_id: str) -> None:
        """A second image was chosen, or none."""
        node = self.app_state.host.scene.GetNodeByID(node_id) if node_id else None
        self.presenter.show_overlay(node, self._opacity / 100)
        self.app_state.views.compare(node)
        self.app_state.wake()

    def set_second_opacity(self, percent: float) -> None:
        """The second image is so opaque from now on."""
        self._opacity = round(percent)
        self.presenter.show_overlay(self.presenter.overlay.node, percent / 100)
        self.app_state.wake()

    def set_crosshair(self, is_shown: bool) -> None:
        """Shows or hides the crosshair."""
        self.presenter.show_crosshair(is_shown=is_shown)
        self.app_state.wake()

    def measure_object(self) -> None:
        """Says the intensities within the active object on the slice that is looked at."""
        self.presenter.object_values()
        self.app_state.wake()

    def remove_ruler(self, node_id: str) -> None:
        """Removes a measurement."""
        self.presenter.rulers.remove(node_id)
        self.app_state.wake()

    def fit(self) -> None:
        """All views show the whole image again."""
        self.tools.fit()

    def _note_tool(self, **_state: object) -> None:
        if self.app_state.state.tool not in RULERS:
            self.presenter.rulers.cancel()

    def _copy(self) -> None:
        shown = self.presenter.settings
        self.app_state.state.update(
            {
                "window": f"{shown.window:.6g}",
                "level": f"{shown.level:.6g}",
                "is_inverted": shown.is_inverted,
                "second": shown.overlay,
                "second_opacity": round(100 * shown.opacity) if shown.overlay else self._opacity,
                "has_crosshair": shown.has_crosshair,
                "rulers": [{"id": row.node_id, "name": row.name, "text": row.sentence} for row in shown.rulers],
            }
        )
