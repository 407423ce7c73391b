"""The review of a cohort: the most doubtful case opens with its prompts, is corrected, accepted, and joins the training.

Its run: begun from the panel, followed, found again by the next window, stopped, and what went wrong in it.
"""

import json
import os
import shutil
import sys
import time
from collections import Counter

import numpy as np
import pytest
from NeuroSAM2Lib.engine.choice import EngineChoice
from NeuroSAM2Lib.presenters.cohort_presenter import CohortPresenter
from NeuroSAM2Lib.presenters.cohort_run import LOG_FILE, PROCESS_FILE, CohortRun
from NeuroSAM2Lib.presenters.segment_presenter import SegmentPresenter
from NeuroSAM2Lib.segmentation.session_view import session_view
from NeuroSAM2Lib.training.cases import CaseList

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.labels import read_table
from NeuroSAM2Core.measures import read_slice_counts
from NeuroSAM2Core.processes import ProcessId, ProcessTree
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume
from Testing.Support.cohorts import annotate, person, write_cohort
from Testing.Support.fake_engine import FakeEngine
from Testing.Support.sessions import place_point


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Program:
    """A run that ends when it is told to."""

    def __init__(self, command, log):
        self.command, self.log, self.code, self.told = command, log, None, []
        self.leader = ProcessId(os.getpid(), 1.0)  # no process that lives

    def poll(self):
        return self.code

    def ask(self):
        self.told.append("ask")

    def kill(self):
        self.told.append("kill")
        self.code = -9

    def suspend(self):
        self.told.append("suspend")

    def resume(self):
        self.told.append("resume")


class Reviewer:
    """A person in front of a cohort."""

    def __init__(self, app, folder):
        self.cohort_folder = write_cohort(folder)
        self.engines = []
        self.programs, self.clock = [], Clock()
        self.project = folder / "project"
        self.presenter = SegmentPresenter(app, EngineChoice(), self.engine)
        self.review = self.window(self.start)
        self.review.open_folder(self.cohort_folder.path)

    def window(self, start):
        """Another panel on the same files."""
        run = CohortRun(lambda: ("python", "launch.py"), start, clock=self.clock)
        return CohortPresenter(self.presenter, self.choose, lambda: self.project, run, clock=self.clock)

    def start(self, command, log, *, stop_file=None):
        self.programs.append(Program(command, log))
        return self.programs[-1]

    def begin(self):
        """A run on other scans; the folder of its cohort."""
        images = self.cohort_folder.path.parent / "more"
        images.mkdir(exist_ok=True)
        self.review.begin(images)
        return images / "derivatives" / "neurosam2"

    def engine(self, choice):
        self.engines.append(FakeEngine())
        return self.engines[-1]

    def choose(self, node):
        self.presenter.select(node, None)
        self.presenter.select(node, self.presenter.new_segmentation())

    def open(self, name):
        self.review.show_case(self.review.read_case(self.review.case(name)))

    def settle(self):
        for _ in range(60):
            for engine in self.engines:
                engine.work()
            self.presenter.poll()


@pytest.fixture
def reviewer(app, tmp_path):
    return Reviewer(app, tmp_path / "study")


def volumes(app):
    return app.scene.GetNodesByClass("vtkMRMLScalarVolumeNode").GetNumberOfItems()


def test_the_list_has_the_failed_case_first_and_the_surest_last(reviewer):
    view = reviewer.review.view
    assert [row.name for row in view.rows] == ["sub-scan2", "sub-scan0", "sub-scan1"]
    assert view.rows[0].reason == "it is no head"
    assert view.sentence == "3 cases to look at, 0 accepted, 3 in all"
    assert reviewer.review.next_case == "sub-scan2"
    assert not view.can_accept


def test_a_case_opens_with_its_prompts_and_the_masks_as_they_were(reviewer):
    reviewer.open("sub-scan0")
    session = reviewer.presenter.session
    assert [one.name for one in session_view(session).objects] == ["left organ", "right organ"]
    document, truth = session.document, person(0)[1].voxels
    for number, value in zip(sorted(document.objects.segments), (1, 2), strict=True):
        record = document.objects.record(number)
        assert record.prompts.boxes
        for plane, quality in record.quality.items():
            assert quality.predicted_iou == 0.5
            np.testing.assert_array_equal(document.slice_io.read(number, plane), plane.of(truth == value))
    reviewer.settle()
    index = int((truth == 1).sum(axis=(1, 2)).argmax())
    assert document.slice_io.read(min(document.objects.segments), SlicePlane(Axis.K, index)).any()
    assert reviewer.review.view.current == "sub-scan0"


