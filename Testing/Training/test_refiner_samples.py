"""Samples of the mask refiner: valid, in every contrast, with what is known close to the truth, and seen as inference sees them."""

from dataclasses import replace

import numpy as np
import pytest

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.inference.prediction.refiner_view import normalised
from NeuroSAM2Core.synth.anatomy.heads import Head
from NeuroSAM2Core.synth.anatomy.labels import ID
from NeuroSAM2Core.training.config.pretraining import SampleConfig
from NeuroSAM2Core.training.refiner.images import (
    LESION,
    FieldOfView,
    Lesion,
    Scanner,
    draw_field_of_view,
    draw_means,
    pooled,
    smooth_field,
    with_lesion,
)
from NeuroSAM2Core.training.refiner.samples import draw_box, draw_mask, draw_sample, draw_target, neighbour_view
from Testing.Support.anatomy import small_labels

PLAIN = SampleConfig()
ROW, COL = np.mgrid[:64, :64]
DISC = (ROW - 30) ** 2 + (COL - 33) ** 2 < 12**2


@pytest.fixture(scope="module")
def heads():
    return [Head.of(small_labels(number)) for number in range(2)]


@pytest.fixture(scope="module")
def samples(heads):
    rng = np.random.default_rng(0)
    return [draw_sample(heads, rng, PLAIN) for _ in range(60)]


def test_views_are_finite_and_truths_are_shares(samples):
    for sample in samples:
        assert sample.view.shape == (5, 64, 64)
        assert sample.view.dtype == sample.truth.dtype == np.float32
        assert np.isfinite(sample.view).all()
        assert 0 <= sample.truth.min() <= sample.truth.max() <= 1
        assert (sample.view[4] == sample.has_box).all()
    assert 15 < sum(sample.has_box for sample in samples) < 45


def test_a_box_holds_most_of_its_object(samples):
    for sample in (sample for sample in samples if sample.has_box):
        box = sample.view[2] > 0
        rows, cols = np.flatnonzero(box.any(1)), np.flatnonzero(box.any(0))
        assert box.sum() == len(rows) * len(cols)
        assert sample.truth[box].sum() > 0.6 * sample.truth.sum()


def test_the_mask_of_a_neighbour_is_near_the_object(samples):
    near = [sample for sample in samples if not sample.has_box]
    overlaps = [np.minimum(s.view[2] > 0, s.truth).sum() / max(s.truth.sum(), 1) for s in near]
    assert np.median(overlaps) > 0.6
    assert any(sample.view[3].any() for sample in near)


@pytest.mark.parametrize("config", [{"lesion": 1.0}, {"lesion": 0.0, "large": 1.0}, {"lesion": 0.0, "large": 0.0}])
def test_every_kind_of_object_gives_samples(heads, config):
    rng = np.random.default_rng(1)
    drawn = [draw_sample(heads, rng, replace(PLAIN, box=1.0, **config)) for _ in range(10)]
    assert all(sample.has_box and sample.truth.sum() > 3 for sample in drawn)
    shares = [sample.truth.mean() for sample in drawn]
    assert np.mean(shares) > 0.15 if config.get("large") else np.mean(shares) < 0.35


def test_intensities_that_differ_are_evidence_beside_the_slice():
    picture = np.where(DISC, 80.0, 20.0) + np.random.default_rng(0).normal(0, 3, (64, 64))
    view = neighbour_view(picture, picture, DISC, (picture, DISC))
    assert view[3][DISC].mean() > 0.5
    assert view[3][~DISC].mean() < -0.5
    assert np.array_equal(view[1], normalised(picture))
    flat = np.random.default_rng(1).normal(50, 3, (64, 64))
    assert not neighbour_view(flat, flat, DISC, (flat, DISC))[3].any()
    assert not neighbour_view(picture, picture, DISC, (picture, np.zeros_like(DISC)))[3].any()


def test_slices_of_a_sample_are_of_the_head_and_hold_its_object(heads):
    rng = np.random.default_rng(2)
    found = [target for _ in range(80) if (target := draw_target(heads[0], rng, PLAIN)) is not None]
    assert found
    for target in found:
        places = target.places
        assert set(target.planes) == {places.shown, places.known, places.reference}
        assert target.known_mask.sum() >= 10
        assert bool(target.covered) == bool(target.is_object[LESION] and not target.is_object[ID["thalamus L"]])
        if target.has_box:
            assert places.shown == places.known == places.reference
        else:
            assert abs(places.shown - places.known) in (1, 2, 3, 5)


