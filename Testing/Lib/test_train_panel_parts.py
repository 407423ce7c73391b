"""What the training panel shows besides the controller: curves, estimates, adaptations, folders of cases."""

import json
import os
import unicodedata

import numpy as np
import pytest
from NeuroSAM2Lib.engine.choice import Found, Place, Step, training_plan
from NeuroSAM2Lib.scene.practice_volume import SHAPE, add_practice_volume, practice_voxels
from NeuroSAM2Lib.training.case_import import find_pairs
from NeuroSAM2Lib.training.cases import CaseList
from NeuroSAM2Lib.training.loss_plot import LossPlot
from NeuroSAM2Lib.training.run import ADAPTATIONS, UNKNOWN, estimate, matching, parse_settings
from NeuroSAM2Lib.view_state import ProgressRate

from NeuroSAM2Core.errors import ConfigError, DataError
from NeuroSAM2Core.naming import stem_of
from NeuroSAM2Core.volume import Volume
from Testing.Support.exported import add_case


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


def test_a_slow_pace_is_reported_in_seconds():
    assert ProgressRate(0.0, "steps").sentence((3, 9), 12.0) == "3 of 9 steps, 4.0 s each, 24 s left"
    assert ProgressRate(0.0).sentence((30, 90), 12.0) == "30 of 90 slices, 2.5 per second, 24 s left"


def test_time_is_estimated_from_an_earlier_run_and_never_guessed(tmp_path):
    assert estimate(tmp_path, 400) == UNKNOWN
    run = tmp_path / "runs" / "001"
    run.mkdir(parents=True)
    config, metrics = run.with_suffix(".toml"), run / "metrics.jsonl"
    config.write_text("", encoding="utf-8")
    metrics.write_text('{"step": 10, "loss": 1}\n{"step": 20, "loss": 1}\n', encoding="utf-8")
    os.utime(config, (1000, 1000))
    os.utime(metrics, (1040, 1040))
    assert estimate(tmp_path, 400) == "About 13 min, judged by run 001 on this computer (2 s per step)."
    metrics.write_text('{"step": 10, "loss": 1, "memory_gb": 1.25}\n{"step": 20, "memory_gb": 2.5}\n', encoding="utf-8")
    os.utime(metrics, (1040, 1040))
    assert "and 2.5 GB of memory, judged by run 001" in estimate(tmp_path, 400)
    metrics.write_text('{"step": 10, "lo', encoding="utf-8")
    assert estimate(tmp_path, 400) == UNKNOWN


def test_every_adaptation_is_recognised_by_its_parts():
    for number, one in enumerate(ADAPTATIONS):
        assert matching(one.parts[::-1], one.adapter_rank) == number
    assert matching(["trunk"], 0) == matching(ADAPTATIONS[0].parts, None) == len(ADAPTATIONS)


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
    (tmp_path / "dataset.json").write_text(
        json.dumps({"validation": [{"image": "x.nrrd", "seg": "y.nrrd"}]}), encoding="utf-8"
    )
    roles = {pair.name: pair.role for pair in find_pairs(tmp_path)}
    assert roles == {"a": None, "sub-1": None, "x": "validation"}


