"""Which of the engine's choices suit a model: how they are searched, where they are kept, and who honours them."""

import json
import logging
from dataclasses import replace

import pytest
import torch

from NeuroSAM2Core import EngineOptions, Session
from NeuroSAM2Core.checkpoint import Checkpoint, Provenance, engine_file, load_model, write_engine_file
from NeuroSAM2Core.cli.main import main
from NeuroSAM2Core.errors import Cancelled, CheckpointError, ConfigError, DataError
from NeuroSAM2Core.model import PRESETS, EngineDefaults, SAM2Config
from NeuroSAM2Core.remote import LoadModel
from NeuroSAM2Core.remote.server.resources import Models
from NeuroSAM2Core.training.config.data import DataConfig, EvaluationConfig
from NeuroSAM2Core.training.data import read_cases
from NeuroSAM2Core.training.evaluation import EvaluationResult, Measurement, evaluate_cases, tuning
from NeuroSAM2Core.training.evaluation.tuning import ALL_OFF, FACTORS, num_trials, tune_engine
from NeuroSAM2Core.training.fine_tune import fine_tune
from NeuroSAM2Core.training.trainer import loop
from NeuroSAM2Core.training.validation import case_engine_tuner, case_validator
from Testing.Support.cases import write_dataset
from Testing.Support.models import small_model
from Testing.Support.training import disc_batches, mini_config
from Testing.Support.volumes import ball_volume

BOX_ONLY = EvaluationConfig(kinds=("box",), num_clicks=0, max_objects=1, has_surfaces=False)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("cases"), training=2, validation=2, shape=(8, 32, 32))


@pytest.fixture
def data(dataset):
    return DataConfig(datasets=(str(dataset),))


@pytest.fixture
def model_file(tmp_path):
    model = small_model()
    Checkpoint(model.config, model.state_dict(), Provenance(name="small")).save(tmp_path / "small.safetensors")
    return tmp_path / "small.safetensors"


@pytest.fixture
def dice_of(monkeypatch):
    """Puts a function of the options in the place of the measurement."""

    def install(function):
        def evaluate(model, cases, data, config, *, options, on_slice, on_measured):
            one = Measurement(
                case=cases[0].name, object="1", kind="box", clicks=0, dice=function(options), iou=0.0, slice_dice=0.0,
                false_slices=1, missed_slices=2, medsam2_iou=0.0, medsam2_dice=0.0,
            )  # fmt: skip
            return EvaluationResult((one,))

        monkeypatch.setattr(tuning, "evaluate_cases", evaluate)

    return install


def tuned(data, model=None, config=BOX_ONLY, **calls):
    return tune_engine(model or small_model(), read_cases(data.datasets, "validation"), data, config, **calls)


def test_a_factor_is_kept_only_where_it_raises_the_dice_on_top_of_those_before(data, dice_of):
    dice_of(
        lambda o: 0.5 + 0.1 * o.crops - 0.1 * o.carries_boxes + 0.004 * o.use_appearance_model + 0.2 * o.ends_by_shape
    )
    found = tuned(data)
    assert found.best.choices == ALL_OFF.updated(EngineDefaults(crops=True, ends_by_shape=True))
    assert found.best.dice == pytest.approx(0.8)
    names = [trial.name for trial in found.trials]
    assert names[:4] == ["all off", "crops", "crops + carried boxes", "crops + ends by shape"]
    assert "crops + ends by shape + least area 0.4" in names
    assert len(names) <= num_trials(BOX_ONLY)
    assert found.as_markdown().count("| * |") == 1


def test_factors_that_change_nothing_are_left_out_of_tuning(data, dice_of):
    dice_of(lambda o: 0.5 - 0.1 * o.ends_by_shape)
    assert not any("area" in trial.name or "interpolation" in trial.name for trial in tuned(data).trials)
    dice_of(lambda o: 0.5 + 0.1 * o.interpolates)
    found = tuned(data, config=replace(BOX_ONLY, num_clicks=1))
    assert found.best.choices.interpolates is True
    assert found.best.choices.clears_denied is False


