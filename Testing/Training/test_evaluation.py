"""Evaluation through the real engine: what is prompted, what is measured, what is left out."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from NeuroSAM2Core import EngineOptions, Session
from NeuroSAM2Core.errors import ConfigError, DataError
from NeuroSAM2Core.prompts import ObjectPrompts, lasso_from_mask, scribble_from_error
from NeuroSAM2Core.training.config.data import DataConfig, EvaluationConfig
from NeuroSAM2Core.training.data import read_cases
from NeuroSAM2Core.training.evaluation import EvaluationResult, Measurement, dice, evaluate_cases
from NeuroSAM2Core.training.evaluation.results import as_markdown
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume
from Testing.Support.cases import two_balls, write_dataset
from Testing.Support.models import small_model

CONFIG = EvaluationConfig(num_clicks=0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("cases"), training=1, validation=2)


@pytest.fixture
def data(dataset):
    return DataConfig(datasets=(str(dataset),))


def measured(data, config=CONFIG, **calls):
    return evaluate_cases(small_model(), read_cases(data.datasets, "validation"), data, config, **calls)


def test_every_object_gets_every_first_prompt_and_its_corrections(data):
    slices = []
    config = EvaluationConfig(num_clicks=1)
    result = measured(data, config, on_slice=lambda: slices.append(1))
    assert {(m.case, m.object, m.kind, m.clicks) for m in result.measurements} == {
        (case, name, kind, clicks)
        for case in ("image1", "image2")
        for name in ("1", "2")
        for kind in ("box", "click")
        for clicks in (0, 1)
    }
    assert len(slices) > 24
    for m in result.measurements:
        assert 0 <= m.iou <= m.dice <= 1
        assert m.dice == pytest.approx(2 * m.iou / (1 + m.iou))
        assert 0 <= m.surface_dice <= 1


def test_the_numbers_are_those_of_the_engine_asked_by_hand(data):
    case = read_cases(data.datasets, "validation")[0]
    session = Session(small_model(), Volume.read(case.image))
    truth = Volume.read(case.label).voxels == 1
    index = int(truth.sum(axis=(1, 2)).argmax())
    rows, cols = np.nonzero(truth[index].any(axis=1))[0], np.nonzero(truth[index].any(axis=0))[0]
    session.add_box(1, "k", index, (rows[0], cols[0], rows[-1], cols[-1]))
    list(session.propagate(1))
    expected = dice(session.mask(1), truth)
    config = EvaluationConfig(num_clicks=0, kinds=("box",))
    first = next(m for m in measured(data, config).measurements if (m.case, m.object) == (case.name, "1"))
    assert first.dice == expected


def test_a_scribble_and_a_lasso_are_measured_as_the_panels_give_them(data):
    case = read_cases(data.datasets, "validation")[0]
    image, truth = Volume.read(case.image), Volume.read(case.label).voxels == 1
    plane = SlicePlane(Axis.K, int(truth.sum(axis=(1, 2)).argmax()))
    shown = plane.of(truth)
    expected = {}
    for kind in ("scribble", "lasso"):
        prompts = ObjectPrompts()
        if kind == "scribble":
            prompts = prompts.with_scribble(plane, scribble_from_error(shown, np.zeros_like(shown)))
        else:
            prompts = prompts.with_lasso(plane, lasso_from_mask(shown))
        session = Session(small_model(), image)
        session.set_prompts(prompts.prompt_set(1, plane, revision=1, mask=None, shape=shown.shape))
        list(session.propagate(1))
        expected[kind] = dice(session.mask(1), truth)
    config = EvaluationConfig(num_clicks=0, kinds=("scribble", "lasso"), has_surfaces=False)
    found = [m for m in measured(data, config).measurements if (m.case, m.object) == (case.name, "1")]
    assert {m.kind: m.dice for m in found} == expected
    assert next(m for m in found if m.kind == "lasso").slice_dice > 0.9


def test_only_the_largest_objects_and_what_was_asked_for_are_measured(data):
    config = EvaluationConfig(num_clicks=0, kinds=("click",), max_objects=1, has_surfaces=False)
    result = measured(data, config)
    assert [(m.kind, m.clicks) for m in result.measurements] == [("click", 0)] * 2
    assert all(math.isnan(m.surface_dice) for m in result.measurements)
    sizes = np.bincount(Volume.read(read_cases(data.datasets, "validation")[0].label).voxels.ravel())[1:]
    assert result.measurements[0].object == str(1 + int(sizes.argmax()))


def test_a_model_in_training_stays_in_training(data):
    model = small_model()
    model.train()
    try:
        evaluate_cases(model, read_cases(data.datasets, "validation")[:1], data, EvaluationConfig(num_clicks=0))
        assert model.training
    finally:
        model.eval()


def test_a_bad_case_is_left_out_and_named_or_stops(tmp_path):
    data = DataConfig(datasets=(str(write_dataset(tmp_path, training=0, validation=2)),))
    (tmp_path / "label0.nii.gz").unlink()
    result = measured(data, EvaluationConfig(num_clicks=0))
    assert {m.case for m in result.measurements} == {"image1"}
    assert [s.case for s in result.skipped] == ["image0"]
    assert "there is no file" in result.skipped[0].reason
    with pytest.raises(DataError, match="the case image0 cannot be used"):
        measured(DataConfig(datasets=data.datasets, on_bad_case="stop"))


def test_the_engines_logits_are_what_its_masks_are_cut_from(data):
    image = Volume.read(read_cases(data.datasets, "validation")[0].image)
    session = Session(small_model(), image, options=EngineOptions(max_hole_area=0, min_island_area=0))
    session.add_box(1, "k", 6, (8, 8, 30, 20))
    list(session.propagate(1, first=4, last=8))
    logits = session.logits(1)
    np.testing.assert_array_equal(logits > 0, session.mask(1))
    assert session.mask(1).any()
    assert (logits[[0, 3, 9, 11]] == -1024).all()


def measurement(case, kind, clicks, dice, name="1"):
    return Measurement(
        case=case, object=name, kind=kind, clicks=clicks, dice=dice, iou=0.0, slice_dice=0.0, medsam2_iou=0.0, medsam2_dice=0.0
    )  # fmt: skip


RESULT = EvaluationResult(
    (
        measurement("a", "box", 0, 0.5),
        measurement("a", "box", 1, 0.9),
        measurement("a", "box", 2, 0.7),
        measurement("b", "box", 0, 1.0),
        measurement("a", "click", 0, 0.2),
        measurement("a", "click", 1, 0.4),
    )
)


def test_means_are_over_objects_each_after_its_last_correction_at_most():
    assert RESULT.mean_dice("box") == 0.75
    assert RESULT.mean_dice("box", 1) == pytest.approx(0.95), "b was done after its first prompt"
    assert RESULT.mean_dice("box", 2) == pytest.approx(0.85)
    assert RESULT.mean_dice("click") == 0.2, "kinds are apart"
    assert math.isnan(EvaluationResult(()).mean_dice("box"))


def test_corrections_are_counted_to_the_first_time_the_target_is_reached():
    assert RESULT.clicks_to("box", 0.85) == {("a", "1"): 1, ("b", "1"): 0}
    assert RESULT.clicks_to("click", 0.85) == {("a", "1"): None}


def test_results_of_several_processes_are_joined():
    parts = [EvaluationResult(RESULT.measurements[:3]), EvaluationResult(RESULT.measurements[3:])]
    assert EvaluationResult.join(parts) == RESULT


@pytest.mark.parametrize(
    ("setting", "value"),
    [("kinds", ()), ("kinds", ("mask",)), ("num_clicks", -1), ("target_dice", 0.0), ("tolerance_mm", 0.0)],
)
def test_a_setting_that_cannot_be_is_named(setting, value):
    with pytest.raises(ConfigError, match=f"evaluation.{setting}"):
        EvaluationConfig(**{setting: value})


def test_cases_of_one_name_are_measured_apart(tmp_path):
    for n in (1, 2):
        folder = tmp_path / f"sub-0{n}" / "anat"
        folder.mkdir(parents=True)
        image, label = two_balls(seed=n)
        image.write(folder / "T1w.nii.gz")
        label.with_voxels((label.voxels == n).astype(np.uint8)).write(folder / "dseg.nii.gz")
    entries = [{"image": f"sub-0{n}/anat/T1w.nii.gz", "seg": f"sub-0{n}/anat/dseg.nii.gz"} for n in (1, 2)]
    (tmp_path / "dataset.json").write_text(json.dumps({"training": [], "validation": entries}), encoding="utf-8")
    data = DataConfig(datasets=(str(tmp_path / "dataset.json"),))
    result = measured(data, EvaluationConfig(kinds=("box",), num_clicks=0, has_surfaces=False))
    dices = [m.dice for m in result.measurements]
    assert len(result.after("box", 0)) == 2
    assert result.mean_dice("box") == pytest.approx(sum(dices) / 2)
    assert "on 2 cases" in as_markdown(result, CONFIG, "nano")
    alike = [replace(case, name="T1w") for case in read_cases(data.datasets, "validation")]
    again = evaluate_cases(small_model(), alike, data, EvaluationConfig(kinds=("box",), num_clicks=0))
    assert {m.case for m in again.measurements} == {"sub-01/anat/T1w", "sub-02/anat/T1w"}