def test_an_accepted_case_is_a_label_map_with_the_values_of_the_study(reviewer, app):
    reviewer.open("sub-scan0")
    place_point(reviewer.presenter.session, SlicePlane(Axis.K, 3), 5, 5)
    reviewer.settle()
    reviewer.review.accept()
    folder, case = reviewer.cohort_folder, reviewer.review.case("sub-scan0")
    reviewed = folder.reviewed_path(case)
    labels = Volume.read(reviewed)
    assert set(np.unique(labels.voxels)) == {0, 1, 2}
    assert labels.voxels[3, 5, 5]
    table = reviewed.with_name(reviewed.name.replace(".nii.gz", ".tsv"))
    assert [entry.name for entry in read_table(table).entries] == ["left organ", "right organ"]
    sidecar = reviewed.with_name(reviewed.name.replace(".nii.gz", ".json"))
    assert [one.label for one in read_slice_counts(sidecar)] == [1, 2]
    assert json.loads(sidecar.read_text(encoding="utf-8"))["Sources"] == ["../new/scan0.nii.gz"]
    assert "sub-scan0,accepted" in (folder.path / "review.csv").read_text(encoding="utf-8")
    assert reviewer.review.view.sentence == "2 cases to look at, 1 accepted, 3 in all"
    assert not folder.labels_path(case).samefile(reviewed)

    reviewer.open(reviewer.review.next_case)
    assert reviewer.review.view.current == "sub-scan2"
    assert volumes(app) == 1
    assert session_view(reviewer.presenter.session).objects == ()
    reviewer.open("sub-scan1")
    assert volumes(app) == 2  # what was not accepted may hold corrections


def test_an_accepted_case_leaves_nothing_in_the_scene(reviewer, app):
    names = []
    for name in ("sub-scan0", "sub-scan1") * 2:
        reviewer.open(name)
        reviewer.settle()
        nodes = app.scene.GetNodes()
        names.append([nodes.GetItemAsObject(n).GetClassName() for n in range(nodes.GetNumberOfItems())])
        reviewer.review.accept()
    assert "vtkMRMLMarkupsROINode" in names[1]
    for before, after in ((0, 2), (2, 3)):  # an accepted case opens without boxes
        kinds = [Counter(one for one in names[n] if "ROI" not in one) for n in (before, after)]
        assert kinds[1] - kinds[0] == Counter()


def test_an_accepted_case_opens_as_it_was_accepted(reviewer):
    reviewer.open("sub-scan1")
    reviewer.review.accept()
    reviewer.open("sub-scan1")
    document = reviewer.presenter.session.document
    first = document.objects.record(min(document.objects.segments))
    assert first.prompts.kept
    assert not first.prompts.boxes


def test_accepted_cases_join_the_training_list(reviewer, tmp_path):
    cases = CaseList(tmp_path / "training")
    reviewer.review.join_training(cases, "training")
    assert reviewer.review.view.sentence == "no case is accepted yet"
    reviewer.open("sub-scan1")
    reviewer.review.accept()
    reviewer.review.join_training(cases, "training")
    (case,) = cases.read()
    assert (case.image.name, case.role, case.is_there) == ("scan1.nii.gz", "training", True)
    assert "1 accepted cases are on the list" in reviewer.review.view.sentence


def test_mistakes_are_sentences(reviewer, tmp_path):
    with pytest.raises(DataError, match="no case is chosen"):
        reviewer.review.case("")
    reviewer.review.accept()
    assert "no case of the cohort is open" in reviewer.review.view.sentence
    reviewer.review.open_folder(tmp_path)
    assert "is no cohort" in reviewer.review.view.sentence
    assert reviewer.review.view.rows == ()


