"""Measurements of a session: the same numbers as on the command line, comparisons, files for a paper, and the time spent."""

import csv
import io
import json

import numpy as np
import pytest
from NeuroSAM2Lib.engine.choice import EngineChoice
from NeuroSAM2Lib.presenters.measurements import Product
from NeuroSAM2Lib.presenters.segment_presenter import SegmentPresenter
from NeuroSAM2Lib.scene.volume_nodes import read_volume
from NeuroSAM2Lib.segmentation.objects.session_node import WorkingTime
from NeuroSAM2Lib.segmentation.sidecar import sidecar_text

from NeuroSAM2Core.measures import measure_object
from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.fake_engine import FakeEngine
from Testing.Support.scenes import GEOMETRIES, Geometry, add_segmentation, add_volume

SHAPE = (9, 20, 24)


class PanelUser:
    """A person with the panel's presenter, without a panel."""

    def __init__(self, app, segmentation_node=None):
        self.app, self.engine = app, FakeEngine()
        self.presenter = SegmentPresenter(app, EngineChoice(), lambda choice: self.engine)
        self.voxels = np.random.default_rng(0).integers(0, 100, SHAPE).astype(np.int16)
        self.volume_node = add_volume(app, self.voxels, GEOMETRIES["oblique"])
        self.segmentation_node = segmentation_node or add_segmentation(app)[0]
        self.presenter.select(self.volume_node, self.segmentation_node)

    @property
    def document(self):
        return self.presenter.session.document

    @property
    def measurements(self):
        return self.presenter.measurements

    def box(self, index, *corners):
        self.presenter.act(lambda session: session.add_box(SlicePlane(Axis.K, index), BoxPrompt(*corners)))
        self.settle()

    def settle(self):
        for _ in range(200):
            self.engine.work()
            self.presenter.poll()
            if not (self.presenter.has_more or self.presenter.session.engine_sync.is_waiting):
                return
        raise AssertionError("it never settles")

    def voxels_of(self, number=1):
        planes = [SlicePlane(Axis.K, k) for k in range(SHAPE[0])]
        return np.stack([self.document.slice_io.read(number, plane) for plane in planes])


@pytest.fixture
def user(app):
    """A person with two objects and a second image with a grid of its own."""
    user = PanelUser(app)
    user.box(4, 4, 4, 12, 15)
    user.presenter.act(lambda session: session.next_object())
    user.box(4, 14, 14, 18, 20)
    user.box(5, 14, 14, 18, 20)
    add_volume(app, user.voxels[:, :13, :20] * 2, GEOMETRIES["oblique"], name="T2")
    return user


def test_numbers_are_those_of_the_command_line_in_each_open_image(user):
    user.measurements.measure()
    assert user.measurements.is_busy
    user.settle()
    first, second = csv.DictReader(io.StringIO(user.measurements.csv()))
    for number, row in ((1, first), (2, second)):
        expected = measure_object(read_volume(user.volume_node), user.voxels_of(number))
        assert row["object"] == f"object {number}"
        assert float(row["volume_ml"]) == pytest.approx(expected.size.volume_ml, rel=1e-5)
        assert float(row["surface_mm2"]) == pytest.approx(expected.size.surface_mm2, rel=1e-5)
        assert float(row["T1 mean"]) == pytest.approx(expected.intensities.mean, rel=1e-5)
        assert float(row["T1 percentile_95"]) == pytest.approx(expected.intensities.percentiles[-1], rel=1e-5)
    assert float(first["T2 mean"]) == pytest.approx(2 * float(first["T1 mean"]), rel=1e-5)
    assert second["T2 mean"] == ""
    assert (first["slices_prompted"], second["slices_prompted"], second["slices_confirmed"]) == ("1", "2", "0")
    view = user.measurements.view()
    assert view.titles[:3] == ("object", "voxels", "mL")
    assert view.rows[0][0] == "object 1"
    assert user.measurements.clipboard_text().splitlines()[0].split("\t")[0] == "object"


def test_measurements_are_out_of_date_after_a_change_and_not_before(user):
    user.measurements.measure()
    user.settle()
    assert not user.measurements.view().is_out_of_date
    user.box(6, 14, 14, 18, 20)
    assert user.measurements.view().is_out_of_date
    user.measurements.measure()
    user.settle()
    assert not user.measurements.view().is_out_of_date


