"""Holes and islands in a person's own measure: millimetres across."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from NeuroSAM2Core import EngineOptions, Session, Volume
from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.inference.prediction.postprocess import largest_below, slice_options, volume_options
from NeuroSAM2Core.prompts import BoxPrompt, MaskPrompt, PromptSet
from NeuroSAM2Core.volume import Axis, MaskCleanup, SliceMask, SlicePlane
from Testing.Support.models import small_model
from Testing.Support.volumes import noise_volume

SPACING = (0.5, 0.5, 3.0)
OWN = EngineOptions()
RAW = EngineOptions(max_hole_area=0, min_island_area=0, stop_after_absent=None)


def test_a_size_is_that_of_a_disc_on_a_slice_and_of_a_ball_in_the_whole():
    cleanup = MaskCleanup(hole_mm=4.0, island_mm=4.0)
    along_k, along_i = (slice_options(OWN, cleanup, SPACING, axis) for axis in (Axis.K, Axis.I))
    assert along_k.max_hole_area == math.floor(math.pi * 2**2 / 0.25)
    assert along_i.max_hole_area == math.floor(math.pi * 2**2 / 1.5)
    assert along_k.min_island_area == math.ceil(math.pi * 2**2 / 0.25)
    whole = volume_options(OWN, cleanup, SPACING)
    assert whole.max_hole_volume == math.floor(4 / 3 * math.pi * 2**3 / 0.75)
    assert whole.min_island_volume == math.ceil(4 / 3 * math.pi * 2**3 / 0.75)


def test_a_blemish_of_exactly_that_size_stays_and_a_smaller_one_goes():
    width_mm = 2 * math.sqrt(9 / math.pi)  # a disc of nine pixels
    options = slice_options(
        OWN, MaskCleanup(hole_mm=width_mm + 1e-9, island_mm=width_mm - 1e-9), (1.0, 1.0, 1.0), Axis.K
    )
    assert (options.max_hole_area, options.min_island_area) == (9, 9)
    assert [largest_below(size) for size in (0.0, 0.5, 1.0, 1.5, 9.0)] == [0, 0, 0, 1, 8]


def test_where_nothing_is_reported_the_engine_does_as_it_always_did():
    assert slice_options(OWN, MaskCleanup(), SPACING, Axis.K) == OWN
    whole = volume_options(OWN, MaskCleanup(), SPACING)
    radius = math.sqrt(OWN.max_hole_area / math.pi)
    assert whole.max_hole_volume == math.floor(4 / 3 * math.pi * radius**3)
    assert volume_options(replace(OWN, max_hole_area=None), MaskCleanup(), SPACING).max_hole_volume is None


def test_zero_leaves_everything_and_less_is_a_mistake():
    options = slice_options(OWN, MaskCleanup(hole_mm=0.0, island_mm=0.0), SPACING, Axis.K)
    assert (options.max_hole_area, options.min_island_area) == (0, 0)
    for size in (-1.0, math.inf, math.nan):
        with pytest.raises(ConfigError, match="holes"):
            MaskCleanup(hole_mm=size)


@pytest.fixture
def session():
    return Session(small_model(), noise_volume(16, 48, 56), options=RAW)


def parts(mask):
    return ndimage.label(mask, np.ones((3, 3)))[1]


def blemished(session):
    """Prompts that the model answers with islands and holes."""
    for index in range(16):
        for box in (BoxPrompt(10, 12, 40, 44), BoxPrompt(4, 30, 20, 50), BoxPrompt(2, 2, 30, 20)):
            prompts = PromptSet(object_id=1, plane=SlicePlane(Axis.K, index), box=box)
            mask = session.preview(prompts).mask
            if parts(mask) > 1 and (ndimage.binary_fill_holes(mask) != mask).any():
                return prompts
    raise AssertionError("the model draws no blemish anywhere")


def test_it_takes_effect_on_the_next_answer_and_can_be_taken_back(session):
    prompts = blemished(session)
    raw = session.set_prompts(prompts).mask
    session.set_cleanup(MaskCleanup(hole_mm=200.0, island_mm=200.0))
    assert parts(session.preview(prompts).mask) == 1
    clean = session.set_prompts(prompts).mask
    assert parts(clean) == 1
    np.testing.assert_array_equal(clean, ndimage.binary_fill_holes(clean))
    session.set_cleanup(MaskCleanup())
    np.testing.assert_array_equal(session.set_prompts(prompts).mask, raw)


def shell(shape, hole, island):
    """A ball with a hole in it and an island beside it, (K, J, I)."""
    k, j, i = np.indices(shape)
    centre = [(n - 1) / 2 for n in shape]
    voxels = (k - centre[0]) ** 2 + (j - centre[1]) ** 2 + (i - centre[2]) ** 2 < 6.5**2
    voxels[hole] = False
    voxels[island] = True
    return voxels


HOLE, ISLAND = np.s_[7:9, 23:25, 27:29], np.s_[6:8, 2:4, 2:4]


def told(session, voxels, confirmed=()):
    """The session knows the object slice by slice."""
    for index in range(len(voxels)):
        plane = SlicePlane(Axis.K, index)
        known = SliceMask(object_id=1, plane=plane, mask=voxels[index], predicted_iou=0.9, object_score=0.9)
        prompts = PromptSet(object_id=1, plane=plane, mask=MaskPrompt(voxels[index])) if index in confirmed else None
        session.restore(known, prompts)


def test_the_whole_object_is_cleaned_of_what_no_slice_shows(session):
    voxels = shell((16, 48, 56), HOLE, ISLAND)
    told(session, voxels)
    session.set_cleanup(MaskCleanup(hole_mm=4.0, island_mm=4.0, is_whole=True))
    changed = {one.plane.index: one for one in session.cleaned(1)}
    assert sorted(changed) == [6, 7, 8]
    clean = shell((16, 48, 56), np.s_[0:0], np.s_[0:0])
    for index, one in changed.items():
        np.testing.assert_array_equal(one.mask, clean[index])
        assert (one.predicted_iou, one.object_score) == (0.9, 0.9)
    np.testing.assert_array_equal(session.mask(1), clean)
    np.testing.assert_array_equal(session.slice_mask(1, "k", 7).mask, voxels[7])


def test_confirmed_slices_stay_as_they_are_and_large_blemishes_too(session):
    told(session, shell((16, 48, 56), HOLE, ISLAND), confirmed=(7,))
    session.set_cleanup(MaskCleanup(hole_mm=4.0, island_mm=4.0))
    assert [one.plane.index for one in session.cleaned(1)] == [6, 8]
    session.set_cleanup(MaskCleanup(hole_mm=2.4, island_mm=2.4))  # a ball of 7.2 voxels; the blemishes have 8
    assert list(session.cleaned(1)) == []


def test_a_click_after_cleaning_in_mm_gives_the_masks_of_the_right_spacing():
    matrix = np.diag([-0.25, -0.25, 1.0, 1.0])
    fine = Session(small_model(), Volume(noise_volume(16, 48, 56).voxels, matrix), options=RAW)
    fine.set_cleanup(MaskCleanup(island_mm=2.0))
    plain = Session(fine.model, fine.volume, options=RAW)
    prompts = blemished(plain)
    labels, _ = ndimage.label(plain.set_prompts(prompts).mask, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())
    kept = [number for number in range(1, len(sizes)) if sizes[number] >= math.pi / 0.0625]
    assert 0 < len(kept) < len(sizes) - 1
    np.testing.assert_array_equal(fine.set_prompts(prompts).mask, np.isin(labels, kept))
