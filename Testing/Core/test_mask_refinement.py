"""Propagated masks and corrections follow the object's intensities and the mask before, where these are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from NeuroSAM2Core import Session, Volume, load_model
from NeuroSAM2Core.catalog import find
from NeuroSAM2Core.checkpoint.load import bundled_refiner, read_refiner
from NeuroSAM2Core.errors import CheckpointError
from NeuroSAM2Core.inference import EngineOptions
from NeuroSAM2Core.inference.prediction import slice_predictor
from NeuroSAM2Core.inference.prediction.mask_refinement import (
    CellClick,
    IntensityContrast,
    PropagatedMask,
    RefinerPicture,
    refine_clicked_mask,
    refine_propagated_masks,
    shows_surroundings,
)
from NeuroSAM2Core.inference.prediction.readings import rank_readings
from NeuroSAM2Core.inference.prediction.slice_answer import SliceAnswer
from NeuroSAM2Core.inference.prediction.slice_predictor import SlicePredictor
from NeuroSAM2Core.inference.propagation.track import LEAST_CERTAINTY
from Testing.Support.answers import answer_of, logits_of

SIDE = 64
NOTHING_SAID = torch.zeros(1, 1, SIDE, SIDE)


def disc(row=32, col=32, radius=12):
    rows, cols = np.mgrid[:SIDE, :SIDE]
    return (rows - row) ** 2 + (cols - col) ** 2 <= radius**2


def picture_of(mask, contrast=500.0, seed=0):
    """In a volume's own units, with noise."""
    return (1000 + contrast * mask + np.random.default_rng(seed).normal(0, 60, mask.shape)).astype(np.float32)


def tensor(mask):
    return torch.from_numpy(mask)[None, None]


def refine(answer, before, picture, neighbour, contrast):
    refiner = bundled_refiner(torch.device("cpu"))
    known = PropagatedMask(answer, tensor(before), *map(RefinerPicture.of, (picture, neighbour)), contrast)
    return refine_propagated_masks([known], refiner)[0]


def followed(answer, before, picture, neighbour, contrast):
    return refine(answer, before, picture, neighbour, contrast).answer


def mask_of(answer):
    return answer.logits[0, 0].numpy() > 0


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.mark.parametrize("contrast", [500.0, -500.0])
def test_a_propagated_mask_follows_the_object_where_the_model_fills_its_box(contrast):
    before, now = disc(), disc(row=33, col=34, radius=11)
    box = np.zeros((SIDE, SIDE), bool)
    box[18:48, 18:50] = True
    shown = IntensityContrast.of([(picture_of(before, contrast), before)])
    refined = followed(
        answer_of(logits_of(box)), before, picture_of(now, contrast, 1), picture_of(before, contrast), shown
    )
    assert dice(box, now) < 0.75
    assert dice(mask_of(refined), now) > 0.88
    agreement = (box & mask_of(refined)).sum() / (box | mask_of(refined)).sum()
    assert (refined.iou.item(), refined.object_score_logits.item()) == (pytest.approx(0.7 * agreement, abs=1e-3), 3)


def test_what_looks_like_the_object_but_is_far_from_it_is_not_taken():
    before, twin = disc(), disc(row=8, col=56, radius=6)
    shown = IntensityContrast.of([(picture_of(before), before)])
    refined = followed(
        answer_of(logits_of(before | twin)), before, picture_of(before | twin, seed=1), picture_of(before), shown
    )
    assert dice(mask_of(refined), before) > 0.97


def test_an_object_that_is_gone_leaves_next_to_nothing():
    before = disc(radius=6)
    shown = IntensityContrast.of([(picture_of(before), before)])
    refined = followed(answer_of(NOTHING_SAID - 4), before, picture_of(before & False), picture_of(before), shown)
    assert mask_of(refined).sum() < 0.2 * before.sum()


def test_the_refiner_is_less_certain_of_what_fades():
    before = disc()
    shown = IntensityContrast.of([(picture_of(before), before)])
    certainties = [
        refine(
            answer_of(logits_of(before)), before, picture_of(before, contrast, 1), picture_of(before), shown
        ).certainty
        for contrast in (500.0, 150.0, 0.0)
    ]
    assert certainties == sorted(certainties, reverse=True)
    assert certainties[0] > LEAST_CERTAINTY > certainties[-1]


