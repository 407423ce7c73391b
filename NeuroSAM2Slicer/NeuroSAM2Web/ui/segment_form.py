"""What the segmentation panel looks like."""

from collections.abc import Callable

from NeuroSAM2Lib.presenters.segment_view_model import LEGEND
from NeuroSAM2Lib.presenters.tools import DRAWN_PROMPTS, PAINT_TOOLS, PART_TOOLS, REPAIRS, SCOPES, ToolButton
from NeuroSAM2Lib.scene.segments.segment_display import Fill
from NeuroSAM2Lib.segmentation.objects.scene_objects import MAX_NAME_LENGTH
from trame.widgets import html
from trame.widgets import vuetify3 as v3

from NeuroSAM2Core.volume import Direction
from NeuroSAM2Web.ui.segment_panel import SegmentPanel
from NeuroSAM2Web.ui.widgets import choices, key_button, progress, section, switch

DIRECTIONS = {Direction.BOTH.value: "Both ways", Direction.UP.value: "Up", Direction.DOWN.value: "Down"}
FILLS = {Fill.BOTH.value: "Fill and outline", Fill.FILL.value: "Fill", Fill.OUTLINE.value: "Outline"}
STATES = {"auto": "Automatic", "on": "On", "off": "Off"}
SWITCHES = (
    ("crops", "Crops around small objects", "Show the model a part of the slice around a small object"),
    ("carries_boxes", "Boxes from slice to slice", "Give the box of each outline to the model on the next slice"),
    ("ends_by_shape", "End by size and quality", "End an object also where its outline becomes small or poor"),
    ("use_appearance_model", "Appearance", "Keep other slices to what looks like the object where you clicked"),
)
RENAME_BEGINS = ('@dblclick="renaming = row.id"', 'title="Double-click to rename"')
RENAME_ENDS = (
    'aria-label="Name"',
    '@vue:mounted="({ el }) => el.select()"',
    "@click.stop",
    "@keydown.stop",
    '@keydown.enter="$event.target.blur()"',
    '@keydown.esc="$event.target.value = row.name; $event.target.blur()"',
    "@blur=\"renaming = ''\"",
)
"""Enter and a click elsewhere take the name that was typed; Escape keeps the old one."""
APART = ("@click.stop", "@keydown.enter.stop", "@keydown.space.stop")
"""Of what can be pressed within a row, so that the row is not chosen by that."""
TOOLS = (
    ("positive", "Include", "P", "mdi-plus-circle-outline", "Click on what belongs to the object", "include"),
    ("negative", "Exclude", "N", "mdi-minus-circle-outline", "Click on what does not belong to the object", "exclude"),
    (
        "box",
        "Box",
        "X",
        "mdi-vector-square",
        "Drag a box around the object in a slice view. The best way to begin.",
        "box",
    ),
)


def build_segment_form(panel: SegmentPanel) -> None:
    """All of it, from the state line down."""
    _status_bar(panel)
    _tools(panel)
    _objects(panel)
    _propagation(panel)
    _review(panel)
    with v3.VExpansionPanels(variant="accordion", flat=True, classes="mt-3"):
        _repair(panel)
        _cleanup(panel)
        _advanced(panel)


def _status_bar(panel: SegmentPanel) -> None:
    with v3.VAlert(
        variant="tonal",
        density="compact",
        classes="ns-line mb-3",
        raw_attrs=['role="status"', 'data-test="line"'],
        type=("line_is_problem ? 'warning' : 'info'",),
        icon=("line_is_problem ? 'mdi-alert' : 'mdi-information-outline'",),
    ):
        html.Span("{{ line }}")
        with html.Div(v_if="line_button", classes="mt-2"):
            v3.VBtn("{{ line_button }}", size="small", variant="flat", color="primary", click=panel.fix)


