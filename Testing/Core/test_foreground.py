"""All that is not air, as a reading of a click."""

import numpy as np
import pytest

from NeuroSAM2Core import Session, Volume, load_model
from NeuroSAM2Core.inference.prediction.readings import LARGE_READING, foreground_parts, part_at

ROW, COL = np.mgrid[:96, :80]


def disc(radius, row=46, col=40):
    return (ROW - row) ** 2 / 1.3 + (COL - col) ** 2 < radius**2


def head(noise=8.0):
    """A slice through skin, skull, brain and a ventricle."""
    rng = np.random.default_rng(3)
    slice_ = rng.normal(20, noise, ROW.shape)
    for radius, intensity in ((34, 700), (30, 60), (26, 400), (5, 120)):
        slice_[disc(radius)] = intensity + rng.normal(0, noise, int(disc(radius).sum()))
    return slice_


def foreground_at(picture, row, col):
    return part_at(foreground_parts(picture), row, col)


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.mark.parametrize("noise", [0.0, 8.0, 25.0])
def test_the_foreground_is_the_head_with_its_skull_and_ventricles(noise):
    mask = foreground_at(head(noise), 46, 40)
    assert dice(mask, disc(34)) > 0.97


def test_a_click_in_air_or_in_a_slice_without_any_has_no_foreground():
    assert foreground_at(head(), 2, 2) is None
    assert foreground_at(np.zeros((64, 64)), 30, 30) is None
    everywhere = np.random.default_rng(0).uniform(300, 900, (64, 64))
    assert foreground_at(everywhere, 30, 30) is None


def test_a_second_body_is_not_part_of_the_foreground():
    other = disc(9, row=85, col=70)
    mask = foreground_at(np.where(other, 500, np.where(disc(20), 400, 0)), 46, 40)
    assert dice(mask, disc(20)) > 0.95
    assert not mask[85, 70]


@pytest.fixture(scope="module")
def session():
    voxels = np.stack([head()] * 3).astype(np.float32)
    return Session(load_model("nano", device="cpu"), Volume(voxels, np.eye(4)))


def readings(session, row, col):
    """Of a first click."""
    if 1 in session.object_ids:
        session.remove(1)
    count = session.add_point(1, "axial", 1, (row, col)).num_readings
    return [session.choose_reading(1, "axial", 1, number).mask for number in range(count)]


def test_the_head_is_among_the_first_three_readings_of_a_click(session):
    masks = readings(session, 46, 60)
    assert dice(masks[LARGE_READING], disc(34)) > 0.95
    assert sum(dice(mask, disc(34)) > 0.8 for mask in masks) == 1


@pytest.mark.parametrize(("row", "col"), [(46, 40), (30, 40), (72, 42)])
def test_a_click_in_the_brain_may_mean_the_head_as_well(session, row, col):
    assert max(dice(mask, disc(34)) for mask in readings(session, row, col)) > 0.95


def test_a_click_on_one_body_in_air_is_read_as_that_body_once():
    ball = np.where(disc(20), 400.0, 0.0) + np.random.default_rng(1).normal(0, 5, ROW.shape)
    session = Session(load_model("nano", device="cpu"), Volume(np.stack([ball] * 3).astype(np.float32), np.eye(4)))
    assert sum(dice(mask, disc(20)) > 0.8 for mask in readings(session, 46, 40)) == 1


def test_a_click_in_air_still_has_readings(session):
    assert readings(session, 3, 3)


def test_the_foreground_of_a_slice_is_found_once(session, monkeypatch):
    from NeuroSAM2Core.inference.prediction import slice_predictor

    found = []
    monkeypatch.setattr(
        slice_predictor, "foreground_parts", lambda picture: found.append(1) or foreground_parts(picture)
    )
    readings(session, 46, 60)
    session.add_point(2, "axial", 2, (46, 60))
    session.add_point(3, "axial", 2, (30, 40))
    assert found == [1]
