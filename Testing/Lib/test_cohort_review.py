"""The review of a cohort: the most doubtful case opens with its prompts, is corrected, accepted, and joins the training."""

import json

import numpy as np
import pytest
from NeuroSAM2Lib.engine.choice import EngineChoice
from NeuroSAM2Lib.presenters.cohort_presenter import CohortPresenter
from NeuroSAM2Lib.presenters.segment_presenter import SegmentPresenter
from NeuroSAM2Lib.segmentation.session_view import session_view
from NeuroSAM2Lib.training.cases import CaseList

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.labels import read_table
from NeuroSAM2Core.measures import read_slice_counts
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume
from Testing.Support.cohorts import person, write_cohort
from Testing.Support.fake_engine import FakeEngine
from Testing.Support.sessions import place_point


class Reviewer:
    """A person in front of a cohort."""

    def __init__(self, app, folder):
        self.cohort_folder = write_cohort(folder)
        self.engines = []
        self.presenter = SegmentPresenter(app, EngineChoice(), self.engine)
        self.review = CohortPresenter(self.presenter, self.choose)
        self.review.open_folder(self.cohort_folder.path)

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