def test_what_the_model_does_now_stays_where_nothing_is_better(data, dice_of):
    dice_of(lambda o: 0.9 if o.crops and o.carries_boxes and o.upsampling == "bicubic" else 0.5)
    own = small_model(rasterize_prompts=True)
    found = tuned(data, own)
    assert found.best.name == "as it is now"
    assert found.best.choices.crops
    dice_of(lambda o: 0.5)
    assert tuned(data).best.name == "all off"


def test_the_choices_give_in_a_session_what_was_measured(data, model_file):
    found = tuned(data)
    assert {trial.name for trial in found.trials} >= {"all off", "crops"}
    assert all(0 <= trial.dice <= 1 and trial.seconds_per_slice > 0 for trial in found.trials)
    assert all(0 <= trial.missed_slices <= 8 and 0 <= trial.false_slices <= 8 for trial in found.trials)
    for trial in found.trials:
        write_engine_file(engine_file(model_file), trial.choices, ("a comment",))
        cases = read_cases(data.datasets, "validation")
        again = evaluate_cases(load_model(model_file, device="cpu"), cases, data, BOX_ONLY)
        assert again.mean_dice("box") == trial.dice


def test_false_and_missed_slices_are_counted_along_the_axis(data):
    cases = read_cases(data.datasets, "validation")[:1]
    blind = small_model()
    options = EngineOptions(stop_after_absent=None, max_hole_area=0, min_island_area=0)
    (one,) = evaluate_cases(blind, cases, data, BOX_ONLY, options=options).measurements
    (short,) = evaluate_cases(
        blind, cases, data, BOX_ONLY, options=replace(options, ends_by_shape=True, min_iou=1.1)
    ).measurements
    assert short.false_slices == 0
    assert short.missed_slices >= one.missed_slices
    assert short.missed_slices >= 4, "only the prompted slice is left of a ball"


def test_measuring_can_be_stopped_after_any_slice(data):
    slices = []

    def is_cancelled():
        slices.append(1)
        return len(slices) > 3

    with pytest.raises(Cancelled):
        tuned(data, is_cancelled=is_cancelled)
    assert len(slices) == 4


def test_one_case_is_too_few(data, tmp_path, dice_of):
    dice_of(lambda options: 0.5)
    with pytest.raises(DataError, match="at least 2 cases; got 1"):
        tune_engine(small_model(), read_cases(data.datasets, "validation")[:1], data, BOX_ONLY)


def test_cases_that_cannot_be_read_are_left_out_and_too_few_are_reported(tmp_path):
    data = DataConfig(datasets=(str(write_dataset(tmp_path, training=0, validation=2, shape=(8, 32, 32))),))
    (tmp_path / "label0.nii.gz").unlink()
    with pytest.raises(DataError, match=r"only 1 of the cases can be measured: image0: .*no file"):
        tuned(data)


def test_the_settings_file_beside_a_model_changes_a_session_until_removed(model_file):
    volume = ball_volume((8, 32, 32))[0]
    assert not Session(load_model(model_file, device="cpu"), volume).options.crops
    path = engine_file(model_file)
    assert path == model_file.with_name("small.engine.toml")
    write_engine_file(path, EngineDefaults(crops=True, upsampling="bicubic", min_area_ratio=0.4), ("why",))
    assert path.read_text(encoding="utf-8") == '# why\ncrops = true\nupsampling = "bicubic"\nmin_area_ratio = 0.4\n'
    options = Session(load_model(model_file, device="cpu"), volume).options
    assert (options.crops, options.upsampling, options.min_area_ratio) == (True, "bicubic", 0.4)
    assert options.carries_boxes is False
    assert (
        Session(load_model(model_file, device="cpu"), volume, options=EngineOptions(crops=False)).options.crops is False
    )
    path.unlink()
    assert not Session(load_model(model_file, device="cpu"), volume).options.crops


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("crop = true", "small.engine.toml: unknown .*'crop'; did you mean 'crops'"),
        ("crops = 1", "small.engine.toml: crops is 1; expected true or false"),
        ('upsampling = "cubic"', "upsampling is 'cubic'; expected one of bilinear, bicubic"),
        ("min_area_ratio = true", "min_area_ratio is True; expected a number"),
        ("min_area_ratio = 2", "min_area_ratio is a number from 0 to 1; got 2"),
        ("crops =", "is not TOML"),
        ("crops = " + "[" * 9999, "is not TOML"),
        ("min_area_ratio = " + "9" * 5000, "is not TOML"),
    ],
)
def test_a_file_with_a_mistake_is_an_error_that_names_it(model_file, text, sentence):
    engine_file(model_file).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=sentence) as caught:
        load_model(model_file, device="cpu")
    assert "neurosam2 tune" in caught.value.hint


