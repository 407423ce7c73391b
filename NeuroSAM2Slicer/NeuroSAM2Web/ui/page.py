"""The page: a bar on top, the panels' tabs on the left, the three views.

What the mouse and the keys do, one click away.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import slicer
from NeuroSAM2Lib.headless.views import ORIENTATIONS
from trame.ui.vuetify3 import VAppLayout
from trame.widgets import client, html
from trame.widgets import vuetify3 as v3

from NeuroSAM2Web.app_state import AppState
from NeuroSAM2Web.server.guard import MODULE
from NeuroSAM2Web.ui.file_dialogs import build_buttons, build_dialogs
from NeuroSAM2Web.ui.file_panel import FilePanel
from NeuroSAM2Web.ui.follow_panel import FollowPanel, build_follow
from NeuroSAM2Web.ui.measurements_panel import MeasurementsPanel, build_measurements
from NeuroSAM2Web.ui.segment_panel import quality_strip_style
from NeuroSAM2Web.ui.widgets import slice_bar, slice_view, surface_view
from NeuroSAM2Web.view_tools import NUMBER_3D
from NeuroSAM2Web.views import SECOND, number_of

IN_SHORT = (
    "Press X and drag a box around something in a slice view. Press A: the outline goes through the other slices. Where it is wrong, "
    "press P or N and click; only what depends on that slice is done again."
)
MOUSE = (
    ("Click with Include, Exclude or Box in hand", "Say what belongs to the object"),
    ("Point with Include or Exclude in hand", "See as a line what a click there would give"),
    ("Wheel, or arrow up and down", "The next slice"),
    ("Move with Shift", "Show the slices through the pointer in the other views"),
    ("Drag, with no tool in hand", "Brightness and contrast"),
    ("Drag with the middle button, or with Shift", "Move the picture"),
    ("Drag with the right button, or with Ctrl", "Zoom"),
)
KEYS = (
    ("P, N, X", "Include, Exclude, Box; once more puts the tool down, and so does Escape"),
    ("E", "The next outline that a single click can mean"),
    ("O, M", "Next object, use its mask"),
    ("H", "Hide all objects, or show them again"),
    ("1 to 5", "One view, each axis, with 3D, large 3D, second image side by side"),
    ("I, F", "Invert the image, show all of it"),
    ("A, Q", "Propagate, stop"),
    ("C, D", "Confirm this slice, go to the next doubtful one"),
    ("W, Shift+W, L", "Scribble through what belongs or does not belong to the object; lasso around it"),
    ("Shift+P, Shift+E, Shift+L", "Brush, eraser, scissors"),
    ("K, Shift+K", "Keep or remove the part of the object that is clicked on"),
    ("Shift+F, Shift+N", "Fill between confirmed slices; the object is not on this slice"),
    ("U, J", "Copy what is on this slice to the next one, or to the one before"),
    ("Ctrl+Z, Ctrl+Y", "Undo, redo"),
    ("Ctrl+O, Ctrl+S", "Open, save"),
)


def build_help() -> None:
    """The dialog; shown while `helps` is true."""
    with v3.VDialog(v_model=("helps",), max_width=560), v3.VCard(title="How it works"):
        with v3.VCardText():
            html.P(IN_SHORT, classes="mb-3")
            for title, lines in (("Mouse", MOUSE), ("Keys", KEYS)):
                html.Div(title, classes="ns-section")
                with html.Table(classes="ns-help mb-2"):
                    for cause, effect in lines:
                        with html.Tr():
                            html.Td(cause)
                            html.Td(effect)
        with v3.VCardActions():
            v3.VSpacer()
            v3.VBtn("Close", click="helps = false", color="primary")


TITLE = "NeuroSAM2"
COLOURS = {"Red": "#f34a33", "Green": "#6eb04b", "Yellow": "#edd54c"}
"""Slicer's own."""
WAYS = {"Red": "RLAP", "Green": "RLSI", "Yellow": "APSI"}
"""What lies to the left, right, top and bottom of each view."""
BAR_PX, DRAWER_PX = 52, 340
IS_NARROW = "$vuetify.display.width < 720"
"""Then the panels lie over the views, and a button brings them; the style sheet has the same width."""
THEMES = {  # every text on them has the contrast of WCAG AA, which a test measures in the page
    "dark": {
        "dark": True,
        "colors": {
            "background": "#101316",
            "surface": "#1b1f24",
            "primary": "#4fa8e8",
            "on-primary": "#06121b",
            "include": "#6fd08c",
            "exclude": "#ff8a80",
            "box": "#f5c451",
        },
        "variables": {"medium-emphasis-opacity": 0.76},
    },
    "light": {
        "dark": False,
        "colors": {
            "background": "#dfe3e8",
            "surface": "#ffffff",
            "primary": "#1668b0",
            "include": "#1b6e3c",
            "exclude": "#a61c1c",
            "box": "#7a5200",
        },
        "variables": {"medium-emphasis-opacity": 0.76},
    },
}