def _tools(panel: SegmentPanel) -> None:
    section("Outline")
    with v3.VBtnToggle(
        model_value=("tool",),
        update_modelValue="tool = $event || 'look'",
        density="comfortable",
        divided=True,
        variant="outlined",
        classes="ns-tools w-100 mb-2",
    ):
        for value, text, key, icon, tip, colour in TOOLS:
            with v3.VBtn(
                value=value,
                title=tip,
                disabled=("!can_prompt",),
                base_color=colour,
                color=colour,
                size="small",
                raw_attrs=[f'data-key="{key}"', f'aria-keyshortcuts="{key}"'],
            ):
                v3.VIcon(icon, start=True)
                html.Span(text)
                html.Kbd(key, classes="ns-key")
    with html.Div(classes="ns-row"):
        key_button(
            "Undo",
            "Ctrl+Z",
            icon="mdi-undo",
            click=panel.does(lambda session: session.undo()),
            disabled=("!can_undo",),
            tip=("undo_tip",),
        )
        key_button(
            "Redo",
            "Ctrl+Y",
            icon="mdi-redo",
            click=panel.does(lambda session: session.redo()),
            disabled=("!can_redo",),
            tip="Bring back what was undone",
        )
    with html.Div(classes="ns-row"):
        key_button(
            "{{ reading_title }}",
            "E",
            icon="mdi-layers-search-outline",
            click=panel.do(panel.presenter.next_reading),
            disabled=("!can_read",),
            tip="A single click can mean the part or the whole. Show the next outline it can mean; a box or one more click settles it.",
        )

    _tool_row(DRAWN_PROMPTS, "can_prompt")
    switch(
        "Hold answers",
        model_value=("is_held",),
        update_modelValue=(panel.hold, "[$event]"),
        disabled=("!can_prompt",),
        raw_attrs=[
            'title="Place several clicks, boxes, scribbles and lassos before the model answers: it does once this is off again, '
            'or when you propagate"'
        ],
    )
    switch(
        "Preview while pointing",
        v_model=("previews",),
        raw_attrs=['title="Show as a line what a click would give, while you point with Include or Exclude"'],
    )


def _tool_row(tools: tuple[ToolButton, ...], can_use: str) -> None:
    """Buttons that take a tool that is drawn with, or put it down.

    Args:
        tools: The tools.
        can_use: The page's state that says whether they can be taken.
    """
    with html.Div(classes="ns-row"):
        for one in tools:
            key_button(
                one.title,
                one.key,
                tip=one.tip,
                click=f"tool = tool === '{one.tool.value}' ? 'look' : '{one.tool.value}'",
                raw_marks=[f":{name}=\"tool === '{one.tool.value}'\"" for name in ("active", "aria-pressed")],
                disabled=(f"!{can_use}",),
            )


def _objects(panel: SegmentPanel) -> None:
    section("Objects")
    html.Div("The first one begins with your first click.", v_if="!objects.length", classes="ns-hint mb-2")
    with v3.VList(
        v_if="objects.length || others.length",
        density="compact",
        classes="ns-objects py-0 mb-2",
        border=True,
        rounded=True,
    ):
        _object_rows(panel)
        _other_rows(panel)
    with html.Div(classes="ns-row"):
        key_button(
            "Next object",
            "O",
            click=panel.does(lambda session: session.next_object()),
            disabled=("!can_prompt",),
            tip="Begin another object, in a segment of its own",
        )
        key_button(
            "Use mask",
            "M",
            click=panel.use_mask,
            disabled=("!can_outline",),
            tip="Take what the object shows on this slice as it is, and go on from there",
        )
        key_button(
            "Clear",
            click=panel.does(lambda session: session.clear()),
            disabled=("!can_clear",),
            tip="Take all clicks and the whole outline of this object away. Undo brings them back.",
        )
    _display(panel)