def test_a_run_is_begun_on_the_annotated_cases_and_its_list_fills(reviewer, tmp_path):
    annotate(reviewer.project, 0, 1)
    out = reviewer.begin()
    (program,) = reviewer.programs
    images = out.parents[1]
    words = [*("python", "launch.py", "cohort"), reviewer.project / "dataset.json", "--images", images, "--out", out]
    assert program.command == (*map(str, words), "--model", "nano", "--device", "auto")
    view = reviewer.review.view
    assert (view.rows, view.is_running, view.percent) == ((), True, 0)
    assert view.sentence == "the run begins: model and annotated cases are read"

    shutil.copytree(reviewer.cohort_folder.path, out, dirs_exist_ok=True)
    (out / "sub-scan1" / "anat" / "sub-scan1_desc-neurosam2_dseg.json").rename(tmp_path / "later.json")
    reviewer.clock.now += 3
    reviewer.review.poll()
    view = reviewer.review.view
    assert (len(view.rows), view.percent) == (3, 67)
    assert view.sentence == "2 cases to look at, 0 accepted, 1 not done yet, 3 in all"
    assert reviewer.review.next_case == "sub-scan2"

    shutil.copy(tmp_path / "later.json", out / "sub-scan1" / "anat" / "sub-scan1_desc-neurosam2_dseg.json")
    program.code = 0
    reviewer.review.poll()
    view = reviewer.review.view
    assert (view.sentence, view.is_running) == ("the run is over; 3 cases to look at, 0 accepted, 3 in all", False)
    assert not (out / PROCESS_FILE).exists()


def test_the_same_request_goes_on_and_another_one_has_a_folder_of_its_own(reviewer):
    annotate(reviewer.project, 0)
    out = reviewer.begin()
    reviewer.review.begin(out.parents[1])
    assert "goes on already" in reviewer.review.view.sentence
    folders = [out, out, out.with_name("neurosam2-2")]
    for number in range(2):
        reviewer.programs[-1].code = 0
        reviewer.review.poll()
        annotate(reviewer.project, number)
        reviewer.begin()
    assert [one.command[one.command.index("--out") + 1] for one in reviewer.programs] == list(map(str, folders))


def test_a_run_that_cannot_begin_or_fails_is_a_sentence(reviewer):
    out = reviewer.begin()
    assert "no case is annotated" in reviewer.review.view.sentence
    assert not out.exists()
    annotate(reviewer.project, 0)
    reviewer.begin()
    (out / LOG_FILE).write_text("neurosam2: a cohort needs distributed\n", encoding="utf-8")
    reviewer.programs[-1].code = 2
    reviewer.review.poll()
    assert reviewer.review.view.sentence == "a cohort needs distributed"
    assert not reviewer.review.view.is_running


def test_a_run_gives_way_to_clicks_and_is_ended_where_it_does_not_listen(reviewer):
    annotate(reviewer.project, 0)
    reviewer.begin()
    (program,) = reviewer.programs
    reviewer.review._run.yield_cpu()
    reviewer.review._run.yield_cpu()
    assert program.told == ["suspend"]
    reviewer.clock.now += 3
    reviewer.review.poll()
    assert program.told == ["suspend", "resume"]
    reviewer.review.stop()
    reviewer.review.poll()
    assert reviewer.review.view.sentence == "the run is stopping"
    reviewer.clock.now += 100
    reviewer.review.poll()
    assert program.told[2:] == ["ask", "kill"]
    assert reviewer.review.view.sentence.startswith("the run was stopped")


def test_a_run_is_found_again_by_the_next_window(reviewer):
    def start(command, log, *, stop_file=None):
        return ProcessTree.start([sys.executable, "-c", "import time; time.sleep(600)"], log)

    annotate(reviewer.project, 0)
    reviewer.review = reviewer.window(start)
    out = reviewer.begin()
    shutil.copytree(reviewer.cohort_folder.path, out, dirs_exist_ok=True)
    again = reviewer.window(start)
    assert not again.view.is_running
    again.poll()
    assert again.view.is_running
    assert len(again.view.rows) == 3
    again.stop()
    deadline = time.monotonic() + 60
    while again.view.is_running:
        again.poll()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert again.view.sentence.startswith("the run was stopped")
    reviewer.review.poll()
    assert not reviewer.review.view.is_running
    third = reviewer.window(start)
    third.poll()
    assert third.view.rows == ()


def test_a_run_that_ended_unseen_opens_its_list(reviewer):
    annotate(reviewer.project, 0)
    out = reviewer.begin()
    shutil.copytree(reviewer.cohort_folder.path, out, dirs_exist_ok=True)
    again = reviewer.window(reviewer.start)
    again.poll()
    assert not again.view.is_running
    assert len(again.view.rows) == 3
    assert not (out / PROCESS_FILE).exists()