LOST = """<div class="ns-lost"><div>
  <h2>This page has lost the app</h2>
  <p>If the app still runs, reload the page: everything is there. If it has ended, start it again and open the address that it prints;
  what was not saved is offered back.</p>
  <button @click="window.location.reload()">Reload</button>
</div></div>"""
"""Shown where the server does not answer any more."""


@dataclass(frozen=True, slots=True)
class Tab:
    """A tab on the left."""

    name: str
    title: str
    icon: str
    build: Callable[[], None]
    """Makes its part of the page."""


def build_page(
    app_state: AppState, tabs: Sequence[Tab], files: FilePanel, measurements: MeasurementsPanel, follow: FollowPanel
) -> None:
    """Makes the page.

    Args:
        app_state: What it shows.
        tabs: The panels, in their order.
        files: Opens and saves.
        measurements: Of all objects.
        follow: Carries objects over from an earlier scan.
    """
    server = app_state.server
    server.enable_module(MODULE)
    server.state.update({"tab": tabs[0].name, "large": "Red", "theme": "dark", "helps": False, "drawer": False})
    server.state.update({"trame__title": TITLE, "trame__template_error": LOST})
    config = {"theme": {"defaultTheme": "dark", "themes": THEMES}}
    with VAppLayout(server, vuetify_config=config, theme=("theme",), classes=("'ns-' + theme",)) as layout:
        client.Style(quality_strip_style())
        _build_bar(app_state, files)
        with v3.VNavigationDrawer(
            model_value=(f"drawer || !({IS_NARROW})",),
            update_modelValue="drawer = $event",
            permanent=(f"!({IS_NARROW})",),
            temporary=(IS_NARROW,),
            width=DRAWER_PX,
        ):
            with v3.VTabs(v_model=("tab",), density="compact", grow=True, color="primary"):
                for tab in tabs:
                    v3.VTab(tab.title, value=tab.name, prepend_icon=tab.icon, size="small")
            v3.VDivider()
            with v3.VWindow(v_model=("tab",)):
                for tab in tabs:
                    with v3.VWindowItem(value=tab.name, eager=True), html.Div(classes="pa-3"):
                        tab.build()
        with v3.VMain(style="height: 100vh"), html.Div(classes=("'ns-views ns-layout-' + layout",)):
            for name in ORIENTATIONS:
                _build_view(name)
            _build_second_view()
            _build_surfaces()
        _build_question(app_state)
        build_help()
        build_dialogs(files, follow.show)
        build_follow(follow)
        build_measurements(measurements)
        layout.flush_content()