def test_the_choices_of_a_catalog_model_lie_in_the_folder_of_models(monkeypatch, tmp_path):
    monkeypatch.setenv("NEUROSAM2_HOME", str(tmp_path))
    path = engine_file("nano")
    assert path == tmp_path / "models" / "nano.engine.toml"
    write_engine_file(path, EngineDefaults(crops=False, use_appearance_model=False))
    config = load_model("nano", device="cpu").config
    options = EngineOptions().resolved(config)
    assert (options.crops, options.carries_boxes, options.use_appearance_model) == (False, config.adaptive_crops, False)
    with pytest.raises(CheckpointError, match="there is no model 'nanno'; did you mean 'nano'"):
        engine_file("nanno")


def test_model_files_without_choices_are_as_they_were_and_those_with_some_keep_them():
    config = PRESETS["nano"]
    assert "engine" not in config.to_dict()
    assert SAM2Config.from_dict(config.to_dict()) == config
    chosen = replace(config, engine=EngineDefaults(crops=False))
    assert SAM2Config.from_dict(chosen.to_dict()) == chosen
    with pytest.raises(ConfigError, match="unknown model setting 'crop'"):
        SAM2Config.from_dict(config.to_dict() | {"engine": {"crop": True}})


def test_the_reference_stays_the_reference_whatever_was_measured():
    every = EngineDefaults(
        crops=True, carries_boxes=True, ends_by_shape=True, use_appearance_model=True, upsampling="bicubic"
    )
    options = EngineOptions.as_reference().resolved(replace(PRESETS["nano"], engine=every))
    assert not any((options.crops, options.carries_boxes, options.ends_by_shape, options.use_appearance_model))
    assert options.upsampling == "bilinear"


def test_a_worker_notices_new_choices_beside_a_model(model_file):
    models, request = Models(), LoadModel(model=str(model_file), device="cpu")
    before, _ = models.load(1, request)
    assert models.load(1, request) == (before, False)
    write_engine_file(engine_file(model_file), EngineDefaults(crops=True))
    after, is_other = models.load(1, request)
    assert is_other
    assert after.model.config.engine.crops


def test_the_command_measures_says_on_what_and_keeps_the_best_beside_the_model(dataset, model_file, capsys):
    words = ["tune", str(model_file), str(dataset), "--device", "cpu", "--max-objects", "1"]
    assert main(words) == 0
    output = capsys.readouterr()
    assert "crops" in output.out
    assert "on 2 validation cases of dataset.json" in output.out
    assert "all off: Dice" in output.err
    text = engine_file(model_file).read_text(encoding="utf-8")
    assert "# Measured on 2 validation cases of dataset.json." in text
    assert load_model(model_file, device="cpu").config.engine.crops is not None
    elsewhere = model_file.with_name("elsewhere.toml")
    assert main([*words, "--split", "training", "--out", str(elsewhere)]) == 0
    assert "2 training cases" in elsewhere.read_text(encoding="utf-8")
    assert engine_file(model_file).read_text(encoding="utf-8") == text


def test_the_command_falls_back_to_training_cases_and_says_where_there_are_too_few(tmp_path, model_file, capsys):
    few = write_dataset(tmp_path, training=1, validation=1, shape=(8, 32, 32))
    assert main(["tune", str(model_file), str(few)]) == 2
    assert "takes at least 2 cases; dataset.json has 1 validation, 1 training" in capsys.readouterr().err
    assert not engine_file(model_file).exists()


CPU = torch.device("cpu")


