"""What a correction may not do: clear a slice that the object is on, take a mask away for one click, or bend the slices around it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from NeuroSAM2Core import Session
from NeuroSAM2Core.inference import EngineOptions
from NeuroSAM2Core.inference.prediction.slice_answer import SliceAnswer
from NeuroSAM2Core.inference.prediction.slice_predictor import SlicePredictor
from NeuroSAM2Core.inference.propagation.track import Ending, SliceEvidence, ending_of
from NeuroSAM2Core.model import MaskPrediction
from NeuroSAM2Core.prompts import PointPrompt, PromptSet
from NeuroSAM2Core.volume import Axis, SliceMask, SlicePlane
from Testing.Support.models import small_model
from Testing.Support.volumes import noise_volume

CORRECTING = EngineOptions(
    crops=True,
    carries_boxes=True,
    ends_by_shape=True,
    clears_denied=True,
    interpolates=True,
    select_correction_mask=True,
)
MIDDLE = (48, 56)


def disc(radius, *, row=MIDDLE[0], col=MIDDLE[1]):
    rows, cols = np.mgrid[:96, :112]
    return (rows - row) ** 2 + (cols - col) ** 2 <= radius**2


def on_slice(index, mask):
    return SliceMask(object_id=1, plane=SlicePlane(Axis.K, index), mask=mask, predicted_iou=0.8, object_score=1.0)


@pytest.fixture
def session():
    """An object 24 mm wide is confirmed on slice 4 of 30, and known on 7 and 20."""
    session = Session(small_model(rasterize_prompts=True), noise_volume(30, 96, 112), options=CORRECTING)
    session.add_mask(1, "axial", 4, disc(12))
    for index in (7, 20):
        session.restore(on_slice(index, disc(12)))
    return session


@pytest.mark.parametrize(("index", "is_cleared"), [(7, False), (20, True)])
def test_a_negative_click_clears_only_slices_where_the_object_may_have_ended(session, index, is_cleared, monkeypatch):
    asked = []
    denies = SlicePredictor._rejects_object
    monkeypatch.setattr(SlicePredictor, "_rejects_object", lambda *given: asked.append(1) or denies(*given))
    mask = session.add_point(1, "axial", index, MIDDLE, positive=False).mask
    assert bool(asked) == is_cleared
    if is_cleared:
        assert not mask.any()


def prediction(mask, iou):
    logits = torch.where(torch.from_numpy(mask), 5.0, -5.0)[None, None]
    ious, pointer = torch.tensor([[iou]]), torch.zeros(1, 4)
    return MaskPrediction(logits, ious, pointer, torch.tensor([[3.0]]), logits, ious, pointer[:, None])


@pytest.mark.parametrize(
    ("left", "iou", "is_worse"),
    [
        (disc(11), 0.1, False),  # most is kept, whatever it is expected to be
        (disc(8), 0.3, True),
        (disc(8), 0.45, False),  # less is kept, and it is nearly as good
        (disc(4), 0.45, True),
        (disc(4), 0.6, False),  # next to nothing is kept, but that is better
    ],
)
def test_a_click_that_takes_most_of_a_mask_away_must_be_worth_it(session, left, iou, is_worse):
    predictor = next(iter(session._views.values())).predictor
    whole = predictor.crops.whole
    before = SliceAnswer(prediction(disc(12), 0.5), whole)
    assert predictor._lost_too_much(prediction(left, iou), whole, before) is is_worse
    assert not predictor._lost_too_much(prediction(left, iou), whole, None)
    predictor.options = replace(predictor.options, select_correction_mask=False)
    assert not predictor._lost_too_much(prediction(left, iou), whole, before)


@pytest.mark.parametrize("change", [{"expected_iou": 0.1}, {"area": 1.0}, {"overlap": 0.0}])
def test_shape_does_not_end_an_object_before_a_confirmed_slice(change):
    evidence = SliceEvidence(object_score_logits=3.0, expected_iou=0.8, area=100.0, overlap=0.7)
    options = EngineOptions(ends_by_shape=True, min_iou=0.4, min_area_ratio=0.3, min_overlap=0.3)
    assert ending_of(replace(evidence, **change), 100.0, options) is not None
    assert ending_of(replace(evidence, **change), 100.0, options, is_between=True) is None
    gone = replace(evidence, object_score_logits=-1.0)
    assert ending_of(gone, 100.0, options, is_between=True) is Ending.OBJECT_SCORE


@pytest.mark.parametrize(("ahead", "is_bent"), [(disc(10), True), (disc(10, col=80), False)])
def test_shapes_between_two_slices_are_expected_only_where_these_are_alike(ahead, is_bent, monkeypatch):
    session = Session(small_model(rasterize_prompts=True), noise_volume(30, 96, 112), options=CORRECTING)
    session.add_mask(1, "axial", 4, disc(12))
    expected = []
    bend = "NeuroSAM2Core.inference.propagation.propagation_pass.interpolated"
    monkeypatch.setattr(bend, lambda before, *_: expected.append(1) or torch.where(before, 1.0, -1.0))
    session.add_mask(1, "axial", 10, ahead)
    assert [one.plane.index for one in session.propagate(1, first=5, last=5)] == [5]
    assert bool(expected) == is_bent


def test_a_thousand_clicks_keep_memory_bounded_and_can_be_undone():
    options = replace(CORRECTING, max_slice_prompts=4)
    rng = np.random.default_rng(0)
    clicks = [PointPrompt(*map(float, rng.uniform(20, 70, 2)), bool(n % 2)) for n in range(12)]

    def prompts(count):
        return PromptSet(object_id=1, plane=SlicePlane(Axis.K, 4), points=tuple(clicks[:count]))

    many, few = (
        Session(small_model(rasterize_prompts=True), noise_volume(9, 96, 112), options=options) for _ in range(2)
    )
    many.set_prompts(prompts(12))
    (track,) = (track for _, track in many._objects.values())
    (replay,) = track.prompt_histories.values()
    assert sum(answer is not None for answer in replay.answers) == 4
    for count in (10, 5, 12):
        np.testing.assert_array_equal(many.set_prompts(prompts(count)).mask, few.set_prompts(prompts(count)).mask)