def _build_bar(app_state: AppState, files: FilePanel) -> None:
    with v3.VAppBar(flat=True, border=True, height=BAR_PX):
        v3.VBtn(icon="mdi-menu", size="small", click="drawer = !drawer", title="Panels", classes="ns-narrow")
        v3.VIcon("mdi-brain", color="primary", classes="ml-4 mr-2 ns-wide-only")
        html.Div(TITLE, classes="text-h6 mr-5 ns-wide-only")
        _selector(app_state, "Volume", "mdi-cube-outline", "volumes", "volume", app_state.choose_volume)
        _selector(
            app_state,
            "Segmentation",
            "mdi-layers-outline",
            "segmentations",
            "segmentation",
            app_state.choose_segmentation,
        )
        build_buttons(files)
        v3.VBtn(
            "Example",
            prepend_icon="mdi-flask-outline",
            click=app_state.open_example,
            size="small",
            variant="text",
            title="Open the example brain",
        )
        v3.VSpacer()
        v3.VBtn(icon="mdi-help-circle-outline", size="small", click="helps = true", title="Mouse and keys")
        v3.VBtn(
            icon=("theme === 'dark' ? 'mdi-weather-sunny' : 'mdi-weather-night'",),
            size="small",
            click="theme = theme === 'dark' ? 'light' : 'dark'",
            title="Light or dark",
            classes="mr-2",
        )


def _build_view(name: str) -> None:
    label, where = ORIENTATIONS[name], f"positions.{name}"
    quality_strip = f"quality_strip.length && {where}.axis === quality_strip_axis ? quality_strip : []"
    place = f"{where}.count ? 'slice ' + {where}.index + ' of ' + ({where}.count - 1) : ''"
    is_large = f"large === '{name}'"
    with html.Div(
        classes=(f"['ns-pane', {is_large} ? 'ns-large' : '']",),
        style=f"--ns-colour: {COLOURS[name]}",
        v_if=f"{is_large} || !['one', 'two'].includes(layout)",
    ):
        with html.Div(classes="ns-head"):
            html.Span(label)
            html.Span(f"{{{{ {place} }}}}", classes="ns-place ns-number")
            v3.VBtn(
                icon="mdi-arrow-expand",
                size="x-small",
                variant="text",
                density="compact",
                click=f"large = '{name}'",
                v_if=f"!({is_large})",
                title="Make this view the large one",
            )
        with slice_view(
            name=name,
            label=label,
            number=(number_of(name),),
            tool=("tool",),
            about=(place,),
            previews=("previews",),
        ):
            for side, letter in zip(("left", "right", "top", "bottom"), WAYS[name], strict=True):
                html.Span(letter, classes=f"ns-way ns-way-{side}")
        slice_bar(name=name, label=label, index=(f"{where}.index",), count=(f"{where}.count",), cells=(quality_strip,))


def _build_second_view() -> None:
    with html.Div(classes="ns-pane", v_if="layout === 'two'"):
        with html.Div(classes="ns-head"):
            html.Span(
                "{{ volumes.find(one => one.value === second)?.title ?? 'Choose a second image in the panel View' }}"
            )
        slice_view(
            name=SECOND,
            label="Second image",
            number=(number_of(SECOND),),
            tool=("tool",),
            about=("''",),
            previews=("previews",),
        )


def _build_surfaces() -> None:
    with html.Div(classes="ns-pane ns-solid", v_if="['four', 'solid'].includes(layout)"):
        with html.Div(classes="ns-head"):
            html.Span("3D")
        surface_view(number=(NUMBER_3D,))


def _selector(
    app_state: AppState, label: str, icon: str, items: str, chosen: str, choose: Callable[[slicer.vtkMRMLNode], None]
) -> None:
    def on_chosen(node_id: str) -> None:
        choose(app_state.host.scene.GetNodeByID(node_id))

    v3.VSelect(
        items=(items,),
        model_value=(chosen,),
        update_modelValue=(on_chosen, "[$event]"),
        prepend_inner_icon=icon,
        density="compact",
        hide_details=True,
        variant="solo-filled",
        flat=True,
        style="max-width: 250px",
        classes="mr-2 ns-selector",
        raw_attrs=[f'aria-label="{label}"', f'title="{label}"'],
    )


def _build_question(app_state: AppState) -> None:
    def answer(is_yes: bool) -> None:
        app_state.host.answer(is_yes=is_yes)
        app_state.wake()

    with v3.VDialog(model_value=("!!question",), max_width=480, persistent=True), v3.VCard():
        v3.VCardText("{{ question }}")
        with v3.VCardActions():
            v3.VSpacer()
            v3.VBtn("No", click=(answer, "[false]"))
            v3.VBtn("Yes", click=(answer, "[true]"), color="primary", variant="flat")
