"""The review of a cohort: its list by doubt, the next case with its prompts in the scene, acceptance, and what joins the training.

What takes long, `read_case` and `AcceptedCase.write`, touches no scene and may run in a thread. The folder is the only truth: a case is
accepted where its reviewed label map is there, whoever has written it.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import slicer
from numpy.typing import NDArray

from NeuroSAM2Core import disk
from NeuroSAM2Core.cohort import CaseState, CohortCase, CohortFolder, ReviewRow, review_rows, write_review
from NeuroSAM2Core.errors import DataError, NeuroSAM2Error
from NeuroSAM2Core.labels import LabelEntry, LabelTable, find_table, read_table, table_for, whole_numbers, write_table
from NeuroSAM2Core.processes import ProcessTree
from NeuroSAM2Core.prompts import ObjectPrompts
from NeuroSAM2Core.volume import SlicePlane, Volume
from NeuroSAM2Lib.engine.choice import starter
from NeuroSAM2Lib.i18n import tr as _
from NeuroSAM2Lib.presenters.cohort_run import CohortRun
from NeuroSAM2Lib.presenters.segment_presenter import SegmentPresenter
from NeuroSAM2Lib.scene.arrays import set_voxels, to_vtk
from NeuroSAM2Lib.scene.nodes import batch_of_changes, remove_node
from NeuroSAM2Lib.scene.segments.segment_masks import SegmentationSnapshot
from NeuroSAM2Lib.scene.volume_nodes import add_volume, local_matrix
from NeuroSAM2Lib.segmentation.controller import SessionController
from NeuroSAM2Lib.segmentation.object_actions import digest_of, slice_axis
from NeuroSAM2Lib.segmentation.objects.scene_objects import (
    MAX_NAME_LENGTH,
    DisplayProperties,
    ObjectRecord,
)
from NeuroSAM2Lib.segmentation.sidecar import sidecar_text
from NeuroSAM2Lib.training.cases import CaseList, Role
from NeuroSAM2Lib.view_state import SliceQuality

READ_EVERY_S, READ_SHARE = 2.0, 50
"""While a run goes on, its list is read again so often, and takes no more than a fiftieth of the time."""
OPEN = (CaseState.WAITING, CaseState.FAILED)
STATES = {
    CaseState.PENDING: _("not done yet"),
    CaseState.FAILED: _("failed"),
    CaseState.WAITING: _("to be looked at"),
    CaseState.ACCEPTED: _("accepted"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class CohortRow:
    """A case, as the list shows it."""

    name: str
    state: str
    doubt: str
    """In per cent."""
    reason: str
    is_open: bool
    """A person should look at it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CohortView:
    """What is shown."""

    rows: tuple[CohortRow, ...] = ()
    current: str = ""
    """The case in the scene; empty for none."""
    sentence: str = ""
    can_accept: bool = False
    is_running: bool = False
    percent: int = 0
    """Of the cases of the run under way that are done."""


@dataclass(frozen=True, slots=True, eq=False)
class CaseObject:
    """An object of a case that was read."""

    entry: LabelEntry
    prompts: ObjectPrompts
    qualities: dict[SlicePlane, SliceQuality]


@dataclass(frozen=True, slots=True, eq=False)
class OpenedCase:
    """A case that was read and is not in the scene yet."""

    case: CohortCase
    image: Volume
    objects: tuple[CaseObject, ...]
    labels: NDArray[np.unsignedinteger]
    """(K, J, I): 1 for the first object, and so on."""


@dataclass(frozen=True, slots=True, eq=False)
class AcceptedCase:
    """What a person accepts, copied from the scene."""

    folder: CohortFolder
    case: CohortCase
    snapshot: SegmentationSnapshot
    entries: tuple[LabelEntry, ...]
    """Of the segments, in their order."""
    sidecar: str

    def write(self) -> None:
        """Writes the reviewed label map, its table and its prompts, and the list anew.

        Raises:
            DataError: It cannot be written.
        """
        values = np.array([0, *(one.value for one in self.entries)])
        labels = values.astype(np.min_scalar_type(int(values.max())))[self.snapshot.labels().voxels]
        path = self.folder.reviewed_path(self.case)
        stem = path.name.removesuffix(".nii.gz")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            disk.write_atomically(path.with_name(f"{stem}.json"), self.sidecar)
        except OSError as error:
            raise DataError(
                _("cannot write {path}: {error}").format(path=path, error=error.strerror or error)
            ) from error
        write_table(path.with_name(f"{stem}.tsv"), LabelTable(self.entries), overwrite=True)
        self.snapshot.volume.with_voxels(labels).write(path, overwrite=True)  # last: it says that the case is accepted
        write_review(self.folder.path)


