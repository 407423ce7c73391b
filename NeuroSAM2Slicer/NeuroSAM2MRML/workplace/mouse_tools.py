"""What the mouse does in the slice views: place points of one sign, or drag a box. One at a time, as Slicer's own place mode has it.

Points are placed by Slicer's place mode, so that its cursor, its Escape key and its other tools know of it.
"""

from collections.abc import Callable, Iterable
from enum import Enum

import slicer
import vtk

from NeuroSAM2MRML.session.controller import SessionController
from NeuroSAM2MRML.workplace.box_drag import BoxDrag
from NeuroSAM2MRML.workplace.pointing import Pointing
from NeuroSAM2MRML.workplace.workplace import Workplace

SELECTION, INTERACTION = "vtkMRMLSelectionNodeSingleton", "vtkMRMLInteractionNodeSingleton"
View = tuple[slicer.vtkMRMLSliceNode, vtk.vtkRenderWindowInteractor]
"""A slice view and its interactor."""


class Tool(Enum):
    """What a click means."""

    LOOK = "look"
    POSITIVE = "positive"
    NEGATIVE = "negative"
    BOX = "box"


class MouseTools:
    """The tool in hand.

    Args:
        workplace: Gets what is placed.
    """

    def __init__(self, workplace: Workplace) -> None:
        self.workplace = workplace
        self._tool = Tool.LOOK
        self._object: int | None = None
        self._drags: list[BoxDrag] = []
        self._views: tuple[View, ...] = ()
        self._list_views: Callable[[], Iterable[View]] = tuple
        self._pointings: list[Pointing] = []
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
        if self._tool is Tool.BOX and any(drag.is_done for drag in self._drags):
            self.put_down()
        if self._tool in (Tool.POSITIVE, Tool.NEGATIVE) and not self._is_in_place_mode():
            self._tool = Tool.LOOK
            self._follow_pointer()
        return self._tool

    def take(self, tool: Tool, views: Callable[[], Iterable[View]]) -> None:
        """Takes a tool, in place of the one before.

        Args:
            tool: The tool.
            views: Lists where boxes may be drawn and the pointer is followed; asked again whenever the tools `follow`.
        """
        self.put_down()
        session = self.workplace.session
        if session is None or session.ended or tool is Tool.LOOK:
            return
        self._tool, self._list_views, self._views = tool, views, tuple(views())
        if tool is Tool.BOX:
            self._drags = [BoxDrag(session, node, interactor) for node, interactor in self._views]
        else:
            self._place_points()
            self._follow_pointer()

    def put_down(self) -> None:
        """The mouse looks around again."""
        was_placing = self._tool in (Tool.POSITIVE, Tool.NEGATIVE) and self._is_in_place_mode()
        self._tool, self._object = Tool.LOOK, None
        for drag in self._drags:
            drag.cancel()
        self._drags = []
        self._follow_pointer()
        if was_placing:
            interaction = self._node(INTERACTION)
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)

    def follow(self) -> None:
        """Points go to the object that is active now, and views that have come or gone are heard or not."""
        session = self.workplace.session
        if self.tool is not Tool.LOOK and session is not None:
            self._follow_views(session)
        if self.tool in (Tool.POSITIVE, Tool.NEGATIVE) and session is not None and session.desk.active != self._object:
            self._place_points()

    def _follow_views(self, session: SessionController) -> None:
        before, self._views = self._views, tuple(self._list_views())
        if self._views == before:
            return
        if self._tool is Tool.BOX:
            known = {drag.interactor: drag for drag in self._drags}
            for drag in known.values():
                if drag.interactor not in [interactor for _, interactor in self._views]:
                    drag.cancel()
            self._drags = [known.get(view[1]) or BoxDrag(session, *view) for view in self._views]
        self._follow_pointer()

    def _follow_pointer(self) -> None:
        """In the views while a point tool is in hand, if that is wanted; nowhere otherwise."""
        for pointing in self._pointings:
            pointing.cancel()
        self._pointings = []
        session = self.workplace.session
        if not self._previews or session is None or self._tool not in (Tool.POSITIVE, Tool.NEGATIVE):
            return
        session.warm_up()
        positive = self._tool is Tool.POSITIVE
        self._pointings = [Pointing(session, node, interactor, positive=positive) for node, interactor in self._views]

    def _place_points(self) -> None:
        session, watch = self.workplace.session, self.workplace.watch
        assert session is not None
        assert watch is not None
        self._object = session.desk.active or session.next_object()
        node = watch.expect_point(self._object, positive=self._tool is Tool.POSITIVE)
        selection, interaction = self._node(SELECTION), self._node(INTERACTION)
        selection.SetReferenceActivePlaceNodeClassName(node.GetClassName())
        selection.SetActivePlaceNodeID(node.GetID())
        interaction.SetPlaceModePersistence(1)
        interaction.SetCurrentInteractionMode(interaction.Place)

    def _is_in_place_mode(self) -> bool:
        interaction = self._node(INTERACTION)
        return bool(interaction.GetCurrentInteractionMode() == interaction.Place)

    def _node(self, name: str) -> slicer.vtkMRMLNode:
        return self.workplace.host.scene.GetNodeByID(name)