def _object_rows(panel: SegmentPanel) -> None:
    marks = [f':data-{name}="row.{name}"' for name in ("ml", "done", "confirmed", "prompts")]
    with (
        v3.VListItem(
            v_for="row in objects",
            key="row.id",
            active=("row.is_active",),
            click=(panel.choose, "[row.id]"),
            raw_attrs=[':data-object="row.name"', ':aria-current="row.is_active"', *marks],
        ),
        html.Div(classes="d-flex align-center flex-wrap"),
    ):
        html.Input(
            type="color",
            classes="ns-swatch",
            value=("row.colour",),
            change=(panel.recolour, "[row.id, $event.target.value]"),
            raw_attrs=[
                *APART,
                'title="Another colour"',
                ":aria-label=\"'Colour of ' + row.name\"",
            ],
        )
        with html.Div(classes="flex-grow-1 ns-name"):
            html.Div("{{ row.name }}", classes="text-body-2", v_if="renaming !== row.id", raw_attrs=RENAME_BEGINS)
            html.Input(
                v_else=True,
                classes="text-body-2",
                value=("row.name",),
                maxlength=MAX_NAME_LENGTH,
                change=(panel.rename, "[row.id, $event.target.value]"),
                raw_attrs=RENAME_ENDS,
            )
        html.Span(
            "{{ row.ml === null ? '' : row.ml.toFixed(2) + ' mL' }}", classes="text-body-2 ns-number text-no-wrap"
        )
        _row_switch("shown", "mdi-eye-outline", "mdi-eye-off-outline", "Hide", "Show", panel.show)
        _row_switch("locked", "mdi-lock", "mdi-lock-open-variant-outline", "Unlock", "Lock", panel.lock)
        _row_menu(panel)
        html.Div(
            "{{ row.done }} slices done, {{ row.prompted }} prompted, {{ row.confirmed }} confirmed",
            classes="text-caption text-medium-emphasis w-100 ns-below-name",
        )


def _row_switch(
    name: str, icon_on: str, icon_off: str, tip_on: str, tip_off: str, change: Callable[[str, bool], None]
) -> None:
    """A button of a row for what is on or off.

    Args:
        name: Of it, as in `row.is_shown`.
        icon_on: While it is on.
        icon_off: While it is off.
        tip_on: What the button does while it is on.
        tip_off: What it does while it is off.
        change: Called with the segment, and whether it shall be on.
    """
    field = f"row.is_{name}"
    v3.VBtn(
        icon=(f"{field} ? '{icon_on}' : '{icon_off}'",),
        size="x-small",
        variant="text",
        click=(change, f"[row.id, !{field}]"),
        raw_attrs=[
            *APART,
            f'data-test="{name}"',
            f":title=\"{field} ? '{tip_on}' : '{tip_off}'\"",
            f':aria-pressed="{field}"',
        ],
    )


def _row_menu(panel: SegmentPanel) -> None:
    """What can be done to one object, behind three dots."""
    with v3.VBtn(
        icon="mdi-dots-vertical",
        size="x-small",
        variant="text",
        raw_attrs=[*APART, 'title="More"', 'data-test="more"'],
    ):
        v3.VIcon("mdi-dots-vertical")
        with v3.VMenu(activator="parent"), v3.VList(density="compact"):
            v3.VListItem("Rename", click="renaming = row.id")
            v3.VListItem("Show only this", click=(panel.show_only, "[row.id]"))
            v3.VListItem("Duplicate", click=(panel.duplicate, "[row.id]"))
            v3.VListItem("Move up", click=(panel.move, "[row.id, -1]"))
            v3.VListItem("Move down", click=(panel.move, "[row.id, 1]"))
            v3.VListItem("Delete", click=(panel.delete, "[row.id]"))
            with html.Template(v_for="other in objects.filter(one => one.id !== row.id)", key="other.id"):
                v3.VListItem("Merge into {{ other.name }}", click=(panel.merge, "[row.id, other.id]"))
                v3.VListItem("Subtract {{ other.name }}", click=(panel.subtract, "[row.id, other.id]"))