@pytest.fixture
def run(tmp_path, data, monkeypatch):
    """Trains a step; the start model is for crops and appearance, which a fine-tuned one is not."""
    monkeypatch.setattr(loop, "plot_curves", lambda folder: None)
    config = mini_config(tmp_path / "run", steps=1, data=data, evaluation=BOX_ONLY)
    mini = Checkpoint.load(tmp_path / "mini.safetensors")
    own = replace(mini.config, use_appearance_model=True, adaptive_crops=True, engine=EngineDefaults(crops=True))
    replace(mini, config=own).save(tmp_path / "mini.safetensors")

    def train(config=config, **calls):
        return fine_tune(config, CPU, batches=disc_batches(), **calls).folder

    train.config = config
    return train


def test_a_fine_tuned_model_defaults_to_whole_slices_when_not_tuned(run):
    config = Checkpoint.load(run().model).config
    assert not any((config.adaptive_crops, config.use_appearance_model, config.engine.chosen()))
    options = EngineOptions().resolved(config)
    assert not any((options.crops, options.carries_boxes, options.ends_by_shape, options.interpolates))


@pytest.mark.parametrize("crop", [0.0, 0.5])
def test_a_model_that_was_trained_on_crops_sees_crops(run, crop):
    config = replace(run.config, sampling=replace(run.config.sampling, crop=crop))
    options = EngineOptions().resolved(Checkpoint.load(run(config).model).config)
    assert options.crops == options.carries_boxes == options.ends_by_shape == (crop > 0)


def test_a_run_stores_the_measured_choices_in_the_model_and_in_the_best_one(run, dice_of):
    dice_of(lambda options: 0.5 + 0.1 * options.carries_boxes)
    tune = case_engine_tuner(run.config)
    folder = run(validator=lambda process_group: case_validator(run.config, process_group), tune_engine=tune)
    chosen = ALL_OFF.updated(EngineDefaults(carries_boxes=True))
    assert Checkpoint.load(folder.model).config.engine == chosen
    assert Checkpoint.load(folder.best).config.engine == chosen
    assert "carried boxes" in (folder.path / "log.txt").read_text(encoding="utf-8")


def test_a_run_writes_down_which_cases_it_skips_and_begins_anew_when_it_goes_on(run, tmp_path):
    bad = write_dataset(tmp_path, training=1, validation=1, shape=(8, 32, 32))
    (tmp_path / "label1.nii.gz").unlink()
    config = replace(run.config, data=DataConfig(datasets=(str(bad),)))
    folder = run(config, validator=lambda process_group: case_validator(config, process_group))
    path = folder.path / "skipped.jsonl"
    (line,) = path.read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["case"] == "image1"
    run(config, resume=True)
    assert not path.exists()


def test_a_run_measures_no_choices_where_it_is_notified_not_to_or_has_too_few_cases(run, tmp_path, caplog):
    off = replace(run.config, run=replace(run.config.run, tunes_engine=False))
    assert case_engine_tuner(off) is None
    none = write_dataset(tmp_path, training=2, validation=0, shape=(8, 32, 32))
    few = replace(run.config, data=DataConfig(datasets=(str(none),)))
    with caplog.at_level(logging.WARNING):
        folder = run(few, tune_engine=case_engine_tuner(few))
    assert "at least 2 cases; got 0" in caplog.text
    assert not Checkpoint.load(folder.model).config.engine.chosen()


def test_a_run_that_is_stopped_while_measuring_ends_with_its_model(run, caplog):
    measure = case_engine_tuner(run.config)
    with caplog.at_level(logging.WARNING):
        folder = run(tune_engine=lambda model, *, is_cancelled: measure(model, is_cancelled=lambda: True))
    assert "the engine's choices are not measured (stopped" in caplog.text
    assert not Checkpoint.load(folder.model).config.engine.chosen()


def test_a_run_may_go_on_without_measuring_or_from_before_there_was_that_setting(run):
    folder = run(max_seconds=0)
    path = folder.path / "config.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("tunes_engine = true\n", ""), encoding="utf-8")
    off = replace(run.config, run=replace(run.config.run, tunes_engine=False))
    run(off, resume=True)
    assert "tunes_engine = false" in path.read_text(encoding="utf-8")


def test_every_factor_changes_something():
    assert all(ALL_OFF.updated(factor.change) != ALL_OFF for factor in FACTORS)