def cohort_presenter(
    presenter: SegmentPresenter,
    choose: Callable[[slicer.vtkMRMLScalarVolumeNode], None],
    project: Callable[[], Path | None],
    slicer_python: str,
) -> "CohortPresenter":
    """One that runs NeuroSAM2 where the engine of the presenter is, on this machine; see `CohortPresenter`."""

    def start(command: Sequence[str], log: Path, *, stop_file: Path | None = None) -> ProcessTree:
        return starter(presenter.choice.environment(slicer_python))(command, log, stop_file=stop_file)

    return CohortPresenter(
        presenter, choose, project, CohortRun(lambda: presenter.choice.command(slicer_python), start)
    )


class CohortPresenter:
    """One for the panel.

    Args:
        presenter: Its session is on the case that is looked at.
        choose: Makes an image of the scene the one that is worked on, with a segmentation.
        project: The folder of the training panel, which has the annotated cases; None while there is none.
        run: Does more cases.
        clock: Seconds.
    """

    def __init__(
        self,
        presenter: SegmentPresenter,
        choose: Callable[[slicer.vtkMRMLScalarVolumeNode], None],
        project: Callable[[], Path | None],
        run: CohortRun,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._presenter, self._choose, self._project, self._run, self._clock = presenter, choose, project, run, clock
        self._looked_in: Path | None = None
        """The project in which a run was looked for."""
        self._reads_at, self._counts = 0.0, ""
        """When the list is read again while a run goes on; what it said of itself the last time."""
        self._folder: CohortFolder | None = None
        self._rows: list[ReviewRow] = []
        self._current: CohortCase | None = None
        self._volume_node: slicer.vtkMRMLScalarVolumeNode | None = None
        self._entries: dict[str, LabelEntry] = {}
        """Of the objects of the current case, by the ids of their segments."""
        self._sentence = ""

    @property
    def view(self) -> CohortView:
        """What is shown now."""
        rows = tuple(
            CohortRow(
                name=row.case.name,
                state=STATES[row.state],
                doubt=f"{100 * row.doubt:.0f} %",
                reason=row.reason,
                is_open=row.state in OPEN,
            )
            for row in self._rows
        )
        current = "" if self._current is None or not self._is_shown else self._current.name
        is_running = self._run.is_running
        return CohortView(
            rows=rows,
            current=current,
            sentence=self._sentence,
            can_accept=bool(current),
            is_running=is_running,
            percent=self._percent if is_running else 0,
        )

    def begin(self, images: Path) -> None:
        """Outlines in all scans of a folder what is outlined in the annotated cases; a mistake becomes the sentence."""
        try:
            project = self._project()
            if project is None:
                raise DataError(_("no case is annotated"), hint=_("add one to the list of cases to train on first"))
            self.open_folder(self._run.begin(CaseList(project), images, self._presenter.choice))
        except NeuroSAM2Error as error:
            self.fail(error)

    def stop(self) -> None:
        """Ends the run; what is done stays, and the same request goes on with the rest."""
        self._run.stop()
        self._sentence = self._run.notice

    def poll(self) -> None:
        """Takes in what a run has done, also one that another window has begun. Never waits."""
        project = self._project()
        if project is not None and project != self._looked_in:
            self._looked_in = project
            if (folder := self._run.find_again(project)) is not None:
                self.open_folder(folder)
        session = self._presenter.session
        if session is not None and session.engine_sync.is_waiting:
            self._run.yield_cpu()
        if self._run.poll():
            self.reload()
            counts = f"; {self._sentence}" if self._rows else ""
            self._sentence = self._run.notice + counts
        elif self._is_own and self._clock() >= self._reads_at:
            kept = self._sentence
            is_news = kept != self._counts
            self.reload()
            if is_news:  # it is not about the list
                self._sentence = kept

    def close(self) -> None:
        """The panel goes; a run goes on."""
        self._run.close()

    @property
    def _is_own(self) -> bool:
        """The list is that of the run under way."""
        return self._run.is_running and self._folder is not None and self._run.folder == self._folder.path

    @property
    def _percent(self) -> int:
        done = sum(row.state is not CaseState.PENDING for row in self._rows)
        return round(100 * done / len(self._rows)) if self._is_own and self._rows else 0

    def open_folder(self, folder: Path) -> None:
        """The cohort in a folder; a mistake becomes the sentence."""
        self._current, self._rows = None, []
        self._folder = CohortFolder(folder)
        self.reload()

    def reload(self) -> None:
        """Reads the list again: others may have accepted cases, and a run may go on."""
        if self._folder is None:
            return
        started = self._clock()
        try:
            self._rows = review_rows(self._folder.path)
        except NeuroSAM2Error as error:
            begins = _("the run begins: model and annotated cases are read")
            self._rows, self._sentence = [], begins if self._is_own else str(error)
            self._counts = self._sentence
            self._reads_at = started + READ_EVERY_S
            return
        now = self._clock()
        self._reads_at = now + max(READ_EVERY_S, READ_SHARE * (now - started))
        left = sum(row.state in OPEN for row in self._rows)
        accepted = sum(row.state is CaseState.ACCEPTED for row in self._rows)
        pending = sum(row.state is CaseState.PENDING for row in self._rows)
        said = (
            _("{left} cases to look at, {accepted} accepted, {pending} not done yet, {count} in all")
            if pending
            else _("{left} cases to look at, {accepted} accepted, {count} in all")
        )
        self._sentence = self._counts = said.format(
            left=left, accepted=accepted, pending=pending, count=len(self._rows)
        )

    @property
    def next_case(self) -> str:
        """The name of the most doubtful case that is neither accepted nor in the scene; empty where there is none."""
        current = self._current.name if self._current is not None and self._is_shown else ""
        return next((row.case.name for row in self._rows if row.state in OPEN and row.case.name != current), "")

    def case(self, name: str) -> CohortCase:
        """A case of the list.

        Raises:
            DataError: There is no such one.
        """
        for row in self._rows:
            if row.case.name == name:
                return row.case
        raise DataError(_("no case is chosen"), hint=_("click on one in the list"))

    def read_case(self, case: CohortCase) -> OpenedCase:
        """A case from its files: as it was accepted, else as the model left it; one that failed is its image alone.

        Raises:
            NeuroSAM2Error: A file cannot be read.
        """
        assert self._folder is not None, "the case is of its list"
        image = Volume.read(case.image)
        record = self._folder.read(case)
        reviewed, answered = self._folder.reviewed_path(case), self._folder.labels_path(case)
        if disk.is_file(reviewed):
            return _opened(case, image, reviewed, {}, {})
        if record is None or record.problem:
            return OpenedCase(case, image, (), np.zeros(image.shape, np.uint8))
        prompts = {one.label: one.prompts for one in record.objects}
        return _opened(case, image, answered, prompts, {one.label: one.expected_iou for one in record.objects})

    def show_case(self, opened: OpenedCase) -> None:
        """Puts a case into the scene and works on it; the case before leaves the scene with its prompts if it was accepted."""
        before = self._volume_node if self._current is not None and self._is_accepted(self._current) else None
        session, scene = self._presenter.session, self._presenter.host.scene
        leaving = [] if before is None else [before]
        if leaving and session is not None and self._is_shown:
            leaving = [*session.document.own_nodes(), session.document.segmentation_node, *leaving]
        self._volume_node = add_volume(scene, opened.image, opened.case.name)
        self._choose(self._volume_node)
        self._current, self._entries = opened.case, {}
        if opened.objects:
            self._presenter.act(lambda session: self._add(session, opened))
        with batch_of_changes(scene):
            for node in filter(scene.IsNodePresent, leaving):
                remove_node(scene, node)

    def begin_accept(self) -> AcceptedCase:
        """The current case as it stands in the scene.

        Raises:
            DataError: No case is open, or nothing is outlined.
        """
        session = self._presenter.session
        if self._folder is None or self._current is None or session is None or not self._is_shown:
            raise DataError(_("no case of the cohort is open"), hint=_("open one from the list"))
        document = session.document
        snapshot = SegmentationSnapshot.take(document.segmentation_node, document.volume_node)
        segment_ids = document.segmentation_node.GetSegmentation().GetSegmentIDs()
        used, entries = {one.value for one in self._entries.values()}, []
        for segment_id, segment in zip(segment_ids, snapshot.segments, strict=True):
            known = self._entries.get(segment_id)
            value = known.value if known is not None else max(used, default=0) + 1
            used.add(value)
            red, green, blue = (round(255 * part) for part in segment.colour)
            entries.append(LabelEntry(value, segment.name, (red, green, blue)))
        payload = json.loads(sidecar_text(document))
        for one, entry in zip(payload["objects"], entries, strict=False):
            one["label"] = entry.value
        payload["Sources"] = [self._folder.source(self._current.image)]
        return AcceptedCase(self._folder, self._current, snapshot, tuple(entries), json.dumps(payload, indent=2) + "\n")

    def accept(self) -> bool:
        """Accepts the current case, and waits until it is written; false where a mistake became the sentence."""
        return self.act(lambda: self.begin_accept().write())

    def join_training(self, cases: CaseList, role: Role) -> None:
        """Puts all accepted cases on a list of annotated ones; a mistake becomes the sentence."""
        folder = self._folder
        accepted = [row.case for row in self._rows if row.state is CaseState.ACCEPTED]
        if folder is None or not accepted:
            self._sentence = _("no case is accepted yet")
            return

        def add() -> None:
            for case in accepted:
                cases.add(case.image, folder.reviewed_path(case), role)

        if self.act(add):
            self._sentence = _("{count} accepted cases are on the list").format(count=len(accepted))

    def act(self, action: Callable[[], object]) -> bool:
        """Does something, and reads the list again; false where a mistake became the sentence."""
        try:
            action()
        except NeuroSAM2Error as error:
            self.reload()
            self.fail(error)
            return False
        self.reload()
        return True

    def fail(self, error: NeuroSAM2Error) -> None:
        """Shows what went wrong."""
        self._sentence = str(error)

    @property
    def _is_shown(self) -> bool:
        """The current case is the one that is worked on."""
        return self._volume_node is not None and self._presenter.chosen[0] is self._volume_node

    def _is_accepted(self, case: CohortCase) -> bool:
        return self._folder is not None and disk.is_file(self._folder.reviewed_path(case))

    def _add(self, session: SessionController, opened: OpenedCase) -> None:
        document = session.document
        with session.action():
            labelmap = slicer.vtkOrientedImageData()
            set_voxels(labelmap, opened.labels)
            labelmap.SetImageToWorldMatrix(to_vtk(local_matrix(document.volume_node)))
            with document.step(_("Open case")):
                numbers = document.add_objects(labelmap, [_known(one) for one in opened.objects])
            document.journal.note_all()
        self._entries = {
            document.objects.segment_id(number): one.entry for number, one in zip(numbers, opened.objects, strict=True)
        }
        session.warm_up()


def _opened(
    case: CohortCase, image: Volume, path: Path, prompts: dict[int, ObjectPrompts], ious: dict[int, float]
) -> OpenedCase:
    """Objects without prompts are confirmed on all their slices."""
    stored = whole_numbers(Volume.read(path))
    if stored.shape != image.shape:
        raise DataError(
            _("{labels} is not on the grid of {image}").format(labels=path.name, image=case.image.name),
            hint=_("run the cohort again"),
        )
    inside = stored > 0
    values = np.unique(stored[inside]).tolist()
    known = find_table(path)
    entries = (table_for(values) if known is None else read_table(known).restricted(values)).entries
    labels = np.zeros(stored.shape, np.min_scalar_type(len(values)))
    labels[inside] = np.searchsorted(values, stored[inside]) + 1
    objects = []
    for number, entry in enumerate(entries, start=1):
        mask = labels == number
        own = prompts.get(entry.value, ObjectPrompts())
        axis = own.axis or slice_axis(image)
        across = tuple(n for n in range(3) if n != axis.array_axis)
        indices = np.flatnonzero(mask.any(axis=across)).tolist()
        if own.axis is None:
            own = ObjectPrompts(axis=axis, kept=frozenset(indices))
        iou = ious.get(entry.value, 1.0)
        planes = [SlicePlane(axis, index) for index in indices]
        objects.append(
            CaseObject(
                entry,
                own,
                {p: SliceQuality(predicted_iou=iou, object_score=1.0, digest=digest_of(p.of(mask))) for p in planes},
            )
        )
    return OpenedCase(case, image, tuple(objects), labels)


def _known(one: CaseObject) -> tuple[DisplayProperties, ObjectRecord]:
    red, green, blue = (part / 255 for part in one.entry.colour)
    record = ObjectRecord(prompts=one.prompts).with_qualities(one.qualities)
    record = record.with_unanswered(frozenset(set(one.prompts.planes) - set(one.qualities)))
    return DisplayProperties(one.entry.name[:MAX_NAME_LENGTH], (red, green, blue)), record
