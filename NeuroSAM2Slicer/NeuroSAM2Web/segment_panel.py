"""The segmentation panel: buttons call the workplace, the workplace's view is copied into the page's state. The twin of Slicer's."""

from collections.abc import Callable
from dataclasses import replace

from NeuroSAM2MRML.session.controller import SessionController
from NeuroSAM2MRML.view_state import Activity
from NeuroSAM2MRML.workplace.panel_memory import SWITCHES, PanelMemory
from NeuroSAM2MRML.workplace.state_line import Fix

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.volume import Direction
from NeuroSAM2Web.desk import Desk
from NeuroSAM2Web.segment_state import segment_state

QUIET = (Activity.READY, Activity.ENDED)
SWITCH_WORDS = {"auto": None, "on": True, "off": False}
POINT_TOOLS = ("positive", "negative")


class SegmentPanel:
    """One panel.

    Args:
        desk: Has the workplace, the views and the page.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk, self.workplace = desk, desk.workplace
        desk.state.update({"tool": "look", "line": "", "previews": True})
        self.show_memory()
        self._copy()

    def poll(self) -> bool:
        """Takes in and shows what there is; true while more is expected."""
        self.workplace.poll()
        return self._copy()

    def close(self) -> None:
        """Ends the session and the engine."""
        self.workplace.close()

    def does(self, action: Callable[[SessionController], object]) -> Callable[[], None]:
        """A button's function: the action, then what came of it."""
        return self.do(lambda: self.workplace.act(action))

    def do(self, action: Callable[[], None]) -> Callable[[], None]:
        """The same for what needs no session."""

        def pressed() -> None:
            action()
            self.desk.wake()

        return pressed

    def choose(self, segment_id: str) -> None:
        """Prompts go to this object from now on."""
        self.workplace.act(lambda session: session.choose(segment_id))
        self.desk.wake()

    def use_mask(self) -> None:
        """The active object's mask on the shown slice becomes the prompt there."""
        active = next((row for row in self.workplace.view().session.objects if row.is_active), None)
        if active is not None:
            self.workplace.use_mask(active.segment_id)
        self.desk.wake()

    def fix(self) -> None:
        """What the button of the state line does."""
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

    def show_range(self) -> None:
        """Shows what the scene remembers of how propagation was asked for."""
        memory = self._memory
        first, last = memory.slice_range or (0, 0)
        is_whole = memory.slice_range is None
        self.desk.state.update(
            {"direction": memory.direction.value, "is_whole": is_whole, "first": first, "last": last}
        )

    def show_memory(self) -> None:
        """Shows what the scene remembers of all choices."""
        self.show_range()
        self.show_cleaning()
        self.show_switches()

    def show_switches(self) -> None:
        """Shows what the engine does."""
        switches = self._memory.switches
        words = {is_on: word for word, is_on in SWITCH_WORDS.items()}
        self.desk.state.update({name: words[getattr(switches, name)] for name in SWITCHES})

    def set_switch(self, name: str, word: str) -> None:
        """The engine does something, does it not, or does as the model says."""
        self.workplace.switch(replace(self._memory.switches, **{name: SWITCH_WORDS[word]}))
        self.show_switches()
        self.desk.wake()

    def show_cleaning(self) -> None:
        """Shows which holes and islands are seen to."""
        cleaning = self._memory.cleaning
        sizes = {"hole_mm": cleaning.hole_mm, "island_mm": cleaning.island_mm}
        said = {field: "" if size is None else f"{size:g}" for field, size in sizes.items()}
        self.desk.state.update({**said, "cleans_whole": cleaning.is_whole})

    def set_cleaning(self, field: str, text: str) -> None:
        """The size of holes or islands was typed; empty leaves it to the engine, and what is no size is not taken."""
        try:
            size = float(text.strip().replace(",", ".")) if text.strip() else None
            said = self._memory.cleaning
            said = replace(said, hole_mm=size) if field == "hole_mm" else replace(said, island_mm=size)
        except (ValueError, ConfigError):
            pass
        else:
            self.workplace.clean_by(said)
        self.desk.state.dirty(field)
        self.show_cleaning()

    def set_cleans_whole(self, is_whole: bool) -> None:
        """The object as a whole, or its slices alone."""
        self.workplace.clean_by(replace(self._memory.cleaning, is_whole=is_whole))
        self.show_cleaning()

    def set_direction(self, value: str) -> None:
        """Another direction was chosen."""
        self._memory.direction = Direction(value)
        self.show_range()

    def set_whole(self, is_whole: bool) -> None:
        """All slices, or only those between two."""
        last = max(0, len(self.workplace.view().cells) - 1)
        self._memory.slice_range = None if is_whole else (0, last)
        self.show_range()

    def set_end(self, field: str, text: str) -> None:
        """The first or the last slice was typed; what is no slice is not taken."""
        memory, last_there = self._memory, max(0, len(self.workplace.view().cells) - 1)
        first, last = memory.slice_range or (0, last_there)
        if text.strip().isdigit():
            index = min(int(text), last_there)
            memory.slice_range = (index, max(index, last)) if field == "first" else (min(first, index), index)
        self.desk.state.dirty("first", "last")
        self.show_range()

    @property
    def _memory(self) -> PanelMemory:
        return PanelMemory(self.desk.host.scene)

    def _copy(self) -> bool:
        view = self.workplace.view()
        self.desk.state.update(segment_state(view))
        if not view.session.can_prompt:
            self.desk.state.tool = "look"
        is_pointing = self.desk.state.previews and self.desk.state.tool in POINT_TOOLS
        return view.session.activity not in QUIET or is_pointing or self.workplace.has_more