def test_without_contrast_the_mask_before_and_the_model_lead():
    before = disc()
    flat = picture_of(before, 0.0)
    refined = followed(answer_of(logits_of(before)), before, flat, picture_of(before, 0.0, 1), None)
    assert dice(mask_of(refined), before) > 0.85


def test_what_the_pixels_show_is_present_whatever_the_model_says():
    before = disc()
    shown = IntensityContrast.of([(picture_of(before), before)])
    absent = replace(answer_of(NOTHING_SAID - 1024), object_score_logits=torch.tensor([[-5.0]]))
    refined = followed(absent, before, picture_of(before, seed=1), picture_of(before), shown)
    assert dice(mask_of(refined), before) > 0.9
    assert refined.object_score_logits.item() > 0


@pytest.mark.parametrize(("radius", "is_shown"), [(0, True), (20, True), (26, True), (29, False)])
def test_an_object_that_fills_its_crop_hides_its_surroundings(radius, is_shown):
    mask = disc(radius=radius) if radius else disc() & False
    assert shows_surroundings(logits_of(mask)) is is_shown


def test_a_file_that_holds_no_refiner_is_refused(tmp_path):
    for name, content in (("empty.safetensors", b""), ("text.safetensors", b"nothing of that kind")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match="holds no mask refiner"):
            read_refiner(tmp_path / name)
    with pytest.raises(CheckpointError, match="holds no mask refiner"):
        read_refiner(tmp_path / "missing.safetensors")
    with pytest.raises(CheckpointError, match=r"holds no mask refiner: .* is missing .install"):
        read_refiner(find("nano").installed())


@pytest.mark.parametrize("seed", range(3))
def test_there_is_no_contrast_where_the_object_looks_like_its_surroundings(seed):
    assert IntensityContrast.of([(picture_of(disc(), 0.0, seed), disc())]) is None


def test_there_is_no_contrast_without_an_object_or_in_too_few_cells():
    assert IntensityContrast.of([]) is None
    assert IntensityContrast.of([(picture_of(disc()), disc() & False)]) is None
    assert IntensityContrast.of([(picture_of(disc()), disc(radius=1))]) is None


def test_several_confirmed_slices_are_learned_from_together():
    bright, brighter = picture_of(disc()), picture_of(disc(), 900.0)
    both = IntensityContrast.of([(bright, disc()), (brighter, disc())])
    for shown in (bright, brighter):
        assert both.evidence(shown)[disc()].mean() > 1
        assert both.evidence(shown)[~disc()].mean() < -1


def test_a_negative_click_takes_all_that_is_wrong_around_it():
    truth, wrong = disc(col=24), disc(col=44, radius=9)
    before = truth | wrong
    refined = refine_clicked_mask(answer_of(logits_of(before)), tensor(before), CellClick(32, 45, positive=False), None)
    assert dice(before, truth) < 0.85
    assert dice(mask_of(refined), truth) > 0.92


def test_a_positive_click_takes_what_is_missing_around_it():
    before, missing = disc(col=24), disc(col=44, radius=9)
    truth = before | missing
    evidence = np.where(truth, 1.0, -1.0)
    refined = refine_clicked_mask(answer_of(NOTHING_SAID), tensor(before), CellClick(32, 44, positive=True), evidence)
    assert dice(before, truth) < 0.8
    assert dice(mask_of(refined), truth) > 0.85


def test_a_positive_click_far_away_takes_no_more_than_is_likely():
    before = disc(row=12, col=12, radius=6)
    refined = refine_clicked_mask(
        answer_of(NOTHING_SAID - 4), tensor(before), CellClick(52, 52, positive=True), np.full((SIDE, SIDE), -1.0)
    )
    assert mask_of(refined)[52, 52]
    assert mask_of(refined).sum() < 2.5 * before.sum()


@pytest.mark.parametrize(("col", "is_positive"), [(56, False), (32, True)])
def test_a_click_that_the_mask_agrees_with_changes_nothing_far_from_it(col, is_positive):
    before = disc()
    click = CellClick(32, col, positive=is_positive)
    refined = refine_clicked_mask(answer_of(logits_of(before)), tensor(before), click, None)
    assert dice(mask_of(refined), before) > 0.99


def test_a_click_on_the_border_changes_little_else():
    before = disc()
    refined = refine_clicked_mask(answer_of(logits_of(before)), tensor(before), CellClick(32, 43, positive=False), None)
    assert not mask_of(refined)[32, 43]
    assert dice(mask_of(refined), before) > 0.97


