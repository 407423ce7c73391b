"""The segmentation panel: buttons call the workplace, the workplace's view is copied into the page's state. The twin of Slicer's."""

from collections.abc import Callable

from NeuroSAM2MRML.session.controller import SessionController
from NeuroSAM2MRML.view_state import Activity
from NeuroSAM2MRML.workplace.panel_memory import PanelMemory
from NeuroSAM2MRML.workplace.state_line import Fix
from trame.widgets import html
from trame.widgets import vuetify3 as v3

from NeuroSAM2Core.volume import Direction
from NeuroSAM2Web.desk import Desk
from NeuroSAM2Web.segment_state import segment_state
from NeuroSAM2Web.widgets import key_button

QUIET = (Activity.READY, Activity.ENDED)
DIRECTIONS = {Direction.BOTH: "Both ways", Direction.UP: "Upwards", Direction.DOWN: "Downwards"}
TOOLS = (
    ("positive", "Add", "P", "mdi-plus-circle-outline", "Click on what belongs to the object", "success"),
    ("negative", "Remove", "N", "mdi-minus-circle-outline", "Click on what does not belong to the object", "error"),
    ("box", "Box", "B", "mdi-vector-square", "Drag a box around the object", "warning"),
)


class SegmentPanel:
    """One panel.

    Args:
        desk: Has the workplace, the views and the page.
    """

    name, title, icon = "segment", "Segment", "mdi-brain"

    def __init__(self, desk: Desk) -> None:
        self.desk, self.workplace = desk, desk.workplace
        desk.state.update({"tool": "look", "direction": Direction.BOTH.value, "is_whole": True, "first": 0, "last": 0})
        self._copy()

    def poll(self) -> bool:
        """Takes in and shows what there is; true while more is expected."""
        self.workplace.poll()
        return self._copy()

    def close(self) -> None:
        """Ends the session and the engine."""
        self.workplace.close()

    def restore(self) -> None:
        """Shows what the scene remembers of how propagation was asked for."""
        memory = PanelMemory(self.desk.host.scene)
        first, last = memory.slice_range or (0, 0)
        self.desk.state.update(
            {"direction": memory.direction.value, "is_whole": memory.slice_range is None, "first": first, "last": last}
        )

    def build(self) -> None:
        """Its part of the page."""
        with v3.VAlert(
            variant="tonal",
            density="compact",
            classes="mb-3",
            raw_attrs=['role="status"', 'data-test="line"'],
            type=("line_is_problem ? 'warning' : 'info'",),
            icon=("line_is_problem ? 'mdi-alert' : 'mdi-information'",),
        ):
            html.Span("{{ line }}")
            with html.Div(v_if="line_button", classes="mt-2"):
                v3.VBtn("{{ line_button }}", size="small", variant="flat", color="primary", click=self._fix)
        self._build_tools()
        self._build_objects()
        self._build_propagation()

    def _build_tools(self) -> None:
        with v3.VBtnToggle(
            model_value=("tool",),
            update_modelValue="tool = $event || 'look'",
            density="comfortable",
            divided=True,
            variant="outlined",
            classes="w-100 mb-2",
            style="height: 40px",
        ):
            for value, text, key, icon, tip, colour in TOOLS:
                with v3.VBtn(
                    value=value,
                    title=tip,
                    disabled=("!can_prompt",),
                    color=colour,
                    classes="flex-grow-1",
                    size="small",
                    raw_attrs=[f'data-key="{key}"', f'aria-keyshortcuts="{key}"'],
                ):
                    v3.VIcon(icon, start=True)
                    html.Span(text)
                    html.Kbd(key, classes="ns-key")
        with html.Div(classes="d-flex ga-1 mb-3"):
            key_button(
                "Undo",
                "Ctrl+Z",
                click=self._does(lambda session: session.undo()),
                disabled=("!can_undo",),
                classes="flex-grow-1",
                tip="Take the last step back",
            )
            key_button(
                "Redo",
                "Ctrl+Y",
                click=self._does(lambda session: session.redo()),
                disabled=("!can_redo",),
                classes="flex-grow-1",
                tip="Bring back what was taken back",
            )

    def _build_objects(self) -> None:
        with html.Div(classes="d-flex align-center mb-1"):
            html.Div("Objects", classes="text-subtitle-2 flex-grow-1")
            key_button(
                "New",
                "O",
                click=self._does(lambda session: session.next_object()),
                disabled=("!can_prompt",),
                tip="Prompts go to a new object from now on",
            )
        html.Div(
            "Begins with your first click.", v_if="!objects.length", classes="text-body-2 text-medium-emphasis mb-3"
        )
        with (
            v3.VList(
                v_if="objects.length",
                density="compact",
                classes="py-0 mb-2",
                border=True,
                rounded=True,
                style="max-height: 168px; overflow-y: auto",
            ),
            v3.VListItem(
                v_for="row in objects",
                key="row.id",
                active=("row.is_active",),
                click=(self._choose, "[row.id]"),
                color="primary",
                raw_attrs=[
                    ':data-object="row.name"',
                    ':data-ml="row.ml"',
                    ':data-done="row.done"',
                    ':data-confirmed="row.confirmed"',
                    ':data-prompts="row.prompts"',
                    ':aria-current="row.is_active"',
                ],
            ),
        ):
            with html.Div(classes="d-flex align-center"):
                html.Span(classes="ns-swatch", style=("'background:' + row.colour",))
                html.Span("{{ row.name }}", classes="text-body-2 flex-grow-1")
                html.Span(
                    "{{ row.ml === null ? '' : row.ml.toFixed(2) + ' mL' }}", classes="text-body-2 font-weight-medium"
                )
            html.Div("{{ row.done }} done, {{ row.confirmed }} confirmed", classes="text-caption text-medium-emphasis")
        with html.Div(classes="d-flex ga-1 mb-3"):
            key_button(
                "Use mask",
                "M",
                click=self._use_mask,
                disabled=("!can_outline",),
                classes="flex-grow-1",
                tip="Make the mask on this slice the prompt, as it is",
            )
            key_button(
                "Clear",
                "",
                click=self._does(lambda session: session.clear()),
                disabled=("!can_clear",),
                classes="flex-grow-1",
                tip="Take all prompts and masks of this object away",
            )

    def _build_propagation(self) -> None:
        html.Div("Propagate", classes="text-subtitle-2 mb-1")
        with html.Div(classes="d-flex ga-1 mb-2"):
            key_button(
                "Propagate",
                "G",
                click=self._does(self._propagate),
                disabled=("!can_propagate",),
                color="primary",
                classes="flex-grow-1",
                tip="Carry the outline through the other slices",
            )
            key_button(
                "Stop",
                "S",
                click=self._does(lambda session: session.stop()),
                disabled=("!can_stop",),
                tip="Stop; what is done stays",
            )
            key_button(
                "Continue",
                "",
                click=self._does(lambda session: session.go_on()),
                disabled=("!can_continue",),
                tip="Go on, or do again what a correction has made out of date",
            )
        with html.Div(v_if="is_under_way", classes="mb-2", raw_attrs=['role="status"', 'data-test="progress"']):
            v3.VProgressLinear(
                model_value=("percent",), indeterminate=("percent === 0",), height=6, color="primary", rounded=True
            )
            html.Div("{{ pace }}", classes="text-caption mt-1")
        with html.Div(classes="d-flex ga-2 align-center mb-1"):
            v3.VSelect(
                items=("directions", [{"title": title, "value": way.value} for way, title in DIRECTIONS.items()]),
                model_value=("direction",),
                update_modelValue=(self._set_direction, "[$event]"),
                label="Direction",
                density="compact",
                hide_details=True,
                variant="outlined",
                style="max-width: 150px",
            )
            v3.VCheckbox(
                model_value=("is_whole",),
                update_modelValue=(self._set_whole, "[$event]"),
                label="All slices",
                density="compact",
                hide_details=True,
            )
        with html.Div(v_if="!is_whole", classes="d-flex ga-2 mb-2"):
            for field, label in (("first", "From slice"), ("last", "To slice")):
                v3.VTextField(
                    model_value=(field,),
                    change=(self._set_end, f"['{field}', $event.target.value]"),
                    label=label,
                    type="number",
                    min=0,
                    max=("num_slices - 1",),
                    density="compact",
                    hide_details=True,
                    variant="outlined",
                )
        with html.Div(classes="d-flex ga-1 mt-2"):
            key_button(
                "Confirm slice",
                "C",
                click=self._do(self.workplace.confirm_shown),
                disabled=("!can_outline",),
                classes="flex-grow-1",
                tip="This slice is right: keep it as it is",
            )
            key_button(
                "Next doubtful",
                "D",
                click=self._do(self.workplace.go_to_next_doubtful),
                disabled=("!can_outline",),
                classes="flex-grow-1",
                tip="Go to the next slice that the model is not sure of",
            )

    def _copy(self) -> bool:
        view = self.workplace.view()
        self.desk.state.update(segment_state(view))
        if not view.session.can_prompt:
            self.desk.state.tool = "look"
        return view.session.activity not in QUIET

    def _does(self, action: Callable[[SessionController], object]) -> Callable[[], None]:
        """A button's function: the action, then what came of it."""
        return self._do(lambda: self.workplace.act(action))

    def _do(self, action: Callable[[], None]) -> Callable[[], None]:
        def pressed() -> None:
            action()
            self.desk.wake()

        return pressed

    def _propagate(self, session: SessionController) -> None:
        memory = PanelMemory(self.desk.host.scene)
        first, last = memory.slice_range or (None, None)
        session.propagate(first=first, last=last, direction=memory.direction)

    def _choose(self, segment_id: str) -> None:
        self.workplace.act(lambda session: session.choose(segment_id))
        self.desk.wake()

    def _use_mask(self) -> None:
        active = next((row for row in self.workplace.view().session.objects if row.is_active), None)
        if active is not None:
            self.workplace.use_mask(active.segment_id)
        self.desk.wake()

    def _set_direction(self, value: str) -> None:
        PanelMemory(self.desk.host.scene).direction = Direction(value)
        self.restore()

    def _set_whole(self, is_whole: bool) -> None:
        last = max(0, len(self.workplace.view().cells) - 1)
        PanelMemory(self.desk.host.scene).slice_range = None if is_whole else (0, last)
        self.restore()

    def _set_end(self, field: str, text: str) -> None:
        memory = PanelMemory(self.desk.host.scene)
        first, last = memory.slice_range or (0, 0)
        if text.strip().isdigit():
            memory.slice_range = (int(text), last) if field == "first" else (first, int(text))
        self.restore()

    def _fix(self) -> None:
        fix = self.workplace.view().state.fix
        if fix is Fix.SAMPLE:
            self.desk.open_example()
        elif fix is Fix.SEGMENTATION:
            self.desk.choose_segmentation(self.workplace.new_segmentation())
        elif fix is Fix.RECOVER:
            self.workplace.recover()
        elif fix is Fix.RETRY:
            self.workplace.act(lambda session: session.retry())
        self.desk.wake()