def _display(panel: SegmentPanel) -> None:
    """How all objects are shown."""
    with html.Div(classes="ns-row align-center"):
        key_button(
            "{{ is_hidden ? 'Show all' : 'Hide all' }}",
            "H",
            click=panel.toggle_all,
            disabled=("!objects.length",),
            tip="Hide all objects, or show them again",
        )
        v3.VSelect(
            items=("fills", choices(FILLS)),
            model_value=("fill",),
            update_modelValue=(panel.set_fill, "[$event]"),
            disabled=("!objects.length",),
            density="compact",
            hide_details=True,
            variant="outlined",
            raw_attrs=['aria-label="Fill or outline"', 'title="What the views show of all objects"'],
        )
    v3.VSlider(
        model_value=("opacity",),
        end=(panel.set_opacity, "[$event]"),
        disabled=("!objects.length",),
        max=100,
        step=1,
        label="Opacity",
        density="compact",
        hide_details=True,
        classes="mb-2",
    )


def _other_rows(panel: SegmentPanel) -> None:
    """Segments of the person's own."""
    with (
        v3.VListItem(
            v_for="row in others",
            key="row.id",
            click=(panel.choose, "[row.id]"),
            raw_attrs=[':data-segment="row.name"', 'title="Go on with this segment as an object"'],
        ),
        html.Div(classes="d-flex align-center"),
    ):
        html.Span(classes="ns-swatch", style=("'background:' + row.colour",))
        html.Div("{{ row.name }}", classes="text-body-2 flex-grow-1")
        html.Span("segment", classes="text-caption text-medium-emphasis")


def _propagation(panel: SegmentPanel) -> None:
    section("Propagate")
    with html.Div(classes="ns-row"):
        key_button(
            "Propagate",
            "A",
            click=panel.do(panel.presenter.propagate),
            disabled=("!can_propagate",),
            color="primary",
            variant="flat",
            tip="Carry the outline through the other slices. Slices that you confirmed stay as they are.",
        )
        key_button(
            "Stop",
            "Q",
            click=panel.does(lambda session: session.stop()),
            disabled=("!can_stop",),
            tip="Stop after the slice that is being segmented. What is done stays.",
        )
        key_button(
            "Continue",
            click=panel.do(panel.presenter.resume),
            disabled=("!can_continue",),
            tip="Go on where you stopped, and do again what a correction has made out of date",
        )
    with html.Div(classes="ns-row"):
        key_button(
            "One more slice",
            click=panel.do(panel.presenter.extend),
            disabled=("!can_extend",),
            tip="Carry the outline one slice beyond the slices where it has ended, in the direction chosen below",
        )
    with html.Div(v_if="is_under_way", classes="mb-2", raw_attrs=['role="status"', 'data-test="progress"']):
        progress("percent", is_unknown="percent === 0")
        html.Div("{{ pace }}", classes="text-caption mt-1 ns-number")
    with html.Div(classes="d-flex ga-3 align-center mb-2"):
        v3.VSelect(
            items=("directions", choices(DIRECTIONS)),
            model_value=("direction",),
            update_modelValue=(panel.set_direction, "[$event]"),
            label="Direction",
            density="compact",
            hide_details=True,
            variant="outlined",
        )
        switch("All slices", model_value=("is_whole",), update_modelValue=(panel.set_whole, "[$event]"))
    with html.Div(v_if="!is_whole", classes="d-flex ga-2 mb-2"):
        for field, label in (("first", "From slice"), ("last", "To slice")):
            v3.VTextField(
                model_value=(field,),
                change=(panel.set_end, f"['{field}', $event.target.value]"),
                label=label,
                type="number",
                min=0,
                max=("num_slices - 1",),
                density="compact",
                hide_details=True,
                variant="outlined",
            )


