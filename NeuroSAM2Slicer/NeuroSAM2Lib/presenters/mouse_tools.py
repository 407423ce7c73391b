"""The mouse tools of the slice views: place positive or negative points, drag a box, or draw. One at a time, like Slicer's place mode.

Points are placed by Slicer's place mode, so that its cursor and its other tools know of it. Whoever takes a tool of ours puts down
the Segment Editor's effect, such as Paint; choosing an effect, or another mode of the mouse, puts down ours.
"""

from collections.abc import Callable, Iterable
from functools import partial

import slicer
import vtk

from NeuroSAM2Lib.presenters.drag import BoxDrag, Drag, HoverTracker, StrokeDrag
from NeuroSAM2Lib.presenters.segment_presenter import SegmentPresenter
from NeuroSAM2Lib.presenters.tools import POINT_TOOLS, STROKE_TOOLS, Tool
from NeuroSAM2Lib.scene.observer import SceneObserver
from NeuroSAM2Lib.segmentation.controller import SessionController

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
