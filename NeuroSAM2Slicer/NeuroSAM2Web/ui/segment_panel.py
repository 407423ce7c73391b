"""The segmentation panel: buttons call the presenter, its view model is copied into the page's state. The twin of Slicer's.

The view model as plain values for the page's state. Pure.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from NeuroSAM2Lib.presenters.panel_settings import SWITCHES, PanelSettings
from NeuroSAM2Lib.presenters.segment_view_model import Mark, SegmentViewModel, StatusAction
from NeuroSAM2Lib.scene.segments.segment_display import Fill
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.object_actions import ObjectActions
from NeuroSAM2Lib.segmentation.repair_actions import Scope
from NeuroSAM2Lib.view_state import ObjectView

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.volume import Direction
from NeuroSAM2Web.app_state import AppState

State = dict[str, object]


def segment_state(view: SegmentViewModel) -> State:
    """The state variables of the segmentation panel."""
    session = view.session
    has_outline = session.can_prompt and bool(session.objects)
    done, total = session.progress or (0, 0)
    return {
        "line": view.state.sentence,
        "line_is_problem": view.state.is_problem,
        "line_button": view.state.button if view.state.fix is not StatusAction.NOTHING else "",
        "activity": session.activity.name.lower(),
        "can_prompt": session.can_prompt,
        "is_held": session.is_held,
        "can_read": view.reading is not None,
        "reading_title": view.reading_title,
        "can_propagate": session.can_propagate,
        "can_extend": session.can_extend,
        "can_stop": session.can_stop,
        "can_continue": session.can_continue,
        "can_clear": session.can_clear,
        "can_undo": session.can_undo,
        "can_redo": session.can_redo,
        "can_outline": has_outline,
        "undo_tip": view.undo_tip,
        "objects": [_row(row, view) for row in session.objects],
        "others": [{"id": one.segment_id, "name": one.name, "colour": _rgb(one.colour)} for one in session.others],
        "opacity": round(100 * view.style.opacity),
        "fill": view.style.fill.value,
        "is_hidden": view.style.is_hidden,
        "is_under_way": session.progress is not None,
        "percent": 100 * done / total if total else 0,
        "pace": view.progress_rate,
        "quality_strip": [[cell.mark.name, cell.sentence] for cell in view.cells] if session.objects else [],
        "quality_strip_axis": "" if view.axis is None else str(view.axis),
        "num_slices": len(view.cells),
    }


def quality_strip_style() -> str:
    """The colours of the quality strip's marks as CSS."""
    return "".join(f".ns-{mark.name}{{background:{_css(mark.value)}}}" for mark in Mark)


def _row(row: ObjectView, view: SegmentViewModel) -> State:
    millilitres = view.volumes_ml.get(row.segment_id)
    return {
        "id": row.segment_id,
        "name": row.name,
        "colour": "#" + bytes(_channels(row.colour)).hex(),
        "is_active": row.is_active,
        "is_shown": row.is_shown,
        "is_locked": row.is_locked,
        "done": row.num_done,
        "prompted": row.num_prompted,
        "confirmed": row.num_confirmed,
        "prompts": row.num_prompts,
        "ml": None if millilitres is None else round(millilitres, 2),
    }


def _rgb(colour: tuple[float, float, float]) -> str:
    return _css(_channels(colour))


def _channels(colour: tuple[float, float, float]) -> tuple[int, ...]:
    """Red, green and blue, 0 to 255, of a colour from 0 to 1."""
    return tuple(min(255, max(0, round(255 * part))) for part in colour)


def _css(colour: tuple[int, ...]) -> str:
    return f"rgb({', '.join(map(str, colour))})"


SWITCH_WORDS = {"auto": None, "on": True, "off": False}
POINT_TOOLS = ("positive", "negative")
HEX_COLOUR = re.compile("#[0-9a-fA-F]{6}")


