"""The view panel: window and level, layout, second image, crosshair, measurements, 3D view.

What the view panel looks like.
"""

from NeuroSAM2Lib.presenters.view_presenter import ViewPresenter
from NeuroSAM2Lib.scene.views.image_display import CT_PRESETS
from trame.widgets import html
from trame.widgets import vuetify3 as v3

from NeuroSAM2Web.app_state import AppState
from NeuroSAM2Web.ui.widgets import choices, key_button, section, switch
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


LAYOUTS = (
    ("one", "1", "mdi-square-outline", "One view"),
    ("three", "2", "mdi-view-quilt-outline", "One view of each axis"),
    ("four", "3", "mdi-view-grid-outline", "One view of each axis, and 3D"),
    ("solid", "4", "mdi-cube-outline", "Large 3D view"),
    ("two", "5", "mdi-view-split-vertical", "Second image side by side"),
)
"""Name, key, icon and title of every layout."""
MEASURES = (
    ("distance", "mdi-ruler", "Distance", "Click on both ends"),
    ("angle", "mdi-angle-acute", "Angle", "Click on one side, on the corner, on the other side"),
    ("region", "mdi-ellipse-outline", "Region", "Drag an ellipse: mean, SD, minimum and maximum of the image in it"),
)


def build_view_form(panel: ViewPanel) -> None:
    """All of it."""
    _layout()
    _window(panel)
    _second_image(panel)
    _measures(panel)
    _solid(panel)


def _layout() -> None:
    section("Layout")
    with v3.VBtnToggle(
        v_model=("layout",),
        mandatory=True,
        density="comfortable",
        divided=True,
        variant="outlined",
        classes="w-100 mb-3",
    ):
        for name, key, icon, title in LAYOUTS:
            marks = [f'data-key="{key}"', f'aria-keyshortcuts="{key}"', f'aria-label="{title}"']
            with v3.VBtn(value=name, title=f"{title} ({key})", size="small", raw_attrs=marks, classes="flex-grow-1"):
                v3.VIcon(icon)


def _window(panel: ViewPanel) -> None:
    section("Window and level")
    with html.Div(classes="d-flex ga-2 mb-2"):
        for name, label, arguments in (
            ("window", "Window", "[$event.target.value, level]"),
            ("level", "Level", "[window, $event.target.value]"),
        ):
            v3.VTextField(
                model_value=(name,),
                change=(panel.set_window, arguments),
                label=label,
                density="compact",
                hide_details=True,
                variant="outlined",
                raw_attrs=[f'data-test="{name}"'],
            )
    with html.Div(classes="ns-row align-center"):
        v3.VSelect(
            items=("window_presets", choices(PRESETS)),
            model_value=("''",),
            update_modelValue=(panel.set_preset, "[$event]"),
            label="Preset",
            density="compact",
            hide_details=True,
            variant="outlined",
            raw_attrs=['data-test="preset"'],
        )
        key_button("Invert", "I", click=panel.invert, tip="Swap dark and bright")
        key_button("Fit", "F", click=panel.fit, tip="Show the whole image in all views again")
    switch(
        "Crosshair",
        model_value=("has_crosshair",),
        update_modelValue=(panel.set_crosshair, "[$event]"),
        raw_attrs=['title="Move the pointer with Shift: the other views show the slices through it"'],
    )


def _second_image(panel: ViewPanel) -> None:
    section("Second image")
    v3.VSelect(
        items=("[{ value: '', title: 'None' }, ...volumes.filter(one => one.value !== volume)]",),
        model_value=("second",),
        update_modelValue=(panel.set_second, "[$event]"),
        density="compact",
        hide_details=True,
        variant="outlined",
        raw_attrs=[
            'aria-label="Second image"',
            'title="Shown over the first one, or side by side with it"',
            'data-test="second"',
        ],
    )
    v3.VSlider(
        model_value=("second_opacity",),
        end=(panel.set_second_opacity, "[$event]"),
        disabled=("!second",),
        max=100,
        step=1,
        label="Opacity",
        density="compact",
        hide_details=True,
        color="primary",
        classes="mb-2",
        raw_attrs=['aria-label="Opacity of the second image"'],
    )


def _measures(panel: ViewPanel) -> None:
    section("Measure")
    with html.Div(classes="ns-row"):
        for tool, icon, title, tip in MEASURES:
            with v3.VBtn(
                click=f"tool = tool === '{tool}' ? 'look' : '{tool}'",
                active=(f"tool === '{tool}'",),
                title=tip,
                size="small",
                variant="tonal",
                disabled=("!positions.Red.count",),
                raw_attrs=[f'data-test="{tool}"', f":aria-pressed=\"tool === '{tool}'\""],
            ):
                v3.VIcon(icon, start=True)
                html.Span(title)
    with html.Div(classes="ns-row"):
        key_button(
            "Object on this slice",
            click=panel.measure_object,
            disabled=("!can_outline",),
            tip="Mean, SD, minimum and maximum of the image within the active object on the shown slice",
        )
    with html.Div(
        v_for="row in rulers",
        key="row.id",
        classes="d-flex align-center mb-1",
        raw_attrs=[':data-ruler="row.name"', ':data-text="row.text"'],
    ):
        with html.Div(classes="flex-grow-1"):
            html.Div("{{ row.name }}", classes="text-body-2")
            html.Div("{{ row.text }}", classes="text-caption ns-number")
        v3.VBtn(
            icon="mdi-delete-outline",
            size="x-small",
            variant="text",
            click=(panel.remove_ruler, "[row.id]"),
            raw_attrs=['title="Remove"', ":aria-label=\"'Remove ' + row.name\""],
        )


def _solid(panel: ViewPanel) -> None:
    section("3D view")
    v3.VSlider(
        model_value=("smoothing",),
        end=(panel.tools.smooth, "[$event]"),
        max=100,
        step=5,
        label="Smoothing",
        density="compact",
        hide_details=True,
        color="primary",
        thumb_label=True,
        raw_attrs=['aria-label="Smoothing of surfaces"', 'title="Of the surfaces; the masks stay as they are"'],
    )
    with html.Div(classes="ns-row align-center"):
        html.Div("Surfaces are smoothed by {{ (smoothing / 100).toFixed(2) }}, as Slicer counts", classes="ns-hint")
        key_button("Front", click=panel.tools.frame, tip="Show all objects in 3D, from the front")
