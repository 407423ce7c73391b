"""The mouse tools of the slice views: place positive or negative points, drag a box, or draw. One at a time, like Slicer's place mode.

Points are placed by Slicer's place mode, so that its cursor and its other tools know of it. Whoever takes a tool of ours puts down the
Segment Editor's effect, such as Paint; choosing an effect, or another mode of the mouse, puts down ours.

Drags and the pointer that a preview follows work on VTK's own events, whatever toolkit the view sits in. A drag is observed before the
view's own tools and aborted for them, so that it neither moves a point, nor changes window and level, nor paints. With Shift, Ctrl or Alt
held the mouse is the view's own, for panning and turning. The line that grows under the pointer is unknown to the scene.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import slicer
import vtk

from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Lib.presenters.segment_presenter import SegmentPresenter
from NeuroSAM2Lib.presenters.tools import POINT_TOOLS, STROKE_TOOLS, Tool
from NeuroSAM2Lib.scene.arrays import Matrix
from NeuroSAM2Lib.scene.observer import FIRST, SceneObserver
from NeuroSAM2Lib.scene.views.slice_views import ras_of
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.objects.prompt_nodes import BOX, COLOURS, LASSO, NEGATIVE_SCRIBBLE, SCRIBBLE

LINE_PX = 2
Place = tuple[int, int]
"""In the view's own pixels, from its lower left."""


class RubberBand:
    """One line in one view.

    Args:
        interactor: Of the view.
        colour: Red, green and blue, 0 to 1.
    """

    def __init__(self, interactor: vtk.vtkRenderWindowInteractor, colour: tuple[float, float, float]) -> None:
        self._interactor = interactor
        self._renderer: vtk.vtkRenderer | None = None
        self._source = vtk.vtkLineSource()
        self._points = vtk.vtkPoints()
        self._source.SetPoints(self._points)
        in_pixels = vtk.vtkCoordinate()
        in_pixels.SetCoordinateSystemToDisplay()
        mapper = vtk.vtkPolyDataMapper2D()
        mapper.SetInputConnection(self._source.GetOutputPort())
        mapper.SetTransformCoordinate(in_pixels)
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(mapper)
        self._actor.GetProperty().SetColor(*colour)
        self._actor.GetProperty().SetLineWidth(LINE_PX)

    def show(self, corners: Sequence[Place]) -> None:
        """The line through these places."""
        self._points.SetNumberOfPoints(len(corners))
        for number, (x, y) in enumerate(corners):
            self._points.SetPoint(number, x, y, 0)
        self._points.Modified()
        self._source.Modified()
        if self._renderer is None:
            self._renderer = self._interactor.FindPokedRenderer(*corners[0])
            self._renderer.AddViewProp(self._actor)
        self._interactor.GetRenderWindow().Render()

    def hide(self) -> None:
        """Nothing is drawn any more."""
        if self._renderer is not None:
            self._renderer.RemoveViewProp(self._actor)
            self._renderer = None
            self._interactor.GetRenderWindow().Render()