def _review(panel: SegmentPanel) -> None:
    section("Review")
    with html.Div(classes="ns-row"):
        key_button(
            "Confirm slice",
            "C",
            click=panel.do(panel.presenter.confirm_shown),
            disabled=("!can_outline",),
            tip="Accept the outline of the shown slice. It is never overwritten from then on.",
        )
        key_button(
            "Next doubtful",
            "D",
            click=panel.do(panel.presenter.jump_to_next_doubtful),
            disabled=("!can_outline",),
            tip="Go to the next slice that the model is not sure of",
        )
    with html.Div(classes="ns-row"):
        key_button(
            "Measurements",
            icon="mdi-ruler",
            click="trigger('measures')",
            disabled=("!objects.length",),
            tip="Volumes, extents, surfaces and intensities of all objects; comparisons; a report",
        )
    with html.Div(classes="ns-legend", v_if="quality_strip.length"):
        for mark, word in LEGEND:
            with html.Span():
                html.I(classes=f"ns-{mark.name}")
                html.Span(word)


def _repair(panel: SegmentPanel) -> None:
    with v3.VExpansionPanel(title="Repair", raw_attrs=['data-test="repair"']), v3.VExpansionPanelText(eager=True):
        with html.Div(classes="d-flex ga-2 mb-2"):
            v3.VSelect(
                items=("repair_scopes", choices({scope.value: title for scope, title in SCOPES.items()})),
                model_value=("repair_scope",),
                update_modelValue=(panel.set_repair_scope, "[$event]"),
                label="Where",
                density="compact",
                hide_details=True,
                variant="outlined",
            )
            v3.VTextField(
                model_value=("repair_mm",),
                change=(panel.set_repair_length, "[$event.target.value]"),
                label="Length",
                suffix="mm",
                density="compact",
                hide_details=True,
                variant="outlined",
                raw_attrs=['title="How far is grown, shrunk and smoothed, and how wide a small part is"'],
            )
        _tool_row(PAINT_TOOLS, "can_clear")
        with html.Div(classes="d-flex ga-2 mb-2"):
            v3.VTextField(
                model_value=("brush_mm",),
                change=(panel.set_brush_radius, "[$event.target.value]"),
                label="Radius of the brush",
                suffix="mm",
                density="compact",
                hide_details=True,
                variant="outlined",
            )
            switch("Sphere", model_value=("is_sphere",), update_modelValue=(panel.set_sphere, "[$event]"))
        _tool_row(PART_TOOLS, "can_clear")
        with html.Div(classes="ns-row flex-wrap"):
            for one in REPAIRS:
                key_button(
                    one.title,
                    one.key,
                    tip=one.tip,
                    click=(panel.repair, f"['{one.name}']"),
                    disabled=("!can_clear",),
                )


def _cleanup(panel: SegmentPanel) -> None:
    with v3.VExpansionPanel(title="Holes and islands"), v3.VExpansionPanelText():
        with html.Div(classes="d-flex ga-2 mb-2"):
            for field, label, tip in (
                ("hole_mm", "Fill holes up to", "Holes of an outline that are narrower than this are filled"),
                ("island_mm", "Drop islands up to", "Parts of an outline that are narrower than this are removed"),
            ):
                v3.VTextField(
                    model_value=(field,),
                    change=(panel.set_cleanup_size, f"['{field}', $event.target.value]"),
                    label=label,
                    suffix="mm",
                    placeholder="by itself",
                    persistent_placeholder=True,
                    density="compact",
                    hide_details=True,
                    variant="outlined",
                    raw_attrs=[
                        f'title="{tip}. 0 leaves them alone; empty leaves it to the model."',
                        f'data-test="{field}"',
                    ],
                )
        switch(
            "The whole object, too, after Propagate",
            model_value=("is_volume_cleanup",),
            update_modelValue=(panel.set_volume_cleanup, "[$event]"),
        )


def _advanced(panel: SegmentPanel) -> None:
    with v3.VExpansionPanel(title="Advanced"), v3.VExpansionPanelText():
        for name, label, tip in SWITCHES:
            v3.VSelect(
                items=("switch_states", choices(STATES)),
                model_value=(name,),
                update_modelValue=(panel.set_switch, f"['{name}', $event]"),
                label=label,
                density="compact",
                hide_details=True,
                variant="outlined",
                classes="mb-2",
                raw_attrs=[
                    f'title="{tip}. Automatic leaves it to the model; what you have segmented stays."',
                    f'data-test="{name}"',
                ],
            )