def test_the_reference_refines_nothing():
    assert EngineOptions.as_reference().refines_masks is False


@pytest.fixture(scope="module")
def nano():
    return load_model("nano", device="cpu")


def ball(contrast):
    """A bright or dark ball in noise, (24, 96, 96)."""
    at = np.mgrid[:24, :96, :96]
    inside = (at[0] - 12) ** 2 + (at[1] - 50) ** 2 + (at[2] - 44) ** 2 <= 9**2
    noise = np.random.default_rng(0).normal(0, 40, inside.shape)
    return Volume((1000 + contrast * inside + noise).astype(np.float32), np.eye(4)), inside


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(("value", "least"), [(np.nan, 0.8), (np.inf, 0.8), (-np.inf, 0.8), (3e38, 0.5)])
def test_voxels_that_are_no_numbers_or_endless_do_not_spoil_the_others(nano, value, least):
    volume, truth = ball(400.0)
    voxels = volume.voxels.copy()
    voxels[:, :, :20] = value
    session = Session(nano, Volume(voxels, volume.ijk_to_ras))
    session.add_box(1, "axial", 12, (41, 35, 59, 53))
    for _ in session.propagate(1):
        pass
    session.add_point(1, "axial", 14, (50, 58), positive=False)
    for _ in session.propagate(1):
        pass
    assert dice(session.mask(1), truth) > least


@pytest.mark.parametrize("contrast", [400.0, -400.0])
def test_a_session_follows_a_ball_at_least_as_well_with_it(nano, contrast):
    volume, truth = ball(contrast)
    found = {}
    for refines in (False, True):
        session = Session(nano, volume, options=replace(EngineOptions(), refines_masks=refines))
        session.add_box(1, "axial", 12, (41, 35, 59, 53))
        for _ in session.propagate(1):
            pass
        found[refines] = dice(session.mask(1), truth)
    assert found[True] >= found[False] - 0.02
    assert found[True] > 0.85


def everything(answer):
    """An answer with the whole crop as its mask."""
    return replace(answer, logits=torch.full_like(answer.logits, 10.0))


def test_a_positive_click_does_not_flood_the_slice(nano, monkeypatch):
    volume, truth = ball(400.0)
    session = Session(nano, volume)
    session.add_box(1, "axial", 12, (41, 35, 59, 53))
    decode = SlicePredictor._decode
    monkeypatch.setattr(SlicePredictor, "_decode", lambda *args: everything(decode(*args)))
    mask = session.add_point(1, "axial", 12, (50, 55)).mask
    assert mask[50, 55]
    assert mask.sum() < 4 * truth[12].sum()


def test_a_second_click_is_no_reading_far_larger_than_the_object(nano, monkeypatch):
    volume, truth = ball(400.0)
    session = Session(nano, volume)
    session.add_box(1, "axial", 12, (41, 35, 59, 53))

    def with_the_slice(candidates, foreground, planner, options):
        readings = rank_readings(candidates, foreground, planner, options)
        return [*readings, SliceAnswer(everything(readings[0].prediction), planner.whole)]

    monkeypatch.setattr(slice_predictor, "rank_readings", with_the_slice)
    session.add_point(1, "axial", 14, (50, 44))
    mask = session.add_point(1, "axial", 14, (50, 56)).mask
    assert mask[50, 56]
    assert mask.sum() < 5 * truth[12].sum()


@pytest.mark.parametrize(("col", "is_larger"), [(56, False), (78, True)])
def test_a_second_click_at_the_border_corrects_and_one_far_away_means_more(nano, monkeypatch, col, is_larger):
    volume, truth = ball(400.0)
    session = Session(nano, volume)

    def with_the_slice(candidates, foreground, planner, options):
        readings = rank_readings(candidates, foreground, planner, options)
        small = min(readings, key=lambda one: abs(one.area - truth[12].sum()))
        return [small, SliceAnswer(everything(small.prediction), planner.whole)]

    monkeypatch.setattr(slice_predictor, "rank_readings", with_the_slice)
    first = session.add_point(1, "axial", 12, (50, 44)).mask
    assert first.sum() < 2 * truth[12].sum()
    mask = session.add_point(1, "axial", 12, (50, col)).mask
    assert mask[50, col]
    assert (mask.sum() > 5 * first.sum()) == is_larger