def test_a_lesion_is_round_its_place_and_ends_above_and_below(heads):
    plane = heads[0].labels[48]
    rng = np.random.default_rng(3)
    for _ in range(10):
        lesion = Lesion.draw(plane, 48, rng)
        drawn = lesion.drawn_into(plane, 48)
        row, col = lesion.centre.astype(int)
        assert drawn[row, col] == LESION
        assert ((drawn == plane) | (drawn == LESION)).all()
        assert (drawn[plane == 0] == 0).all()
        far = 48 + int(2 * lesion.depth) + 1
        assert lesion.drawn_into(plane, far) is plane
    assert Lesion.draw(np.zeros_like(plane), 48, rng) is None


def test_a_view_is_as_wide_as_asked_and_shows_its_object(heads):
    mask = np.zeros((96, 112), bool)
    mask[40:60, 30:50] = True
    rng = np.random.default_rng(4)
    for _ in range(20):
        field = draw_field_of_view(mask, rng, PLAIN, is_large=False)
        assert 1.5 * 20 <= field.side_mm <= 3.2 * 20
        seen = pooled(field.seen(mask.astype(np.uint8)))
        assert seen.sum() * (field.side_mm / 64) ** 2 == pytest.approx(mask.sum(), rel=0.35)
    assert draw_field_of_view(mask, rng, replace(PLAIN, max_crop_mm=25.0), is_large=False) is None


def test_a_scanner_shows_means_blurred_with_noise():
    rng = np.random.default_rng(5)
    means = np.linspace(0, 1, 64, dtype=np.float32)
    seen = np.full((128, 128), ID["thalamus L"], np.uint8)
    scanner = replace(Scanner.draw(means, 40.0, rng), noise=0.0, texture=np.zeros((128, 128), np.float32))
    one, other = scanner.picture(seen, rng), scanner.picture(seen, rng)
    assert np.array_equal(one, other)
    assert one == pytest.approx(means[ID["thalamus L"]] * pooled(scanner.bias), rel=1e-4)
    for side_mm in (40.0, 150.0):  # voxels larger and smaller than cells
        noisy = replace(Scanner.draw(means, side_mm, rng), noise=0.1, texture=scanner.texture)
        difference = noisy.picture(seen, rng) - noisy.picture(seen, rng)
        assert 0.02 < difference.std() < 0.2


def test_lesions_stand_out_from_what_they_lie_in():
    rng = np.random.default_rng(6)
    for _ in range(20):
        means = draw_means(rng, PLAIN)
        assert means.shape == (64,)
        assert np.isfinite(means).all()
        lesion = with_lesion(means, ID["white matter L"], rng)[LESION]
        assert lesion != means[ID["white matter L"]]


def test_grids_and_fields_are_interpolated_between_their_knots():
    rng = np.random.default_rng(7)
    field = smooth_field(rng, 3, 65)
    middle = (field[0, 0] + field[0, 32]) / 2
    assert field[0, 16] == pytest.approx(middle, abs=1e-5)
    rows = np.repeat(np.arange(128)[:, None], 128, axis=1)
    assert pooled(rows)[:, 0] == pytest.approx(2 * np.arange(64) + 0.5)
    assert FieldOfView(rows, rows.T, 1.0).seen(rows.astype(np.uint8))[5, 9] == 5


def test_small_objects_get_neither_box_nor_mask():
    rng = np.random.default_rng(8)
    dot = np.zeros((64, 64), bool)
    dot[20, 20:23] = True
    assert draw_box(dot, rng) is None
    assert draw_mask(dot, rng) is None
    assert draw_mask(np.ones((64, 64), bool), rng).all()


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="box"):
        SampleConfig(box=1.5)
    with pytest.raises(ConfigError, match="large_crop_range"):
        SampleConfig(large_crop_range=(2.0, 1.0))
    with pytest.raises(ConfigError, match="max_crop_mm"):
        SampleConfig(min_crop_mm=200.0)