def test_a_segmentation_with_a_grid_of_its_own_is_measured_on_the_image(app):
    fine = Geometry(GEOMETRIES["oblique"].matrix @ np.diag([0.5, 0.5, 0.5, 1.0]))
    node, _ = add_segmentation(app)
    node.SetReferenceImageGeometryParameterFromVolumeNode(add_volume(app, np.zeros([2 * n for n in SHAPE]), fine))
    user = PanelUser(app, segmentation_node=node)
    user.box(4, 4, 4, 12, 15)
    user.measurements.measure()
    user.settle()
    (row,) = csv.DictReader(io.StringIO(user.measurements.csv()))
    assert int(row["voxels"]) == user.voxels_of().sum() > 0


def test_two_objects_and_two_segmentations_are_compared_and_differ_on_named_slices(user):
    copy = user.app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "second reader")
    copy.GetSegmentation().DeepCopy(user.segmentation_node.GetSegmentation())
    choices = {one.title: one.key for one in user.measurements.view().choices}
    assert set(choices) == {"object 1", "second reader, all by name", *(f"object {n} (second reader)" for n in (1, 2))}
    user.measurements.compare(choices["second reader, all by name"])
    user.settle()
    differences = user.measurements.view().differences
    assert [(one.dice, one.hd95_mm, one.planes) for one in differences] == [("1.000", "0", ())] * 2
    user.measurements.compare(choices["object 1"])
    user.settle()
    (difference,) = user.measurements.view().differences
    one, other = user.voxels_of(2), user.voxels_of(1)
    assert float(difference.dice) == pytest.approx(2 * (one & other).sum() / (one.sum() + other.sum()), abs=5e-4)
    worst = max(range(SHAPE[0]), key=lambda k: (one[k] ^ other[k]).sum())
    assert difference.planes[0] == SlicePlane(Axis.K, worst)
    user.presenter.jump_to_slice(difference.planes[0])
    user.app.scene.RemoveNode(copy)
    user.measurements.compare(choices["second reader, all by name"])
    user.settle()
    assert "gone" in user.measurements.view().sentence


def test_a_page_a_sheet_and_a_table_are_written_and_nothing_replaced_unasked(user, tmp_path):
    pytest.importorskip("PIL")
    for product in Product:
        path = tmp_path / user.measurements.default_name(product)
        user.measurements.write(product, path, num_slices=4)
        user.settle()
        assert user.measurements.written == path, user.measurements.view().sentence
        before = path.read_bytes()
        user.measurements.write(product, path)
        user.settle()
        assert "is there already" in user.measurements.view().sentence
        assert path.read_bytes() == before
    page = (tmp_path / "T1 report.html").read_text(encoding="utf-8")
    assert "object 2" in page
    assert "T2" in page
    assert "pause of more than a minute" in page


def test_measuring_is_given_up_and_ends_with_its_session(user):
    user.measurements.measure()
    user.measurements.cancel()
    assert not user.measurements.is_busy
    user.measurements.measure()
    user.presenter.select(None, None)
    user.presenter.poll()
    assert not user.measurements.is_busy
    assert user.measurements.view().rows == ()


def test_time_counts_for_the_object_that_is_worked_on_without_long_pauses(user):
    clock = [100.0]
    time = user.presenter.session.working_time = WorkingTime(user.document.node, lambda: clock[0])
    for pause, number in ((0, 1), (10, 1), (30, 2), (61, 2), (5, None), (7, 1)):
        clock[0] += pause
        time.note(number)
    assert user.document.node.seconds(1) == pytest.approx(17, abs=1)
    assert user.document.node.seconds(2) == pytest.approx(30, abs=1)
    clock[0] += 20
    user.box(6, 14, 14, 18, 20)
    assert user.document.node.seconds(2) == pytest.approx(50, abs=1)
    (_, second) = json.loads(sidecar_text(user.document))["objects"]
    assert second["seconds_spent"] == pytest.approx(50, abs=1)
    user.document.node.node.SetParameter("Seconds2", "nan")
    assert user.document.node.seconds(2) == 0
