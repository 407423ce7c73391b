"""The slice views in the page: their pictures, on demand, and what the mouse does in them.

The page asks for a picture when a view's number has grown, one at a time for each view, so that nothing is drawn that nobody sees.
Positions come in pixels of the picture, from its upper left corner.

A picture for the browser: JPEG with full colour resolution, so that thin coloured outlines stay sharp. Voxels never go this way.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO

import slicer
from NeuroSAM2Lib.headless.application import HeadlessApplication
from NeuroSAM2Lib.headless.segment_overlay import SegmentOverlay
from NeuroSAM2Lib.headless.views import ORIENTATIONS, SliceView
from NeuroSAM2Lib.presenters.segment_presenter import SegmentPresenter
from NeuroSAM2Lib.presenters.tools import STROKE_TOOLS, Tool
from NeuroSAM2Lib.scene.arrays import Matrix
from NeuroSAM2Lib.scene.views.slice_views import shown_slice
from PIL import Image
from trame_server import Server

from NeuroSAM2Core.volume import Volume

QUALITY = 95
FULL_COLOUR = 0


def encode(rows: bytes, size: tuple[int, int]) -> bytes:
    """The picture as a file.

    Args:
        rows: Red, green and blue of every pixel, the lowest row first.
        size: Width and height.
    """
    bottom_up = Image.frombuffer("RGB", size, rows, "raw", "RGB", 0, -1)
    file = BytesIO()
    bottom_up.save(file, "JPEG", quality=QUALITY, subsampling=FULL_COLOUR)
    return file.getvalue()


MAX_PX = 4096
BUTTONS = ("Left", "Middle", "Right")
SECOND = "Second"
"""The view of a second image beside the large one."""
EVENTS = {"down": "ButtonPressEvent", "up": "ButtonReleaseEvent"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Press:
    """Where and how a button of the mouse went down, moved or came up."""

    phase: str
    """down, move or up."""
    button: int
    """0, 1 or 2 for left, middle and right."""
    x: float
    y: float
    width: int
    height: int
    has_shift: bool = False


class SliceViews:
    """The three of them.

    Args:
        host: Has the scene.
        presenter: Gets the prompts.
        server: Serves the page.
        wake: Called after each action.
    """

    def __init__(
        self, host: HeadlessApplication, presenter: SegmentPresenter, server: Server, wake: Callable[[], None]
    ) -> None:
        self.presenter, self._state, self._wake = presenter, server.state, wake
        self._is_drawing = False
        self._sent: dict[str, tuple[int, tuple[int, int], bytes]] = {}
        """Of each view the last picture that a page has got: number, size, pixels."""
        self._state.update({number_of(name): 0 for name in (*ORIENTATIONS, SECOND)})
        self.overlay = SegmentOverlay(host.scene, self._note_all)
        self.views = {
            name: SliceView(host, name, orientation, overlay=self.overlay) for name, orientation in ORIENTATIONS.items()
        }
        self._host = host
        self._state.setdefault("large", "Red")
        self._state.closes_stroke = {tool.value: one.is_closed for tool, one in STROKE_TOOLS.items()}
        for name, view in self.views.items():
            view.watch(partial(self._note, name))
        for name, action in (
            ("picture", self.picture),
            ("click", self.click),
            ("point", self.point),
            ("leave", self.leave),
            ("box", self.box),
            ("stroke", self.stroke),
            ("mouse", self.mouse),
            ("wheel", self.wheel),
            ("go", self.go),
        ):
            server.trigger(name)(action)

    def show(self, volume_node: slicer.vtkMRMLVolumeNode) -> None:
        """A volume in all views, along its own slices, whole."""
        for name in ORIENTATIONS:
            view = self.views[name]
            view.node.SetOrientation(ORIENTATIONS[name])
            view.node.RotateToVolumePlane(volume_node)
            view.show(volume_node)
        self._set_visible_plane(self.views["Red"])

    def compare(self, volume_node: slicer.vtkMRMLVolumeNode | None) -> None:
        """A second image, in a view of its own that looks like the large one."""
        composite = self.view(SECOND).logic.GetSliceCompositeNode()
        composite.SetBackgroundVolumeID(None if volume_node is None else volume_node.GetID())
        self._note(SECOND)

    def view(self, name: str) -> SliceView:
        """A view; that of the second image is made when it is first needed."""
        if name == SECOND and name not in self.views:
            self.views[name] = SliceView(self._host, name, "Axial", overlay=self.overlay)
            self.views[name].watch(partial(self._note, name))
        return self.views[name]

    def to_ras(self, name: str, x: float, y: float, width: int, height: int) -> Matrix:
        """The world position, (3,) in mm, of a pixel of a view as large as in the page that asks."""
        return self._sized(name, width, height).to_ras(x, height - 1 - y)

    def is_shown(self, volume_node: slicer.vtkMRMLVolumeNode) -> bool:
        """The volume is the one in the views."""
        views = [self.views[name] for name in ORIENTATIONS]
        return all(view.logic.GetBackgroundLayer().GetVolumeNode() is volume_node for view in views)

    def picture(self, name: str, width: int, height: int, known: int = -1) -> dict[str, object]:
        """What a view shows now, as a file, with its number.

        Args:
            name: Of the view.
            width: Of the picture, pixels.
            height: Likewise.
            known: The number of the picture that the page has. Where that looks the same, there is no file: most of what changes in a
                scene is to be seen in one view only.
        """
        view = self._sized(name, width, height)
        self._is_drawing = True
        try:
            rows = view.draw().tobytes()
        finally:
            self._is_drawing = False
        number, last = self._state[number_of(name)], self._sent.get(name)
        self._sent[name] = number, view.size, rows
        is_known = last == (known, view.size, rows)
        return {"number": number, "data": None if is_known else encode(rows, view.size)}

    def click(self, name: str, x: float, y: float, width: int, height: int, positive: bool) -> None:
        """A point of the active object, placed in the scene as Slicer's place mode does it."""
        view, watch = self._sized(name, width, height), self.presenter.watch
        if watch is not None and not watch.session.ended:
            node = watch.expect_point(watch.session.document.active, positive=positive)
            view.place_point(node, x, height - 1 - y)
            self._wake()

    def point(self, name: str, x: float, y: float, width: int, height: int, positive: bool) -> None:
        """The mouse is here with a point tool in hand: what a click would give is shown."""
        view, session = self._sized(name, width, height), self.presenter.session
        if session is not None and not session.ended:
            session.preview.point(view.to_ras(x, height - 1 - y), positive=positive, view=view.node)
            self._wake()

    def leave(self) -> None:
        """The mouse has left, or the tool was put down."""
        if self.presenter.session is not None:
            self.presenter.session.preview.leave()

    def box(self, name: str, corners: list[float], width: int, height: int) -> None:
        """A box around the active object, between two opposite corners."""
        view = self._sized(name, width, height)
        x0, y0, x1, y1 = corners
        start, end = view.to_ras(x0, height - 1 - y0), view.to_ras(x1, height - 1 - y1)
        self.presenter.act(lambda session: session.drag_box(start, end, view=view.node))
        self._wake()

    def stroke(self, name: str, tool: str, path: list[list[float]], width: int, height: int) -> None:
        """Something was drawn with a tool."""
        view = self._sized(name, width, height)
        places = [view.to_ras(x, height - 1 - y) for x, y in path]
        self.presenter.draw_stroke(Tool(tool), places, view=view.node)
        self._wake()

    def mouse(self, name: str, fields: dict[str, object]) -> None:
        """A button without a tool: window and level, pan, zoom, as Slicer's own views have it."""
        press = Press(**fields)  # type: ignore[arg-type]
        view = self._sized(name, press.width, press.height)
        event = "MouseMoveEvent" if press.phase == "move" else BUTTONS[press.button] + EVENTS[press.phase]
        place = int(press.x), press.height - 1 - int(press.y)
        if press.phase == "down":
            self.mouse_enters(view, place)
        view.mouse(event, *place, has_shift=press.has_shift)
        if name == SECOND:
            self.views[self._state.large].look_like(view)

    def mouse_enters(self, view: SliceView, place: tuple[int, int]) -> None:
        """Slicer's views must have seen the mouse before it is pressed."""
        for event in ("EnterEvent", "MouseMoveEvent"):
            view.mouse(event, *place)

    def wheel(self, name: str, steps: int) -> None:
        """So many slices up or down."""
        view, volume = self.views[name], self._volume()
        if volume is not None:
            self.go(name, shown_slice(volume, view.node).plane.index + steps)

    def go(self, name: str, index: int) -> None:
        """To a slice along the view's axis; to the nearest there is."""
        view, volume = self.views[name], self._volume()
        if volume is None:
            return
        plane = shown_slice(volume, view.node).plane
        last = volume.shape[plane.axis.array_axis] - 1
        self.presenter.jump_to_slice(replace(plane, index=min(max(index, 0), last)))
        self._set_visible_plane(view)
        self._wake()

    def positions(self) -> dict[str, dict[str, object]]:
        """Which slice each view shows, of how many, and along which axis of the volume."""
        volume = self._volume()
        if volume is None:
            return {name: {"index": 0, "count": 0, "axis": ""} for name in (*ORIENTATIONS, SECOND)}
        shown = {name: shown_slice(volume, view.node).plane for name, view in self.views.items()}
        shown.setdefault(SECOND, shown[self._state.large])
        return {
            name: {"index": plane.index, "count": volume.shape[plane.axis.array_axis], "axis": str(plane.axis)}
            for name, plane in shown.items()
        }

    def _volume(self) -> Volume | None:
        session = self.presenter.session
        return None if session is None or session.ended else session.document.volume

    def _set_visible_plane(self, view: SliceView) -> None:
        if self.presenter.session is not None:
            self.presenter.session.set_visible_plane(view.node)

    def _sized(self, name: str, width: int, height: int) -> SliceView:
        """The view, as large as in the page that asks."""
        view, size = self.view(name), (min(max(width, 1), MAX_PX), min(max(height, 1), MAX_PX))
        if view.size != size:
            self._is_drawing = True
            try:
                view.resize(*size)
            finally:
                self._is_drawing = False
        if name == SECOND:
            self._follow_large(view)
        return view

    def _follow_large(self, view: SliceView) -> None:
        self._is_drawing = True
        try:
            view.look_like(self.views[self._state.large])
        finally:
            self._is_drawing = False

    def _note_all(self) -> None:
        for name in ORIENTATIONS:
            self._note(name)

    def _note(self, name: str) -> None:
        if not self._is_drawing:
            for one in {name, SECOND}:
                self._state[number_of(one)] += 1


def number_of(name: str) -> str:
    """The state variable that grows with every change of a view."""
    return f"picture_{name}"