class SegmentPanel:
    """One panel.

    Args:
        app_state: Has the presenter, the views and the page.
    """

    def __init__(self, app_state: AppState) -> None:
        self.app_state, self.presenter = app_state, app_state.presenter
        app_state.state.update({"tool": "look", "line": "", "previews": True, "renaming": ""})
        self.show_settings()
        self._copy()

    def poll(self) -> bool:
        """Takes in and shows what there is; true while more is expected."""
        self.presenter.poll()
        return self._copy()

    def close(self) -> None:
        """Ends the session and the engine."""
        self.presenter.close()

    def does(self, action: Callable[[SessionController], object]) -> Callable[[], None]:
        """A button's function: the action, then what came of it."""
        return self.do(lambda: self.presenter.act(action))

    def do(self, action: Callable[[], None]) -> Callable[[], None]:
        """The same for what needs no session."""

        def pressed() -> None:
            action()
            self.app_state.wake()

        return pressed

    def choose(self, segment_id: str) -> None:
        """Prompts go to this object from now on."""
        self.presenter.act(lambda session: session.choose(segment_id))
        self.app_state.wake()

    def edit(self, action: Callable[[ObjectActions], object]) -> None:
        """Does something to an object."""
        self.presenter.edit_objects(action)
        self.app_state.wake()

    def rename(self, segment_id: str, text: str) -> None:
        """A name was typed."""
        self.edit(lambda objects: objects.set_name(segment_id, text))

    def recolour(self, segment_id: str, code: str) -> None:
        """A colour was chosen, as #rrggbb; what is none is not taken."""
        if HEX_COLOUR.fullmatch(code):
            red, green, blue = (part / 255 for part in bytes.fromhex(code[1:]))
            self.edit(lambda objects: objects.recolour(segment_id, (red, green, blue)))

    def show(self, segment_id: str, is_shown: bool) -> None:
        """Shows or hides an object."""
        self.edit(lambda objects: objects.display.show(segment_id, is_shown=is_shown))

    def show_only(self, segment_id: str) -> None:
        """Shows no other object, or all."""
        self.edit(lambda objects: objects.display.show_only(segment_id))

    def lock(self, segment_id: str, is_locked: bool) -> None:
        """Locks or unlocks an object."""
        self.edit(lambda objects: objects.lock(segment_id, is_locked=is_locked))

    def delete(self, segment_id: str) -> None:
        """Removes an object."""
        self.edit(lambda objects: objects.delete(segment_id))

    def duplicate(self, segment_id: str) -> None:
        """A new object like this one."""
        self.edit(lambda objects: objects.duplicate(segment_id))

    def merge(self, segment_id: str, into: str) -> None:
        """Adds an object to another one."""
        self.edit(lambda objects: objects.merge(segment_id, into))

    def subtract(self, segment_id: str, other: str) -> None:
        """Takes another object from an object."""
        self.edit(lambda objects: objects.subtract(segment_id, other))

    def move(self, segment_id: str, offset: int) -> None:
        """Moves an object up (-1) or down (1) in the list."""
        self.edit(lambda objects: objects.move(segment_id, offset))

    def set_opacity(self, percent: float) -> None:
        """Of all objects."""
        self.edit(lambda objects: objects.display.set_opacity(percent / 100))

    def set_fill(self, fill: str) -> None:
        """Fill or outline of all objects."""
        self.edit(lambda objects: objects.display.set_fill(Fill(fill)))

    def toggle_all(self) -> None:
        """Hides or shows all objects."""
        self.edit(lambda objects: objects.display.toggle_all())

    def repair(self, name: str) -> None:
        """Repairs the active object."""
        self.presenter.repair(name)
        self.app_state.wake()

    def show_repair(self) -> None:
        """Shows how repairs are done."""
        settings = self._panel_settings.repair
        brush = self._panel_settings.brush
        self.app_state.state.update(
            {
                "repair_scope": settings.scope.value,
                "repair_mm": f"{settings.length_mm:g}",
                "brush_mm": f"{brush.radius_mm:g}",
                "is_sphere": brush.is_sphere,
            }
        )

    def set_brush_radius(self, text: str) -> None:
        """The radius was typed; what is none is not taken."""
        with suppress(ValueError, ConfigError):
            radius_mm = float(text.strip().replace(",", "."))
            self._panel_settings.brush = replace(self._panel_settings.brush, radius_mm=radius_mm)
        self.app_state.state.dirty("brush_mm")
        self.show_repair()

    def set_sphere(self, is_sphere: bool) -> None:
        """The brush paints the slices around, too, or not."""
        self._panel_settings.brush = replace(self._panel_settings.brush, is_sphere=is_sphere)
        self.show_repair()

    def hold(self, is_held: bool) -> None:
        """Prompts wait until they are complete, or no longer."""
        self.presenter.hold(is_held)
        self.app_state.wake()

    def set_repair_scope(self, scope: str) -> None:
        """The whole object or the shown slice."""
        self._panel_settings.repair = replace(self._panel_settings.repair, scope=Scope(scope))
        self.show_repair()

    def set_repair_length(self, text: str) -> None:
        """The length was typed; what is none is not taken."""
        with suppress(ValueError, ConfigError):
            length_mm = float(text.strip().replace(",", "."))
            self._panel_settings.repair = replace(self._panel_settings.repair, length_mm=length_mm)
        self.app_state.state.dirty("repair_mm")
        self.show_repair()

    def use_mask(self) -> None:
        """The active object's mask on the shown slice becomes the prompt there."""
        active = next((row for row in self.presenter.view().session.objects if row.is_active), None)
        if active is not None:
            self.presenter.use_mask(active.segment_id)
        self.app_state.wake()

    def fix(self) -> None:
        """What the button of the state line does."""
        action = self.presenter.do_status_action()
        if action is StatusAction.SAMPLE:
            self.app_state.open_example()
        elif action is StatusAction.SEGMENTATION:
            self.app_state.choose_segmentation(self.presenter.new_segmentation())
        self.app_state.wake()

    def show_range(self) -> None:
        """Shows what the scene remembers of how propagation was asked for."""
        memory = self._panel_settings
        first, last = memory.slice_range or (0, 0)
        is_whole = memory.slice_range is None
        self.app_state.state.update(
            {"direction": memory.direction.value, "is_whole": is_whole, "first": first, "last": last}
        )

    def show_settings(self) -> None:
        """Shows what the scene remembers of all choices."""
        self.show_range()
        self.show_cleanup()
        self.show_switches()
        self.show_repair()

    def show_switches(self) -> None:
        """Shows what the engine does."""
        switches = self._panel_settings.switches
        words = {is_on: word for word, is_on in SWITCH_WORDS.items()}
        self.app_state.state.update({name: words[getattr(switches, name)] for name in SWITCHES})

    def set_switch(self, name: str, word: str) -> None:
        """The engine does something, does it not, or does as the model says."""
        self.presenter.switch(replace(self._panel_settings.switches, **{name: SWITCH_WORDS[word]}))
        self.show_switches()
        self.app_state.wake()

    def show_cleanup(self) -> None:
        """Shows which holes and islands are seen to."""
        cleanup = self._panel_settings.cleanup
        sizes = {"hole_mm": cleanup.hole_mm, "island_mm": cleanup.island_mm}
        value = {field: "" if size is None else f"{size:g}" for field, size in sizes.items()}
        self.app_state.state.update({**value, "is_volume_cleanup": cleanup.is_whole})

    def set_cleanup_size(self, field: str, text: str) -> None:
        """The size of holes or islands was typed; empty leaves it to the engine, and what is no size is not taken."""
        try:
            size = float(text.strip().replace(",", ".")) if text.strip() else None
            value = self._panel_settings.cleanup
            value = replace(value, hole_mm=size) if field == "hole_mm" else replace(value, island_mm=size)
        except (ValueError, ConfigError):
            pass
        else:
            self.presenter.set_cleanup(value)
        self.app_state.state.dirty(field)
        self.show_cleanup()

    def set_volume_cleanup(self, is_whole: bool) -> None:
        """The object as a whole, or its slices alone."""
        self.presenter.set_cleanup(replace(self._panel_settings.cleanup, is_whole=is_whole))
        self.show_cleanup()

    def set_direction(self, value: str) -> None:
        """Another direction was chosen."""
        self._panel_settings.direction = Direction(value)
        self.show_range()

    def set_whole(self, is_whole: bool) -> None:
        """All slices, or only those between two."""
        last = max(0, len(self.presenter.view().cells) - 1)
        self._panel_settings.slice_range = None if is_whole else (0, last)
        self.show_range()

    def set_end(self, field: str, text: str) -> None:
        """The first or the last slice was typed; what is no slice is not taken."""
        memory, last_there = self._panel_settings, max(0, len(self.presenter.view().cells) - 1)
        first, last = memory.slice_range or (0, last_there)
        if text.strip().isdigit():
            index = min(int(text), last_there)
            memory.slice_range = (index, max(index, last)) if field == "first" else (min(first, index), index)
        self.app_state.state.dirty("first", "last")
        self.show_range()

    @property
    def _panel_settings(self) -> PanelSettings:
        return PanelSettings(self.app_state.host.scene)

    def _copy(self) -> bool:
        view = self.presenter.view()
        self.app_state.state.update(segment_state(view))
        if not view.session.can_prompt:
            self.app_state.state.tool = "look"
        is_pointing = self.app_state.state.previews and self.app_state.state.tool in POINT_TOOLS
        return not view.session.activity.is_quiet or is_pointing or self.presenter.has_more
