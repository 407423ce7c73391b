"""Observes changes in the scene that the session did not make.

Nodes are deleted, the scene is closed or saved, prompts are placed and moved by the scene's own tools.
"""

import slicer
import vtk

from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Core.volume import Axis
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.observer import SceneObserver
from NeuroSAM2Lib.scene.views.slice_views import best_axis, shown_slice
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.objects.prompt_nodes import ROLE

MARKUPS_EVENTS = ("PointPositionDefinedEvent", "PointRemovedEvent", "PointEndInteractionEvent")


class SessionObserver:
    """Synchronises a session with its scene until it ends.

    Args:
        session: The session.
    """

    def __init__(self, session: SessionController) -> None:
        self.session = session
        self._watch = SceneObserver()
        scene = session.document.host.scene
        self._watch.on(scene, scene.NodeAboutToBeRemovedEvent, self._on_removal, about_object=True)
        self._watch.on(scene, scene.NodeRemovedEvent, self._on_removed, about_object=True)
        self._watch.on(scene, scene.NodeAddedEvent, self._on_added, about_object=True)
        self._watch.on(scene, scene.StartCloseEvent, self._on_close)
        self._watch.on(scene, scene.StartSaveEvent, self._on_save)
        self._watch.on(scene, scene.EndSaveEvent, self._on_saved)
        self._stored = scene.GetStoredTime()
        self._watch.on(session.document.segmentation_node, slicer.vtkSegmentation.SegmentModified, self._on_segment)
        for node in session.document.nodes.all_nodes():
            self._watch_prompts(node)

    def end(self, reason: str) -> None:
        """Ends the session and takes the observers off."""
        self.session.end(reason)
        self._watch.off()

    def expect_point(self, object_id: int, *, positive: bool) -> slicer.vtkMRMLMarkupsFiducialNode:
        """The list that a point placed in a view is to go to, watched from now on."""
        node = self.session.document.nodes.points_node(object_id, positive=positive)
        self._watch_prompts(node)
        return node

    def _watch_prompts(self, node: slicer.vtkMRMLMarkupsNode) -> None:
        for name in MARKUPS_EVENTS:
            self._watch.on(node, getattr(slicer.vtkMRMLMarkupsNode, name), self._on_prompt)

    def _on_added(self, _scene: vtk.vtkObject, node: vtk.vtkObject | None) -> None:
        if (
            node is not None
            and node.IsA("vtkMRMLMarkupsNode")
            and self.session.document.nodes.object_of(node) is not None
        ):
            self._watch_prompts(node)

    def _on_removal(self, _scene: vtk.vtkObject, node: vtk.vtkObject | None) -> None:
        document = self.session.document
        if node is document.volume_node:
            self.end(_("the image was deleted; prompts and masks stay in the scene"))
        elif node is document.segmentation_node:
            self.end(_("the segmentation was deleted; prompts stay in the scene"))

    def _on_removed(self, _scene: vtk.vtkObject, node: vtk.vtkObject | None) -> None:
        if node is not None and node.IsA("vtkMRMLMarkupsNode") and node.GetAttribute(ROLE) is not None:
            self._sync()

    def _on_close(self, _scene: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        self.end(_("the scene was closed"))

    def _on_save(self, _scene: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        self.session.preview.leave()  # its node would not be saved, but its item in the subject hierarchy
        self.session.document.remember(self.session.engine_sync.revision)

    def _on_saved(self, _scene: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        self.session.document.journal.discard()

    def follow_saving(self) -> None:
        """Unsaved work is none any more once the scene was saved: Slicer's own saving announces nothing, but notes the time."""
        stored = self.session.document.host.scene.GetStoredTime()
        if stored != self._stored:
            self._stored = stored
            self.session.document.journal.discard()

    def _on_segment(self, _node: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        if not (self.session.ended or self.session.document.is_writing):
            self.session.document.journal.note_display_properties()

    def _on_prompt(self, node: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        session = self.session
        if session.ended or session.document.is_writing:
            return
        object_id, notice = session.document.nodes.object_of(node), ""
        if (
            object_id is not None
            and node.GetAttribute(ROLE) is not None
            and session.document.axis_of(object_id) is None
        ):
            axis, notice = self._axis_under_cursor()
            with session.document.writing():
                session.document.nodes.choose_axis(object_id, axis)
        self._sync(notice)

    def _axis_under_cursor(self) -> tuple[Axis, str]:
        """The axis of the view that the pointer is in, and what the person should know of it."""
        volume = self.session.document.volume
        crosshair = self.session.document.host.scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        view = None if crosshair is None else crosshair.GetCursorPositionXYZ([0.0, 0.0, 0.0])
        if view is None:
            return best_axis(volume), ""
        shown = shown_slice(volume, view)
        return shown.plane.axis, shown.notice

    def _sync(self, notice: str = "") -> None:
        """The prompts were changed by hand: the last notice is over."""
        if self.session.ended or self.session.document.is_writing:
            return
        self.session.notice = notice
        try:
            self.session.sync_prompts()
        except NeuroSAM2Error as error:
            self.session.notice = str(error)
