"""Text of scenes, settings and folders that somebody else wrote or damaged: read as nothing, or refused in one sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
from NeuroSAM2Lib.engine.choice import EngineChoice
from NeuroSAM2Lib.presenters.panel_settings import PanelSettings
from NeuroSAM2Lib.segmentation.document import SegmentationDocument
from NeuroSAM2Lib.segmentation.objects.prompt_nodes import PromptNodes, StoredSlices
from NeuroSAM2Lib.segmentation.objects.session_node import ModelIdentity
from NeuroSAM2Lib.training.case_import import images_of
from NeuroSAM2Lib.training.controller import TrainController
from NeuroSAM2Lib.training.run import RunReader, estimate

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.verdict import read_report
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.sessions import SimulatedUser, place_point

NESTED = '{"a": ' + "[" * 100_000
LONG = "9" * 5000
DAMAGE = ("{", "[]", "3", "null", NESTED, LONG, '"\\ud800"')
GRID = np.eye(4).ravel().tolist()


@pytest.fixture
def node(app):
    return SimulatedUser(app).document.node


@pytest.mark.parametrize("text", [*DAMAGE, '{"name": 3}', '{"name": "nano", "sha256": NaN}', '{"name": ["nano"]}'])
def test_a_model_in_a_scene_that_cannot_be_read_is_unknown(node, text):
    node.node.SetParameter("Model", text)
    assert node.model == ModelIdentity()
    node.note_model("nano")
    assert node.model == ModelIdentity(name="nano")


def test_a_model_of_a_later_version_is_known(node):
    node.node.SetParameter("Model", '{"name": "nano", "licence": "Apache-2.0"}')
    assert node.model == ModelIdentity(name="nano")


@pytest.mark.parametrize("text", ["²", LONG, "-1", "1.5"])
def test_a_number_in_a_scene_that_is_none_is_zero(node, text):
    node.node.SetParameter("ActiveObject", text)
    node.node.SetParameter("Revision", text)
    assert (node.active_object, node.revision) == (0, 0)


@pytest.mark.parametrize(
    "values",
    [[], [0.5], [0.5] * 9, [0.5, 0.5, float("nan")], [0.5, 0.5, 0.0, 0.8, 1e999, 0.0], [0.5, "x", 0.0], [0.5, None, 0]],
)
def test_qualities_in_a_scene_that_are_none_are_left_out(node, values):
    node.node.SetParameter("Quality1", json.dumps({"axis": "k", "grid": GRID, "slices": {"3": values}}))
    assert node.read_quality(1) == {}


def test_a_quality_of_a_slice_outside_the_image_is_left_out(app):
    user = SimulatedUser(app)
    place_point(user.session, SlicePlane(Axis.K, 4), 7, 10)
    user.settle()
    document = user.document
    text = document.node.node.GetParameter("Quality1")
    document.node.node.SetParameter(
        "Quality1", text.replace('"slices": {', '"slices": {"-1": [1, 1, 0], "999": [1, 1, 0], ')
    )
    again = SegmentationDocument(app, user.volume_node, document.objects.node)
    assert again.active_record.quality.keys() == document.active_record.quality.keys() != set()


@pytest.mark.parametrize("reading", [[], [1e300], [1.5], [-1.0], [0.0], [1.0, 2.0]])
def test_a_reading_in_a_scene_that_is_none_is_left_out(app, reading):
    user = SimulatedUser(app)
    place_point(user.session, SlicePlane(Axis.K, 4), 7, 10)
    user.settle()
    (points,) = (one for one in user.document.nodes.all_nodes(1) if one.GetAttribute("NeuroSAM2.Role") == "positive")
    grid = user.document.volume.ijk_to_ras.ravel().tolist()
    points.SetAttribute("NeuroSAM2.Readings", json.dumps({"axis": "k", "grid": grid, "slices": {"4": reading}}))
    assert user.document.nodes.read(1, user.document.volume).readings == frozenset()


@pytest.mark.parametrize("number", ["x", "²", "", LONG])
def test_a_prompt_in_a_scene_of_no_object_is_left_out(app, number):
    user = SimulatedUser(app)
    place_point(user.session, SlicePlane(Axis.K, 4), 7, 10)
    user.settle()
    for one in user.document.nodes.all_nodes(1):
        one.SetAttribute("NeuroSAM2.Object", number)
    assert PromptNodes(app.scene, user.volume_node, user.document.objects.node).all_nodes() == []


@pytest.mark.parametrize("text", ["²", LONG])
def test_a_range_in_a_scene_that_is_none_is_the_whole_image(app, text):
    settings = PanelSettings(app.scene)
    settings.node.SetParameter("First", "1")
    settings.node.SetParameter("Last", text)
    assert settings.slice_range is None


@pytest.mark.parametrize(
    "text",
    [
        *DAMAGE,
        json.dumps({"axis": [], "grid": GRID, "slices": {}}),
        json.dumps({"axis": "k", "grid": [float("nan")] * 16, "slices": {"1": []}}),
        json.dumps({"axis": "k", "grid": [1e308] * 16, "slices": {"99": []}}),
        json.dumps({"axis": "k", "grid": GRID[:15], "slices": {}}),
        json.dumps({"axis": "k", "grid": GRID, "slices": {"9" * 400: []}}),
        json.dumps({"axis": "k", "grid": GRID, "slices": {"3": [True]}}),
        json.dumps({"axis": "k", "grid": GRID, "slices": {"3": "1"}}),
        '{"axis": "k", "grid": [' + "1e999," * 15 + '1], "slices": {"1": []}}',
    ],
)
def test_slices_that_cannot_be_read_are_one_sentence(text):
    with pytest.raises(DataError, match="cannot be read"):
        StoredSlices.from_text(text, 2 * np.eye(4))


def test_slices_are_read_as_they_were_written():
    slices = StoredSlices(Axis.J, {3: (0.5, 1.0), 4: ()})
    assert StoredSlices.from_text(slices.to_text(np.eye(4)), np.eye(4)) == slices


@pytest.mark.parametrize(
    "text", [*DAMAGE, '{"port": true}', '{"port": NaN}', '{"port": 70000}', '{"place": ["remote"]}', '{"host": 3}']
)
def test_settings_of_an_engine_that_cannot_be_read_are_the_usual_ones(text):
    assert EngineChoice.from_text(text) == EngineChoice()


def test_one_damaged_setting_of_an_engine_takes_no_other_along():
    assert EngineChoice.from_text('{"port": true, "host": "gpu"}') == EngineChoice(host="gpu")


@pytest.mark.parametrize("text", [*DAMAGE, '{"Sources": 3}', '{"Sources": [["a"]]}', '{"Sources": {"a": 1}}'])
def test_damaged_metadata_of_a_label_say_nothing(tmp_path, text):
    label, image = tmp_path / "sub-1_dseg.nii.gz", tmp_path / "sub-1_T1w.nii.gz"
    label.with_name("sub-1_dseg.json").write_text(text, encoding="utf-8")
    assert images_of(label, [image]) == [image]


@pytest.mark.parametrize(
    "damage",
    [
        *DAMAGE,
        '{"step": true, "loss": 1}',
        '{"step": "7", "loss": 1}',
        '{"step": 2.5, "loss": 1}',
        '{"step": -7, "loss": 1}',
        '{"step": 9, "loss": "1"}',
        '{"step": 9, "loss": true}',
        '{"step": 9, "loss": 1' + "0" * 400 + "}",
    ],
)
def test_a_damaged_report_of_a_run_is_passed_over(tmp_path, damage):
    run = tmp_path / "runs" / "001"
    run.mkdir(parents=True)
    run.with_suffix(".toml").write_text("", encoding="utf-8")
    (run / "metrics.jsonl").write_text(
        f'{{"step": 1, "loss": 3}}\n{damage}\n{{"step": 4, "loss": 2}}\n', encoding="utf-8"
    )
    (run / "skipped.jsonl").write_text(
        f'{damage}\n{{"case": 3, "reason": []}}\n{{"case": "a", "reason": "b"}}\n', encoding="utf-8"
    )
    reader = RunReader(run)
    reader.read_news()
    assert (reader.losses, reader.skipped) == ([(1, 3.0), (4, 2.0)], {"a": "b"})
    assert "judged by run 001" in estimate(tmp_path, 100)


@pytest.mark.parametrize("damage", ['{"step": 9, "memory_gb": "x"}', '{"step": 9, "memory_gb": 1e999}'])
def test_a_damaged_memory_of_a_run_is_not_estimated_from(tmp_path, damage):
    run = tmp_path / "runs" / "001"
    run.mkdir(parents=True)
    run.with_suffix(".toml").write_text("", encoding="utf-8")
    (run / "metrics.jsonl").write_text(f'{{"step": 1, "memory_gb": 2}}\n{damage}\n', encoding="utf-8")
    assert "2.0 GB" in estimate(tmp_path, 100)


@pytest.mark.parametrize(
    "text",
    ["[", "optim = 3\nstart = 3", 'optim.steps = "x"\nstart.model = 3', "optim.steps = nan", "a = " + "[" * 9999],
)
def test_a_run_whose_settings_are_damaged_has_no_steps(tmp_path, text):
    (tmp_path / "001.toml").write_text(text, encoding="utf-8")
    reader = RunReader(tmp_path / "001")
    assert (reader.num_steps, reader.start_model) == (0, "nano")


@pytest.mark.parametrize("text", [*DAMAGE[:1], *DAMAGE[2:], '{"a": 1}', "[3]", '["a", null]'])
def test_a_damaged_list_of_promoted_models_is_none(tmp_path, text):
    (tmp_path / "promoted.json").write_text(text, encoding="utf-8")
    training = TrainController(tmp_path, lambda *args, **options: None, ["python"], use_model=lambda model: None)
    assert not training.view.can_roll_back
    assert any("promoted.json cannot be read" in one for one in training.view.warnings)
    with pytest.raises(DataError, match="no model was promoted"):
        training.roll_back()


@pytest.mark.parametrize("text", DAMAGE)
def test_a_damaged_report_of_a_comparison_is_one_sentence(tmp_path: Path, text):
    path = tmp_path / "report.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read"):
        read_report(path)
