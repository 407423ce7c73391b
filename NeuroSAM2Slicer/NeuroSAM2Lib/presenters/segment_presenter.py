"""The presenter of the segmentation panel: the chosen volume and segmentation, their session, and the chosen engine.

Panels of any toolkit call the actions and show `view`. What goes wrong in an action is a sentence in the view, never an error in the
toolkit's event loop.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import slicer

from NeuroSAM2Core.catalog import catalog
from NeuroSAM2Core.errors import NeuroSAM2Error
from NeuroSAM2Core.processes import ProcessTree
from NeuroSAM2Core.remote import EngineSwitches
from NeuroSAM2Core.volume import MaskCleanup, SlicePlane
from NeuroSAM2Lib.beside import Work
from NeuroSAM2Lib.engine.choice import READY, EngineChoice, InstallPlan, Place, starter
from NeuroSAM2Lib.engine.link import Engine, EngineLink
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.presenters.engine_presenter import ModelController
from NeuroSAM2Lib.presenters.measurements import Measurements
from NeuroSAM2Lib.presenters.panel_settings import PanelSettings
from NeuroSAM2Lib.presenters.segment_view_model import SegmentViewModel, SegmentViewModelReader, StatusAction
from NeuroSAM2Lib.presenters.tools import BY_NAME, Tool, act_on_stroke
from NeuroSAM2Lib.scene.arrays import Matrix
from NeuroSAM2Lib.scene.files.export_process import exporting
from NeuroSAM2Lib.scene.files.exporting import ExportFormat
from NeuroSAM2Lib.scene.segments.segment_masks import SegmentationSnapshot
from NeuroSAM2Lib.scene.views.slice_views import jump_to_slice, visible_plane
from NeuroSAM2Lib.segmentation.background_run import BackgroundRun, ComputingBeside
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.host import Host
from NeuroSAM2Lib.segmentation.journal import Unsaved
from NeuroSAM2Lib.segmentation.object_actions import LabelObjects, ObjectActions, add_objects
from NeuroSAM2Lib.segmentation.objects.session_node import ModelIdentity
from NeuroSAM2Lib.segmentation.recovery import recover, unsaved_work
from NeuroSAM2Lib.segmentation.repair_actions import RepairActions
from NeuroSAM2Lib.segmentation.session_observer import SessionObserver
from NeuroSAM2Lib.view_state import Activity

NONE_DOUBTFUL = _("no slice is doubtful")


class SegmentPresenter:
    """One at a time.

    Args:
        host: Runs it.
        choice: The engine.
        make_engine: Starts the engine of a choice.
        slicer_python: The interpreter of Slicer's own Python, for downloads.
    """

    def __init__(
        self,
        host: Host,
        choice: EngineChoice,
        make_engine: Callable[[EngineChoice], Engine],
        slicer_python: str = sys.executable,
    ) -> None:
        self.host, self.choice = host, choice
        self.session: SessionController | None = None
        self.watch: SessionObserver | None = None
        self.plan: InstallPlan = READY
        """What is to be installed, as whoever runs this has found."""
        self._make_engine, self._slicer_python = make_engine, slicer_python
        self._volume_node: slicer.vtkMRMLScalarVolumeNode | None = None
        self._segmentation_node: slicer.vtkMRMLSegmentationNode | None = None
        self._problem = ""
        self._unsaved: list[Unsaved] = []
        self._reader = SegmentViewModelReader()
        self._beside = ComputingBeside(lambda: self.choice.command(self._slicer_python), self._start_program)
        self.measurements = Measurements(host, lambda: self.session)
        self.link = self._new_link()
        self.models = self._new_models()

    @property
    def chosen(self) -> tuple[slicer.vtkMRMLScalarVolumeNode | None, slicer.vtkMRMLSegmentationNode | None]:
        """The volume and the segmentation."""
        return self._volume_node, self._segmentation_node

    def select(
        self,
        volume_node: slicer.vtkMRMLScalarVolumeNode | None,
        segmentation_node: slicer.vtkMRMLSegmentationNode | None,
    ) -> None:
        """Another volume or segmentation is chosen; the session before it ends, and what the scene remembers of this one is taken up."""
        if self._is_on(volume_node, segmentation_node):
            return
        self._leave(_("another volume or segmentation was chosen"))
        self._volume_node, self._segmentation_node = volume_node, segmentation_node
        self._problem = ""
        if volume_node is None or segmentation_node is None:
            return
        try:
            self.session = SessionController(self.host, self.link, volume_node, segmentation_node)
        except NeuroSAM2Error as error:
            self._problem = str(error)
            return
        self.session.background = BackgroundRun(self._beside)
        self.watch = SessionObserver(self.session)
        self.session.engine_sync.cleanup = PanelSettings(self.host.scene).cleanup
        self.session.engine_sync.switches = PanelSettings(self.host.scene).switches
        self._unsaved = unsaved_work(self.host.journal_folder, self.session.document.volume)

    def recover(self) -> None:
        """Brings back what was not saved, as one step; the newest work if there is more."""
        if self._unsaved and self.session is not None:
            unsaved, self.session.notice = self._unsaved.pop(0), ""
            self.act(lambda session: recover(session.document, unsaved))
            self.act(lambda session: session.warm_up())

    def do_status_action(self) -> StatusAction:
        """Does what the button beside the state says; returns what is left for the panel to do."""
        action = self.view().state.fix
        if action is StatusAction.RECOVER:
            self.recover()
        elif action is StatusAction.RETRY:
            self.act(lambda session: session.retry())
        else:
            return action
        return StatusAction.NOTHING

    def new_segmentation(self) -> slicer.vtkMRMLSegmentationNode:
        """An empty segmentation on the chosen volume's grid."""
        scene = self.host.scene
        name = "Segmentation" if self._volume_node is None else f"{self._volume_node.GetName()} segmentation"
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", scene.GenerateUniqueName(name))
        node.CreateDefaultDisplayNodes()
        if self._volume_node is not None:
            node.SetReferenceImageGeometryParameterFromVolumeNode(self._volume_node)
        return node

    def use_engine(self, choice: EngineChoice) -> None:
        """Another engine from now on. The scene stays as it is; the new engine is told all of it.

        Raises:
            ConfigError: The choice is not complete; the engine stays.
        """
        choice.check()
        if replace(choice, model=self.choice.model) == self.choice:
            self.use_model(choice.model)
            return
        self.choice = choice
        nodes = self._volume_node, self._segmentation_node
        self._leave(_("another engine was chosen"))
        self.models.cancel_download()
        self.link.close()
        self.link = self._new_link()
        self.models = self._new_models()
        self._volume_node = self._segmentation_node = None
        self.select(*nodes)

    def use_model(self, model: str) -> None:
        """Another model from now on, on the engine that runs; one that is not here is downloaded if the person agrees.

        Args:
            model: A name of the catalog, or the path of a file.

        Raises:
            CheckpointError: There is no such model.
        """
        if model == self.choice.model:
            return
        if self.choice.place is Place.REMOTE:
            self.choice = replace(self.choice, model=model)
            self.link.use(self.choice.load_model)
        elif model in catalog():
            self.models.use(model)
        else:
            self.models.use_file(Path(model))

    def act(self, action: Callable[[SessionController], object]) -> None:
        """Does something in the session; a mistake becomes its notice."""
        if self.session is None:
            return
        try:
            action(self.session)
        except NeuroSAM2Error as error:
            self.session.notice = str(error)

    def edit_objects(self, action: Callable[[ObjectActions], object]) -> None:
        """Does something to an object as a whole; a mistake becomes the session's notice."""
        self.act(lambda session: action(ObjectActions(session)))

    def add_labels(self, labels: LabelObjects) -> None:
        """The objects of a label map, which `read_objects` has read; a mistake becomes the session's notice."""
        self.act(lambda session: add_objects(session, labels))

    def show_only_active(self) -> None:
        """Hides all objects but the active one; where they are hidden already, shows all."""
        if self.session is not None and (number := self.session.document.active) is not None:
            segment_id = self.session.document.objects.segment_id(number)
            self.edit_objects(lambda objects: objects.display.show_only(segment_id))

    def draw_stroke(self, tool: Tool, path: Sequence[Matrix], *, view: slicer.vtkMRMLSliceNode | None = None) -> None:
        """A stroke was drawn with a tool; a mistake becomes the session's notice.

        Args:
            tool: One of `STROKE_TOOLS`.
            path: World positions, (3,) in mm each.
            view: Where.
        """
        plane, settings = self.visible_plane(), PanelSettings(self.host.scene)
        if plane is not None and path:
            self.act(lambda session: act_on_stroke(session, tool, path, view=view, plane=plane, settings=settings))

    def hold(self, is_held: bool) -> None:
        """Prompts wait until they are complete, or no longer."""
        self.act(lambda session: session.hold(is_held=is_held))

    def repair(self, name: str) -> None:
        """Repairs the active object, as the person has chosen to; a mistake becomes the session's notice.

        Args:
            name: Of one of `REPAIRS`.
        """
        plane = self.visible_plane()
        if plane is None:
            return
        settings, shown = PanelSettings(self.host.scene).repair, None

        def act(session: SessionController) -> None:
            nonlocal shown
            shown = BY_NAME[name].act(RepairActions(session, plane, settings))

        self.act(act)
        if shown is not None:
            self.jump_to_slice(shown)

    def export(
        self, kind: ExportFormat, path: Path, *, source_files: Sequence[str] | None = None, overwrite: bool = False
    ) -> None:
        """Writes what is outlined for other programs, as it is now, in a process beside this one; what comes of it is the session's notice.

        Args:
            kind: The format.
            path: Of the first file.
            source_files: The DICOM slices of the image, in its order; None where it comes from elsewhere.
            overwrite: Files that are there may be replaced.
        """

        def begin(session: SessionController) -> None:
            session.notice = ""
            snapshot = SegmentationSnapshot.take(session.document.segmentation_node, session.document.volume_node)
            work = exporting(
                snapshot,
                kind,
                path,
                python=self._slicer_python,
                start=_start_with_our_path,
                source_files=source_files,
                overwrite=overwrite,
            )
            session.background.begin(_told(session, work), Activity.EXPORTING)

        self.act(begin)

    def set_cleanup(self, cleanup: MaskCleanup) -> None:
        """Masks are cleaned like this from the next answer on; remembered in the scene."""
        PanelSettings(self.host.scene).cleanup = cleanup
        if self.session is not None:
            self.session.engine_sync.cleanup = cleanup

    def switch(self, switches: EngineSwitches) -> None:
        """The engine does these things from now on; remembered in the scene."""
        PanelSettings(self.host.scene).switches = switches
        self.act(lambda session: session.switch(switches))

    def propagate(self) -> None:
        """Carries the active object through the slices that the person has chosen, in the direction chosen."""
        direction = PanelSettings(self.host.scene).direction
        first, last = self._slice_range()
        self.act(lambda session: session.propagate(first=first, last=last, direction=direction))

    def extend(self) -> None:
        """Carries the active object one slice beyond its ends, in the direction chosen."""
        direction = PanelSettings(self.host.scene).direction
        self.act(lambda session: session.extend(direction=direction))

    def next_reading(self) -> None:
        """Takes the next of the masks that the click on the slice that is looked at can mean."""
        plane = self.visible_plane()
        if plane is not None:
            self.act(lambda session: session.next_reading(plane))

    def resume(self) -> None:
        """Continues what was stopped; where nothing was, does again what is out of date, as far as the person has chosen."""
        if self.session is not None and self.session.stopped is not None:
            self.act(lambda session: session.resume())
        else:
            self.propagate()

    def confirm_shown(self) -> None:
        """Accepts the active object on the slice that is looked at."""
        plane = self.visible_plane()
        if plane is not None:
            self.act(lambda session: session.confirm(plane))

    def use_mask(self, segment_id: str) -> None:
        """What a segment shows on the slice that is looked at becomes the prompt there, and the segment the active object."""
        self.act(lambda session: session.choose(segment_id))
        self.confirm_shown()

    def follow_segment(self, segment_id: str) -> None:
        """A segment was selected elsewhere: if it is an object, it is the active one now."""
        if self.session is not None and segment_id in self.session.document.objects.segments.values():
            self.act(lambda session: session.choose(segment_id))

    @property
    def has_more(self) -> bool:
        """The last `poll` has left something for the next one, which is due at once."""
        return self.measurements.is_busy or (self.session is not None and self.session.has_more)

    def poll(self) -> None:
        """Handles the engine's events, for a bounded time. Never waits."""
        if self.session is not None:
            if self.watch is not None:
                self.watch.follow_saving()
            self.session.poll()
        else:
            self.link.poll()
        self.measurements.poll()
        try:
            self.models.poll()
        except NeuroSAM2Error as error:
            self.models.notice = str(error)

    def jump_to_slice(self, plane: SlicePlane) -> None:
        """Shows a slice."""
        if self.session is not None:
            jump_to_slice(self.host.scene, self.session.document.volume, plane)

    def jump_to_cell(self, number: int) -> None:
        """Shows the slice of a cell of the quality strip."""
        plane = self.visible_plane()
        if plane is not None:
            self.jump_to_slice(SlicePlane(plane.axis, number))

    def jump_to_next_doubtful(self) -> None:
        """Shows the next slice that a person should look at."""
        plane = self.visible_plane()
        if self.session is None or plane is None:
            return
        doubtful = self.session.next_doubtful(plane)
        if doubtful is None:
            self.session.notice = NONE_DOUBTFUL
            return
        if self.session.notice == NONE_DOUBTFUL:
            self.session.notice = ""
        self.jump_to_slice(doubtful)

    def visible_plane(self) -> SlicePlane | None:
        """The slice along the active object's axis that is shown."""
        if self.session is None or self.session.ended:
            return None
        document = self.session.document
        return visible_plane(self.host.scene, document.volume, document.axis_of(document.active))

    def view(self) -> SegmentViewModel:
        """All that is shown."""
        return self._reader.read(
            session=self.session,
            plane=self.visible_plane(),
            plan=self.plan,
            has_volume=self._volume_node is not None,
            has_segmentation=self._segmentation_node is not None,
            problem=self._problem,
            has_unsaved=bool(self._unsaved),
        )

    def close(self) -> None:
        """Ends the session and the engine; the scene stays as it is."""
        self._leave(_("the panel was closed"))
        self.models.cancel_download()
        self.link.close()

    def _slice_range(self) -> tuple[int | None, int | None]:
        """First and last slice as chosen, as far as this volume has them; it may have been chosen for a larger one."""
        stored_range, document = (
            PanelSettings(self.host.scene).slice_range,
            None if self.session is None else self.session.document,
        )
        axis = None if document is None else document.axis_of(document.active)
        if stored_range is None or document is None or axis is None:
            return None, None
        last_there = document.volume.shape[axis.array_axis] - 1
        return min(stored_range[0], last_there), min(stored_range[1], last_there)

    def _leave(self, reason: str) -> None:
        if self.watch is not None:
            self.watch.end(reason)
        self.session = self.watch = None
        self._unsaved = []

    def _start_program(self, command: Sequence[str], log: Path, *, stop_file: Path | None = None) -> ProcessTree:
        return starter(self.choice.environment(self._slicer_python))(command, log, stop_file=stop_file)

    def _new_link(self) -> EngineLink:
        choice = self.choice
        return EngineLink(lambda: self._make_engine(choice), choice.load_model)

    def _new_models(self) -> ModelController:
        command, start = self.choice.command(self._slicer_python), starter(self.choice.environment(self._slicer_python))
        return ModelController(self.host, self.link, start, command, on_change=self._note_model)

    def _note_model(self, identity: ModelIdentity) -> None:
        """The choice follows, and the scene remembers which model answers."""
        self.choice = replace(self.choice, model=self.link.model.model)
        if self.session is not None:
            self.session.document.node.model = identity

    def _is_on(self, volume_node: object, segmentation_node: object) -> bool:
        is_same = volume_node is self._volume_node and segmentation_node is self._segmentation_node
        return is_same and (self.session is None or not self.session.ended)


def _start_with_our_path(command: Sequence[str], log: Path) -> ProcessTree:
    """Starts a program of this interpreter's Python that finds the same modules."""
    paths = os.pathsep.join(path for path in sys.path if path)
    return starter(dict(os.environ) | {"PYTHONPATH": paths})(command, log)


def _told(session: SessionController, work: Work[list[Path]]) -> Work[None]:
    """Files are written, and then named in the notice."""
    written = yield from work
    session.notice = _("written: {files}").format(files=", ".join(one.name for one in written))