def test_images_of_one_name_in_a_list_are_two_pairs(tmp_path):
    listed = [{"image": f"{one}/T1.nii", "seg": f"{one}/seg.nii"} for one in "ab"]
    (tmp_path / "dataset.json").write_text(json.dumps({"training": listed}), encoding="utf-8")
    assert [pair.image.parent.name for pair in find_pairs(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize("text", ["{", '{"training": [{"image": "x"}]}', '{"training": 3}', "[]", "[" * 100_000])
def test_a_damaged_list_is_refused(tmp_path, text):
    (tmp_path / "dataset.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read"):
        find_pairs(tmp_path)


def test_a_folder_without_pairs_says_what_was_expected(tmp_path):
    with pytest.raises(DataError, match=r"no annotated volumes.*BIDS"):
        find_pairs(tmp_path)


def test_training_elsewhere_still_needs_what_writes_cases():
    plan = training_plan(Found(place=Place.INTERPRETER))
    assert plan.requirements == ("psutil>=5.9", "filelock>=3.12", "nibabel>=5.2")
    there = frozenset({"psutil", "filelock", "nibabel"})
    assert training_plan(Found(place=Place.INTERPRETER, modules=there)).step is Step.NOTHING


def test_the_practice_volume_is_the_same_every_time_and_upright(app):
    assert (practice_voxels() == practice_voxels()).all()
    node = add_practice_volume(app.scene)
    assert node.GetImageData().GetDimensions() == SHAPE[::-1]
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    assert bounds[0] == pytest.approx(-bounds[1])


def laid_out(folder, *names):
    """Empty files; those without a folder are of subject 1, labels among the derivatives."""
    for name in names:
        place = "" if "/" in name else "derivatives/p/sub-1/anat/" if "dseg" in name else "sub-1/anat/"
        (folder / f"{place}{name}.nii.gz").parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{place}{name}.nii.gz").touch()


def found_in(folder):
    """Which label goes with which image, and what is left out."""
    unclear = []
    pairs = find_pairs(folder, on_unclear=unclear.append)
    return {stem_of(pair.label): stem_of(pair.image) for pair in pairs}, [stem_of(one.label) for one in unclear]


@pytest.mark.parametrize(
    ("label", "image", "others"),
    [
        ("sub-1_run-1_dseg", "sub-1_run-1_T1w", ["sub-1_run-10_T1w"]),
        ("sub-1_run-1_dseg", "sub-1_run-01_T1w", ["sub-1_run-010_T1w"]),
        ("sub-1_T1w_dseg", "sub-1_T1w", ["sub-1_FLAIR"]),
        ("sub-1_space-T1w_dseg", "sub-1_T1w", ["sub-1_FLAIR"]),
        ("sub-1_dseg", "sub-1_T1w", ["sub-1_acq-low_T1w"]),
        ("sub-1_dseg", "sub-1_acq-high_T1w", []),
        ("sub-1_acq-a_desc-manual_dseg", "sub-1_acq-a_T1w", ["sub-1_acq-ab_T1w", "sub-1_T1w"]),
        ("sub-1_space-orig_dseg", "sub-1_FLAIR", []),
    ],
)
def test_a_bids_label_goes_with_the_image_of_its_entities(tmp_path, label, image, others):
    laid_out(tmp_path, label, image, *others)
    assert found_in(tmp_path) == ({label: image}, [])


@pytest.mark.parametrize(
    ("label", "images"),
    [
        ("sub-1_dseg", ["sub-1_T1w", "sub-1_FLAIR"]),
        ("sub-1_dseg", ["sub-1_run-1_T1w", "sub-1_run-2_T1w"]),
        ("sub-1_run-1_dseg", ["sub-1_run-10_T1w"]),
        ("sub-1_acq-a_dseg", ["sub-1_T1w"]),
        ("sub-1_space-MNI152_dseg", ["sub-1_T1w"]),
        ("sub-1_T1w_dseg", ["sub-1_FLAIR"]),
    ],
)
def test_a_bids_label_without_an_image_of_its_own_is_left_out_and_reported(tmp_path, label, images):
    laid_out(tmp_path, label, *images, "images/a", "labels/a")
    assert found_in(tmp_path) == ({"a": "a"}, [label])


def test_the_metadata_of_a_bids_label_say_what_it_was_made_from(tmp_path):
    laid_out(tmp_path, "sub-1_dseg", "sub-1_T1w", "sub-1_FLAIR")
    sidecar = tmp_path / "derivatives/p/sub-1/anat/sub-1_dseg.json"
    sidecar.write_text(json.dumps({"Sources": ["bids:raw:sub-1/anat/sub-1_FLAIR.nii.gz"]}), encoding="utf-8")
    assert found_in(tmp_path) == ({"sub-1_dseg": "sub-1_FLAIR"}, [])


def test_a_bids_label_in_another_space_goes_with_the_image_in_that_space(tmp_path):
    beside = "derivatives/p/sub-1/anat/sub-1_space-MNI_desc-preproc_T1w"
    laid_out(tmp_path, "sub-1_space-MNI_dseg", "sub-1_T1w", beside)
    assert found_in(tmp_path)[0] == {"sub-1_space-MNI_dseg": "sub-1_space-MNI_desc-preproc_T1w"}


def test_several_labels_of_an_image_are_left_out_unless_a_list_says_which(tmp_path):
    laid_out(tmp_path, "sub-1_desc-a_dseg", "sub-1_desc-b_dseg", "sub-1_T1w")
    with pytest.raises(DataError, match=r"sub-1_T1w.nii.gz has the labels sub-1_desc-a_dseg.nii.gz and sub-1_desc-b"):
        find_pairs(tmp_path)
    label = "derivatives/p/sub-1/anat/sub-1_desc-b_dseg.nii.gz"
    listed = [{"image": "sub-1/anat/sub-1_T1w.nii.gz", "seg": label}]
    (tmp_path / "dataset.json").write_text(json.dumps({"training": listed}), encoding="utf-8")
    assert found_in(tmp_path) == ({"sub-1_desc-b_dseg": "sub-1_T1w"}, [])


def test_a_twin_with_two_images_is_reported(tmp_path):
    laid_out(tmp_path, "images/a", "images/a_0000", "labels/a")
    with pytest.raises(DataError, match=r"a.nii.gz fits a.nii.gz and a_0000.nii.gz"):
        find_pairs(tmp_path)


def two_images(number):
    voxels = np.full((2, 3, 4), number, np.int16)
    return Volume(voxels, np.eye(4)), Volume(np.ones((2, 3, 4), np.uint8), np.eye(4))


NAMES = [
    *("T1", "T1", "t1", "T1 2", "T1/2", "T1_2", "T1:2", "caf\u00e9", "cafe\u0301", "CAF\u00c9", "", "...", "case"),
    *("CON", "con.1", "LPT1", "x" * 200, "x" * 201, "\u8133" * 200, "\u8133" * 199 + "x"),
]


def test_no_two_cases_share_a_file_whatever_they_are_called(tmp_path):
    cases = CaseList(tmp_path)
    for number, name in enumerate(NAMES):
        add_case(cases, name, *two_images(number))
    listed = cases.read()
    assert sorted(Volume.read(case.image).voxels.max() for case in listed) == list(range(len(NAMES)))
    for of in (lambda case: case.image.name, lambda case: case.label.name, lambda case: case.name):
        assert len({unicodedata.normalize("NFC", of(case)).casefold() for case in listed}) == len(NAMES)
    for case in listed:
        assert len(case.image.name.encode()) < 200
        assert case.image.name.partition(".")[0].casefold() not in ("con", "lpt1")


def test_an_image_that_is_exported_again_under_a_like_name_keeps_its_files(tmp_path):
    cases = CaseList(tmp_path)
    add_case(cases, "caf\u00e9", *two_images(1))
    add_case(cases, "CAFE\u0301", *two_images(1))
    assert [case.name for case in cases.read()] == ["caf\u00e9"]


def test_listed_cases_of_one_name_are_shown_with_their_folders(tmp_path):
    listed = [{"image": f"sub-0{n}/anat/T1w.nii", "seg": f"sub-0{n}/anat/seg.nii"} for n in (1, 2)]
    (tmp_path / "dataset.json").write_text(json.dumps({"training": listed}), encoding="utf-8")
    assert [case.name for case in CaseList(tmp_path).read()] == ["sub-01/anat/T1w", "sub-02/anat/T1w"]