class HoverTracker:
    """Reports the pointer's position in one view to a session's preview.

    Args:
        session: Shows what a click there would give.
        positive: The sign of the points.
        view: The slice view.
        interactor: Of the view.
    """

    def __init__(
        self,
        session: SessionController,
        view: slicer.vtkMRMLSliceNode,
        interactor: vtk.vtkRenderWindowInteractor,
        *,
        positive: bool,
    ) -> None:
        self.session, self.view, self.interactor, self.positive = session, view, interactor, positive
        self._watch = SceneObserver()
        self._watch.on(interactor, vtk.vtkCommand.MouseMoveEvent, self._on_move, priority=FIRST)
        self._watch.on(interactor, vtk.vtkCommand.LeaveEvent, self._on_leave, priority=FIRST)

    def cancel(self) -> None:
        """Stops tracking."""
        self._watch.off()
        self.session.preview.leave()

    def _on_move(self, _caller: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        ras = ras_of(self.view, self.interactor.GetEventPosition())
        self.session.preview.point(ras, positive=self.positive, view=self.view)

    def _on_leave(self, _caller: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        self.session.preview.leave()


PRESS, SECOND_PRESS = vtk.vtkCommand.LeftButtonPressEvent, vtk.vtkCommand.LeftButtonDoubleClickEvent
"""A press soon after another comes as the latter alone; a view would fill the window."""


class Drag(ABC):
    """Waits for drags in one view.

    Args:
        session: Gets what comes of it.
        view: The slice view.
        interactor: Of the view.
        colour: Of what is drawn meanwhile.
    """

    def __init__(
        self,
        session: SessionController,
        view: slicer.vtkMRMLSliceNode,
        interactor: vtk.vtkRenderWindowInteractor,
        colour: tuple[float, float, float],
    ) -> None:
        self.session, self.view, self.interactor = session, view, interactor
        self.is_done = False
        """There will be no other drag."""
        self._path: list[Place] = []
        self._band = RubberBand(interactor, colour)
        self._watch = SceneObserver()
        for event, handler in (
            (PRESS, self._on_press),
            (SECOND_PRESS, self._on_second_press),
            (vtk.vtkCommand.MouseMoveEvent, self._on_move),
            (vtk.vtkCommand.LeftButtonReleaseEvent, self._on_release),
        ):
            self._watch.on(interactor, event, handler, priority=FIRST)

    def cancel(self) -> None:
        """Waits no more."""
        self._watch.off()
        self._path = []
        self._band.hide()

    @abstractmethod
    def line(self, path: list[Place]) -> list[Place]:
        """What is drawn while the pointer has come along a path."""

    @abstractmethod
    def finish(self, path: list[Place]) -> None:
        """The button was released at the end of a path."""

    def _on_press(self, _caller: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        self._begin(PRESS)

    def _on_second_press(self, _caller: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        self._begin(SECOND_PRESS)

    def _begin(self, event: int) -> None:
        mouse = self.interactor
        if mouse.GetShiftKey() or mouse.GetControlKey() or mouse.GetAltKey():
            return
        self._path = [mouse.GetEventPosition()]
        self._watch.keep(mouse, event)

    def _on_move(self, _caller: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        if self._path:
            self._path.append(self.interactor.GetEventPosition())
            self._band.show(self.line(self._path))

    def _on_release(self, _caller: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        if not self._path:
            return
        path, self._path = [*self._path, self.interactor.GetEventPosition()], []
        self._watch.keep(self.interactor, vtk.vtkCommand.LeftButtonReleaseEvent)
        self._band.hide()
        try:
            self.finish(path)
        except NeuroSAM2Error as error:
            self.session.notice = str(error)


MIN_DRAG_PX = 3
"""A drag shorter than this, in screen pixels, is no box."""


class BoxDrag(Drag):
    """Waits for one box in one view; see `Drag`."""

    def __init__(
        self, session: SessionController, view: slicer.vtkMRMLSliceNode, interactor: vtk.vtkRenderWindowInteractor
    ) -> None:
        super().__init__(session, view, interactor, COLOURS[BOX])

    def line(self, path: list[Place]) -> list[Place]:
        """See `Drag`."""
        (left, low), (right, high) = path[0], path[-1]
        return [(left, low), (right, low), (right, high), (left, high), (left, low)]

    def finish(self, path: list[Place]) -> None:
        """See `Drag`."""
        start, end = path[0], path[-1]
        if max(abs(a - b) for a, b in zip(start, end, strict=True)) < MIN_DRAG_PX:
            return
        self.cancel()
        self.is_done = True
        self.session.drag_box(ras_of(self.view, start), ras_of(self.view, end), view=self.view)


STROKE_COLOURS = {
    Tool.SCRIBBLE: COLOURS[SCRIBBLE],
    Tool.NEGATIVE_SCRIBBLE: COLOURS[NEGATIVE_SCRIBBLE],
    Tool.REMOVE_PART: COLOURS[NEGATIVE_SCRIBBLE],
    Tool.ERASER: COLOURS[NEGATIVE_SCRIBBLE],
    Tool.CUT: COLOURS[NEGATIVE_SCRIBBLE],
}


class StrokeDrag(Drag):
    """Waits for strokes in one view; see `Drag`.

    Args:
        session: Gets a notice where something is wrong.
        view: The slice view.
        interactor: Of the view.
        tool: In hand.
        draw: Gets the world positions of each stroke, (3,) in mm.
    """

    def __init__(
        self,
        session: SessionController,
        view: slicer.vtkMRMLSliceNode,
        interactor: vtk.vtkRenderWindowInteractor,
        tool: Tool,
        draw: Callable[[Sequence[Matrix]], None],
    ) -> None:
        super().__init__(session, view, interactor, STROKE_COLOURS.get(tool, COLOURS[LASSO]))
        self._tool, self._draw = tool, draw

    def line(self, path: list[Place]) -> list[Place]:
        """See `Drag`."""
        return [*path, path[0]] if STROKE_TOOLS[self._tool].is_closed else path

    def finish(self, path: list[Place]) -> None:
        """See `Drag`."""
        self._draw([ras_of(self.view, place) for place in path])


SELECTION, INTERACTION = "vtkMRMLSelectionNodeSingleton", "vtkMRMLInteractionNodeSingleton"
View = tuple[slicer.vtkMRMLSliceNode, vtk.vtkRenderWindowInteractor]
"""A slice view and its interactor."""
DRAGGED = (Tool.BOX, *STROKE_TOOLS)
"""Tools that need no place mode of Slicer's."""


class MouseTools:
    """The active tool.

    Args:
        presenter: Gets what is placed.
    """

    def __init__(self, presenter: SegmentPresenter) -> None:
        self.presenter = presenter
        self._tool = Tool.LOOK
        self._object: int | None = None
        self._placed_in = ""
        self._watch = SceneObserver()
        self._drags: list[Drag] = []
        self._views: tuple[View, ...] = ()
        self._list_views: Callable[[], Iterable[View]] = tuple
        self._hover_trackers: list[HoverTracker] = []
        self._previews = True

    @property
    def previews(self) -> bool:
        """What a click would give is shown while the pointer moves with a point tool in hand."""
        return self._previews

    @previews.setter
    def previews(self, previews: bool) -> None:
        self._previews = previews
        self._follow_pointer()

    @property
    def tool(self) -> Tool:
        """The tool in hand, also where something else has put it down: a key, another module, a box that is drawn."""
        is_drawn = self._tool is Tool.BOX and any(drag.is_done for drag in self._drags)
        if is_drawn or (self._tool in POINT_TOOLS and not self._is_placing()):
            self.deactivate()
        return self._tool

    def activate(self, tool: Tool, views: Callable[[], Iterable[View]]) -> None:
        """Takes a tool, in place of the one before.

        Args:
            tool: The tool.
            views: Lists where boxes may be drawn and the pointer is followed; asked again whenever the tools `follow`.
        """
        self.deactivate()
        session = self.presenter.session
        if session is None or session.ended or tool is Tool.LOOK:
            return
        self.release_tool()
        self._tool, self._list_views, self._views = tool, views, tuple(views())
        if tool in DRAGGED:
            self._drags = [self._drag(session, view) for view in self._views]
        else:
            self._place_points()
            self._follow_pointer()
        interaction, editor = self._node(INTERACTION), self.presenter.host.editor_node()
        self._watch.on(interaction, interaction.InteractionModeChangedEvent, self._on_mode)
        if editor is not None:
            self._watch.on(editor, vtk.vtkCommand.ModifiedEvent, self._on_effect)

    def deactivate(self) -> None:
        """The mouse looks around again."""
        was_placing = self._tool in POINT_TOOLS and self._is_placing()
        self._watch.off()
        self._tool, self._object, self._placed_in = Tool.LOOK, None, ""
        for drag in self._drags:
            drag.cancel()
        self._drags = []
        self._follow_pointer()
        if was_placing:
            self._look_around()

    def release_tool(self) -> None:
        """Puts down whatever is in hand: a tool of ours, Slicer's place mode, an effect of the Segment Editor."""
        self.deactivate()
        editor = self.presenter.host.editor_node()
        if editor is not None and editor.GetActiveEffectName():
            editor.SetActiveEffectName("")
        if self._is_in_place_mode():
            self._look_around()

    def follow(self) -> None:
        """Points go to the object that is active now, and views that have come or gone are observed or not."""
        session = self.presenter.session
        if self.tool is not Tool.LOOK and session is not None:
            self._follow_views(session)
        if self.tool in POINT_TOOLS and session is not None and session.document.active != self._object:
            self._place_points()

    def _follow_views(self, session: SessionController) -> None:
        before, self._views = self._views, tuple(self._list_views())
        if self._views == before:
            return
        if self._tool in DRAGGED:
            known = {drag.interactor: drag for drag in self._drags}
            for drag in known.values():
                if drag.interactor not in [interactor for _, interactor in self._views]:
                    drag.cancel()
            self._drags = [known.get(view[1]) or self._drag(session, view) for view in self._views]
        self._follow_pointer()

    def _drag(self, session: SessionController, view: View) -> Drag:
        node, interactor = view
        if self._tool is Tool.BOX:
            return BoxDrag(session, node, interactor)
        draw = partial(self.presenter.draw_stroke, self._tool, view=node)
        return StrokeDrag(session, node, interactor, self._tool, draw)

    def _follow_pointer(self) -> None:
        """In the views while a point tool is in hand, if that is wanted; nowhere otherwise."""
        for pointing in self._hover_trackers:
            pointing.cancel()
        self._hover_trackers = []
        session = self.presenter.session
        if not self._previews or session is None or self._tool not in POINT_TOOLS:
            return
        session.warm_up()
        positive = self._tool is Tool.POSITIVE
        self._hover_trackers = [
            HoverTracker(session, node, interactor, positive=positive) for node, interactor in self._views
        ]

    def _place_points(self) -> None:
        session, watch = self.presenter.session, self.presenter.watch
        assert session is not None
        assert watch is not None
        self._object = session.document.active or session.next_object()
        node = watch.expect_point(self._object, positive=self._tool is Tool.POSITIVE)
        self._placed_in = node.GetID()
        selection, interaction = self._node(SELECTION), self._node(INTERACTION)
        selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
        selection.SetActivePlaceNodeID(node.GetID())
        interaction.SetPlaceModePersistence(1)
        interaction.SetCurrentInteractionMode(interaction.Place)

    def _is_placing(self) -> bool:
        """Clicks go into the list of ours, and not into another one that was chosen since."""
        return self._is_in_place_mode() and self._node(SELECTION).GetActivePlaceNodeID() == self._placed_in

    def _look_around(self) -> None:
        interaction = self._node(INTERACTION)
        interaction.SetCurrentInteractionMode(interaction.ViewTransform)

    def _on_mode(self, _caller: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        if self._tool in DRAGGED or not self._is_in_place_mode():
            self.deactivate()

    def _on_effect(self, editor: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        if editor.GetActiveEffectName():
            self.deactivate()

    def _is_in_place_mode(self) -> bool:
        interaction = self._node(INTERACTION)
        return bool(interaction.GetCurrentInteractionMode() == interaction.Place)

    def _node(self, name: str) -> slicer.vtkMRMLNode:
        return self.presenter.host.scene.GetNodeByID(name)
