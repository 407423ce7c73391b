"""Observes changes in the scene that the session did not make.

Nodes are deleted, the scene is closed or saved, prompts are placed and moved by the scene's own tools.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import slicer
import vtk

from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.scene.observer import SceneObserver
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.objects.prompt_nodes import NEGATIVE, POSITIVE, ROLE, take_new_points


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
        self._is_storing = False
        self._watch.on(session.document.segmentation_node, slicer.vtkSegmentation.SegmentModified, self._on_segment)
        for node in session.document.nodes.all_nodes():
            self._watch_prompts(node)

    def end(self, reason: str) -> None:
        """Ends the session and takes the observers off."""
        self.session.end(reason)
        self._watch.off()

    def expect_point(self, object_id: int | None, *, positive: bool) -> slicer.vtkMRMLMarkupsFiducialNode:
        """The list that a point placed in a view is to go to, watched from now on.

        Args:
            object_id: The object; the one that the point begins if None.
            positive: The sign of the point.
        """
        document = self.session.document
        node = document.nodes.points_node(object_id or document.next_number, positive=positive)
        self._watch_prompts(node)
        return node

    def _watch_prompts(self, node: slicer.vtkMRMLMarkupsNode) -> None:
        self._watch.on(node, slicer.vtkMRMLMarkupsNode.PointPositionDefinedEvent, self._on_placed)
        self._watch.on(node, slicer.vtkMRMLMarkupsNode.PointRemovedEvent, self._on_changed)
        self._watch.on(node, slicer.vtkMRMLMarkupsNode.PointEndInteractionEvent, self._on_changed)

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
        if (
            node is not None
            and node.IsA("vtkMRMLMarkupsNode")
            and self.session.document.nodes.object_of(node) is not None
        ):
            self._sync()

    def _on_close(self, _scene: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        self.end(_("the scene was closed"))

    def _on_save(self, _scene: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        self.session.preview.leave()  # its node would not be saved, but its item in the subject hierarchy
        self.session.document.remember(self.session.engine_sync.revision)

    def _on_saved(self, _scene: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        if not self._is_storing:
            self.session.document.journal.discard()

    @contextmanager
    def storing(self) -> Iterator[None]:
        """While the scene is stored and packed: unsaved work is none any more at the end only, and where nothing has changed meanwhile."""
        journal = self.session.document.journal
        before, self._is_storing = journal.position, True
        try:
            yield
        finally:
            self._is_storing, self._stored = False, self.session.document.host.scene.GetStoredTime()
        if journal.position == before:
            journal.discard()

    def follow_saving(self) -> None:
        """Unsaved work is none any more once the scene was saved: Slicer's own saving announces nothing, but notes the time."""
        stored = self.session.document.host.scene.GetStoredTime()
        if stored != self._stored:
            self._stored = stored
            self._on_saved(self.session.document.host.scene, None)

    def _on_segment(self, _node: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        if not self._is_ignored:
            self.session.document.journal.note_display_properties()

    def _on_changed(self, _node: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        self._sync()

    def _on_placed(self, node: vtk.vtkObject, _data: vtk.vtkObject | None) -> None:
        """A point was placed: by Slicer's place mode, by the browser app, or by a script."""
        document, role = self.session.document, node.GetAttribute(ROLE)
        object_id = document.nodes.object_of(node)
        if object_id is None or self._is_ignored:
            return
        with document.writing():  # a prompt is written back at its place on the slice, and what is none does not stay
            places = take_new_points(node) if role in (POSITIVE, NEGATIVE) else []
        if not places:  # a known point has its place again, or it is the middle of a box or part of a curve
            self._sync()
        for ras in places:
            view = self._view_under_cursor()
            self._take(partial(self.session.place_point, object_id, ras, positive=role == POSITIVE, view=view))

    def _view_under_cursor(self) -> slicer.vtkMRMLSliceNode | None:
        """The slice view that the pointer is in."""
        crosshair = self.session.document.host.scene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
        return None if crosshair is None else crosshair.GetCursorPositionXYZ([0.0, 0.0, 0.0])

    @property
    def _is_ignored(self) -> bool:
        """What changes now is the session's own doing, or it is over."""
        return bool(self.session.ended) or self.session.document.is_writing

    def _sync(self) -> None:
        if not self._is_ignored:
            self._take(self.session.sync_prompts)

    def _take(self, act: Callable[[], None]) -> None:
        """The prompts were changed by hand: the last notice is over."""
        self.session.notice = ""
        try:
            act()
        except NeuroSAM2Error as error:
            self.session.notice = str(error)
