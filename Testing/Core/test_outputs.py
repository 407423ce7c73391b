"""Nothing that exists is replaced without asking, and no command writes over what it reads."""

import json
import os
import shutil

import numpy as np
import pytest

from NeuroSAM2Core.checkpoint import Checkpoint, Provenance, load_model
from NeuroSAM2Core.cli.main import main
from NeuroSAM2Core.errors import ConfigError, DataError, NeuroSAM2Error
from NeuroSAM2Core.outputs import check_outputs, writing
from NeuroSAM2Core.training.config.data import DataConfig, SamplingConfig
from NeuroSAM2Core.training.config.fine_tuning import OptimConfig, load_config
from NeuroSAM2Core.training.data.check import check_datasets
from NeuroSAM2Core.training.trainer.run_folder import RunFolder
from NeuroSAM2Core.volume import Volume
from Testing.Support.models import small_model

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links need rights there, and there are no pipes with names")
BOX = ("--box", "k:2:2,2,6,6")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An image, a model and tables, all with links to them; a model that must not be loaded is a defect."""
    voxels = np.random.default_rng(0).integers(0, 99, (5, 9, 9), np.int16)
    Volume(voxels, np.eye(4)).write(tmp_path / "image.nii.gz")
    shutil.copy(tmp_path / "image.nii.gz", tmp_path / "other.nii.gz")
    os.link(tmp_path / "image.nii.gz", tmp_path / "hard.nii.gz")
    (tmp_path / "soft.nii.gz").symlink_to("image.nii.gz")
    (tmp_path / "model.safetensors").write_bytes(b"a model")
    (tmp_path / "picture.png").write_bytes(b"a picture")
    (tmp_path / "evaluation.json").write_text("{}", encoding="utf-8")
    (tmp_path / "model.engine.toml").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "words",
    [
        ("segment", "image.nii.gz", *BOX, "--out", "image.nii.gz"),
        ("segment", "image.nii.gz", *BOX, "--out", "../{name}/image.nii.gz"),
        ("segment", "image.nii.gz", *BOX, "--out", "hard.nii.gz"),
        ("segment", "image.nii.gz", *BOX, "--out", "soft.nii.gz"),
        ("segment", "soft.nii.gz", *BOX, "--out", "image.nii.gz"),
        ("segment", "picture.png", *BOX, "--out", "m.nii", "--png", "picture.png"),
        ("convert", "model.safetensors", "model.safetensors"),
        ("evaluate", "evaluation.json", "--out", "."),
        ("tune", "model.safetensors", "evaluation.json", "--out", "evaluation.json"),
        ("pretrain", "run", "--start-from", "model.safetensors", "--export", "model.safetensors"),
    ],
)
def test_an_input_is_never_an_output(folder, capsys, words, monkeypatch):
    monkeypatch.setattr("NeuroSAM2Core.cli.tune.choose_cases", lambda *_: ("", ()))
    monkeypatch.setattr("NeuroSAM2Core.training.data.read_dataset", lambda *_: None)
    before = contents(folder)
    assert main([*(word.format(name=folder.name) for word in words), "--overwrite"]) == 2
    assert "is never replaced" in capsys.readouterr().err
    assert contents(folder) == before


@pytest.mark.parametrize(
    "words",
    [
        ("segment", "image.nii.gz", *BOX, "--out", "other.nii.gz"),
        ("segment", "image.nii.gz", *BOX, "--out", "m.nii.gz", "--png", "picture.png"),
        ("convert", "model.pt", "model.safetensors"),
        ("evaluate", "image.nii.gz", "other.nii.gz", "--out", "."),
        ("pretrain", "run", "--export", "model.safetensors"),
    ],
)
def test_what_is_there_is_replaced_only_when_asked(folder, capsys, words):
    before = contents(folder)
    assert main(list(words)) == 2
    assert "is there already" in capsys.readouterr().err
    assert contents(folder) == before


def test_with_overwrite_a_mask_is_replaced(folder, capsys):
    model = small_model()
    Checkpoint(model.config, model.state_dict(), Provenance(name="small")).save(folder / "small.safetensors")
    command = [
        "segment",
        "image.nii.gz",
        *BOX,
        "--model",
        "small.safetensors",
        "--device",
        "cpu",
        "--out",
        "other.nii.gz",
    ]
    assert main(command) == 2
    assert main([*command, "--overwrite"]) == 0
    assert Volume.read(folder / "other.nii.gz").voxels.dtype == np.uint8


def test_a_name_that_no_picture_can_show_is_no_matter(folder, capsys):
    model = small_model()
    Checkpoint(model.config, model.state_dict(), Provenance(name="small")).save(folder / "small.safetensors")
    name = os.fsdecode(b"$x_\xff{\n\x1b\xe8\x84\x91.nii.gz")
    (folder / name).write_bytes((folder / "image.nii.gz").read_bytes())
    command = [
        "segment",
        name,
        *BOX,
        "--model",
        "small.safetensors",
        "--device",
        "cpu",
        "--out",
        f"m{name}",
        "--png",
        "m.png",
    ]
    assert main(command) == 0
    assert (folder / "m.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("outputs", "sentence"),
    [
        (["m.nii", "m.nii"], "two outputs"),
        (["m.nii", "./m.nii"], "two outputs"),
        (["."], "is a folder"),
        (["image.nii.gz/m.nii"], "cannot write"),
        (["x" * 300], "cannot write"),
        (["pipe"], "no ordinary file"),
    ],
)
def test_targets_that_cannot_be_written_are_found_before(folder, outputs, sentence):
    os.mkfifo(folder / "pipe")
    with pytest.raises(DataError, match=sentence):
        check_outputs([folder / name for name in outputs], overwrite=True)
    assert not list(folder.glob("*.partial"))


def test_a_folder_that_takes_no_file_is_found_before(folder, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(DataError, match="Permission denied"):
        check_outputs([folder / "m.nii"])


@pytest.mark.parametrize("name", ["w" * 5000, "a/" * 3000, "a\0b"])
def test_names_that_no_file_can_have_are_a_sentence(tmp_path, name):
    """Whoever gives them: a person, or a file that names others."""
    lists = {"training": [{"image": name, "seg": name}], "validation": []}
    (tmp_path / "dataset.json").write_text(json.dumps(lists), encoding="utf-8")
    data = DataConfig(datasets=(str(tmp_path / "dataset.json"),))
    assert "there is no file" in check_datasets(data, SamplingConfig()).issues[0].reason
    for read in (Volume.read, load_model, load_config):
        for suffix in ("", ".nii", ".safetensors", ".pt", ".toml"):
            with pytest.raises(NeuroSAM2Error):
                read(name + suffix)


@pytest.mark.parametrize("name", ["config.toml", "model.safetensors", "metrics.jsonl", "curves.png"])
def test_a_run_takes_no_folder_with_files_that_it_would_replace(tmp_path, name):
    (tmp_path / name).write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="no run that wrote it"):
        RunFolder(tmp_path).claim(OptimConfig(), allow_resume=True)
    assert (tmp_path / name).read_text(encoding="utf-8") == "mine"


def test_what_keeps_a_file_from_being_written_is_told_apart(tmp_path):
    (tmp_path / "there").write_text("x", encoding="utf-8")
    with pytest.raises(DataError, match="is there already"), writing(tmp_path / "there"):
        (tmp_path / "there").touch(exist_ok=False)
    below = tmp_path / "there" / "table.csv"
    with pytest.raises(DataError, match="cannot write"), writing(below):
        below.parent.mkdir(parents=True, exist_ok=True)
