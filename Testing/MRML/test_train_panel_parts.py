"""What the training panel shows besides the controller: curves, estimates, adaptations, folders of cases."""

import json
import os

import pytest
from NeuroSAM2MRML.engine.choice import Place
from NeuroSAM2MRML.engine.installation import Found, Step, training_plan
from NeuroSAM2MRML.engine.pace import Pace
from NeuroSAM2MRML.scene.practice_volume import SHAPE, add_practice_volume, practice_voxels
from NeuroSAM2MRML.training.adaptation import ADAPTATIONS, matching, parse_settings
from NeuroSAM2MRML.training.case_import import find_pairs
from NeuroSAM2MRML.training.estimate import UNKNOWN, estimate
from NeuroSAM2MRML.training.loss_plot import LossPlot

from NeuroSAM2Core.errors import ConfigError, DataError


def test_curves_become_a_chart_that_grows(app):
    plot = LossPlot(app.scene)
    plot.show([(1, 0.5)])
    chart = plot.show([(1, 0.5), (2, 0.25)], [(2, 0.75)])
    assert chart.GetNumberOfPlotSeriesNodes() == 2
    series = chart.GetNthPlotSeriesNode(1)
    assert series.GetTableNode().GetTable().GetValueByName(0, series.GetYColumnName()).ToDouble() == 0.75
    assert chart.GetNthPlotSeriesNode(0).GetTableNode().GetTable().GetNumberOfRows() == 2


def test_a_curve_of_one_point_is_a_marker_and_a_longer_one_a_line(app):
    plot = LossPlot(app.scene)
    for curve, dices, is_line in (([(1, 0.5)], [(1, 0.1)], False), ([(1, 0.5), (2, 0.25)], [(1, 0.1), (2, 0.2)], True)):
        chart = plot.show(curve, dices)
        for series in map(chart.GetNthPlotSeriesNode, range(2)):
            assert (series.GetLineStyle() != series.LineStyleNone) == is_line
            assert (series.GetMarkerStyle() != series.MarkerStyleNone) != is_line
    chart = plot.show([(1, 0.5)], [(1, 0.1)])
    assert chart.GetNthPlotSeriesNode(0).GetLineStyle() == chart.GetNthPlotSeriesNode(0).LineStyleNone


def test_a_slow_pace_is_said_in_seconds():
    assert Pace(0.0, "steps").sentence((3, 9), 12.0) == "3 of 9 steps, 4.0 s each, 24 s left"
    assert Pace(0.0).sentence((30, 90), 12.0) == "30 of 90 slices, 2.5 per second, 24 s left"


def test_time_is_estimated_from_an_earlier_run_and_never_guessed(tmp_path):
    assert estimate(tmp_path, 400) == UNKNOWN
    run = tmp_path / "runs" / "001"
    run.mkdir(parents=True)
    config, metrics = run.with_suffix(".toml"), run / "metrics.jsonl"
    config.write_text("")
    metrics.write_text('{"step": 10, "loss": 1}\n{"step": 20, "loss": 1}\n')
    os.utime(config, (1000, 1000))
    os.utime(metrics, (1040, 1040))
    assert estimate(tmp_path, 400) == "About 13 min, judged by run 001 on this computer (2 s per step)."
    metrics.write_text('{"step": 10, "loss": 1, "memory_gb": 1.25}\n{"step": 20, "memory_gb": 2.5}\n')
    os.utime(metrics, (1040, 1040))
    assert "and 2.5 GB of memory, judged by run 001" in estimate(tmp_path, 400)
    metrics.write_text('{"step": 10, "lo')
    assert estimate(tmp_path, 400) == UNKNOWN


def test_every_adaptation_is_recognised_by_its_parts():
    for number, one in enumerate(ADAPTATIONS):
        assert matching(one.parts[::-1], one.adapter_rank) == number
    assert matching(["trunk"], 0) is None


def test_settings_are_read_and_a_bad_line_is_named():
    assert parse_settings("a.b = 1\n\n# note\nc = [1, 2]") == {"a.b": "1", "c": "[1, 2]"}
    with pytest.raises(ConfigError, match="line 2"):
        parse_settings("a = 1\nfaster")


def test_pairs_are_found_in_bids_twins_and_lists(tmp_path):
    for name in (
        "sub-1/anat/sub-1_T1w.nii.gz",
        "derivatives/p/sub-1/anat/sub-1_dseg.nii.gz",
        "derivatives/p/sub-2/anat/sub-2_dseg.nii.gz",
        "images/a.nii",
        "labels/a.nii.gz",
        "labels/alone.nii.gz",
        "x.nrrd",
        "y.nrrd",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "dataset.json").write_text(json.dumps({"validation": [{"image": "x.nrrd", "seg": "y.nrrd"}]}))
    roles = {pair.name: pair.role for pair in find_pairs(tmp_path)}
    assert roles == {"a": None, "sub-1": None, "x": "validation"}


def test_images_of_one_name_in_a_list_are_two_pairs(tmp_path):
    listed = [{"image": f"{one}/T1.nii", "seg": f"{one}/seg.nii"} for one in "ab"]
    (tmp_path / "dataset.json").write_text(json.dumps({"training": listed}))
    assert [pair.image.parent.name for pair in find_pairs(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize("text", ["{", '{"training": [{"image": "x"}]}', '{"training": 3}', "[]"])
def test_a_damaged_list_is_refused(tmp_path, text):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(DataError, match="cannot be read"):
        find_pairs(tmp_path)


def test_a_folder_without_pairs_says_what_was_expected(tmp_path):
    with pytest.raises(DataError, match=r"no annotated volumes.*BIDS"):
        find_pairs(tmp_path)


def test_training_elsewhere_still_needs_what_writes_cases():
    assert training_plan(Found(place=Place.INTERPRETER)).requirements == ("nibabel>=5.2",)
    assert training_plan(Found(place=Place.INTERPRETER, modules=frozenset({"nibabel"}))).step is Step.NOTHING


def test_the_practice_volume_is_the_same_every_time_and_upright(app):
    assert (practice_voxels() == practice_voxels()).all()
    node = add_practice_volume(app.scene)
    assert node.GetImageData().GetDimensions() == SHAPE[::-1]
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    assert bounds[0] == pytest.approx(-bounds[1])
