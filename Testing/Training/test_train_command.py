"""`neurosam2 train`: from a configuration and annotated files to a model, and one clear sentence for every mistake."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from NeuroSAM2Core.checkpoint import Checkpoint
from NeuroSAM2Core.cli.main import main
from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.training.config.fine_tuning import FineTuneConfig, load_config, presets
from NeuroSAM2Core.training.config.toml_io import build, read_toml, to_toml
from Testing.Support.cases import write_dataset
from Testing.Support.training import write_mini_model

ROOT = Path(__file__).parents[2]
LIMIT_S = 120
NEEDED = ("data.datasets=none.json", "run.folder=run")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    write_dataset(folder, training=2, validation=2, shape=(8, 48, 40))
    write_mini_model(folder / "mini.safetensors")
    return folder


def train(place, name, *words, device="cpu"):
    return main(arguments(place, name, *words, device=device))


def arguments(place, name, *words, device="cpu"):
    return [
            "train", "quick", f"data.datasets={place}/dataset.json", f"start.model={place}/mini.safetensors",
            f"run.folder={place}/{name}", "optim.steps=3", "sampling.slices=2", "run.validate_every=2", "run.report_every=1",
            "evaluation.max_objects=1", *words, "--device", device, "--workers", "0",
    ]  # fmt: skip


def test_annotated_files_become_a_model(place, capsys):
    assert train(place, "run", "groups.trunk.frozen=true") == 0
    output = capsys.readouterr().out
    assert "trunk    frozen" in output
    assert "model.safetensors" in output
    model = Checkpoint.load(place / "run" / "model.safetensors")
    assert model.provenance.source == "fine-tuned from mini"
    start = Checkpoint.load(place / "mini.safetensors").state
    for name, value in model.state.items():
        if name.startswith("image_encoder.trunk"):
            assert torch.equal(value, start[name]), name
    rows = [json.loads(line) for line in (place / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3]
    validated = [row for row in rows if "validation.box_dice" in row]
    assert [row["step"] for row in validated] == [2, 3]
    assert all(0 <= row["validation.click_dice"] <= 1 for row in validated)
    assert "learning_rate.trunk" not in rows[0]
    assert rows[0]["learning_rate.memory"] > 0
    resolved = build(FineTuneConfig, read_toml(place / "run" / "config.toml"))
    assert resolved.optim.steps == 3
    assert to_toml(resolved) == (place / "run" / "config.toml").read_text(encoding="utf-8")
    assert (place / "run" / "checkpoints" / "best.safetensors").exists()


def test_a_stopped_run_is_gone_on_with(place, capsys):
    assert train(place, "stopped", "--minutes", "1e-6") == 0
    assert "--resume goes on" in capsys.readouterr().out
    assert train(place, "stopped") == 2
    assert "holds a run already" in capsys.readouterr().err
    assert train(place, "stopped", "--resume") == 0
    assert (place / "stopped" / "model.safetensors").exists()


@pytest.mark.skipif(os.name != "posix", reason="groups of processes are POSIX")
def test_a_signal_to_the_whole_group_ends_it_in_peace_with_its_helpers(place):
    words = arguments(place, "signalled", "optim.steps=100000", "run.save_every_s=0.0")
    words[words.index("--workers") + 1] = "1"
    process = subprocess.Popen(
        [sys.executable, "-m", "NeuroSAM2Core", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, cwd=ROOT,
    )  # fmt: skip
    checkpoints = place / "signalled" / "checkpoints"
    deadline = time.monotonic() + LIMIT_S
    while not list(checkpoints.glob("step-*")) and process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
    os.killpg(process.pid, signal.SIGTERM)
    output, complained = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, complained.decode()
    assert b"--resume goes on" in output
    assert b"Traceback" not in complained


def test_a_check_names_bad_cases_and_trains_nothing(place, capsys):
    cases = json.loads((place / "dataset.json").read_text(encoding="utf-8"))
    cases["training"].append({"image": "image0.nii.gz", "seg": "gone.nii.gz"})
    (place / "bad.json").write_text(json.dumps(cases), encoding="utf-8")
    assert train(place, "checked", f"data.datasets={place}/bad.json", "--check") == 0
    output = capsys.readouterr().out
    assert "gone.nii.gz" in output
    assert (place / "checked" / "clips" / "clip-01.png").read_bytes().startswith(b"\x89PNG")
    assert not (place / "checked" / "config.toml").exists()
    again = ("checked", f"data.datasets={place}/bad.json", "data.on_bad_case=stop", "--check")
    assert train(place, *again) == 2
    assert "clip-01.png is there already" in capsys.readouterr().err
    assert train(place, *again, "--overwrite") == 1
    assert train(place, "checked", "--overwrite") == 2
    assert "--overwrite is for the pictures of --check" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_named(place, capsys):
    assert train(place, "never", device="cuda") == 2
    assert "no cuda device" in capsys.readouterr().err
    assert not (place / "never").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optim.step=3"], "did you mean 'optim.steps'"),
        (["optim.steps=zero"], "optim.steps is 'zero'; expected a whole number"),
        (["optim.steps=0"], "optim.steps must be at least 1"),
        (["start.model=nino"], "nino"),
        (["data.datasets=/nowhere.json"], "no dataset file"),
        (["--minutes", "0"], "--minutes must be above 0"),
    ],
)
def test_a_mistake_is_one_sentence(place, capsys, words, message):
    assert train(place, "mistaken", *words) == 2
    output = capsys.readouterr().err
    assert output.startswith("neurosam2: ")
    assert message in output
    assert "Traceback" not in output


@pytest.mark.parametrize("name", presets())
def test_a_preset_lacks_only_what_a_person_must_say(name):
    config = load_config(name, NEEDED)
    assert load_config(name, (*NEEDED, "optim.steps=7")).optim.steps == 7
    with pytest.raises(ConfigError, match="missing"):
        load_config(name, NEEDED[1:])
    assert build(FineTuneConfig, dict(_tables(to_toml(config)))) == config


def _tables(text):
    import tomllib

    return tomllib.loads(text)


def test_the_published_recipe_is_the_published_one():
    config = load_config("meta", NEEDED)
    assert (config.prompts.box, config.prompts.click) == (0.25, 0.25)
    assert (config.prompts.max_prompted, config.prompts.max_corrected, config.prompts.num_corrections) == (2, 2, 7)
    assert (config.losses.focal, config.losses.dice, config.losses.iou, config.losses.object_score) == (20, 1, 1, 1)
    assert (config.groups.trunk.learning_rate, config.groups.trunk.layer_decay) == (3e-6, 0.9)
    assert (config.groups.decoder.learning_rate, config.groups.memory.weight_decay) == (5e-6, 0.1)
    assert (config.optim.max_gradient_norm, config.sampling.slices, config.sampling.max_objects) == (0.1, 8, 3)


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "examples").glob("*.toml")), ids=lambda path: path.stem)
def test_an_example_says_all_that_must_be_reported(path):
    config = load_config(str(path))
    folder = "lesion_cases" if path.stem == "lesions" else "cases"
    assert [str(one) for one in config.data.datasets] == [f"{folder}/dataset.json"]
    assert config.start.model == "nano"


def test_a_file_builds_on_a_preset(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'preset = "meta"\n[data]\ndatasets = ["d.json"]\n[optim]\nsteps = 5\n[run]\nfolder = "r"\n', encoding="utf-8"
    )
    config = load_config(str(path), ["run.seed=3"])
    assert (config.optim.steps, config.run.seed, config.groups.trunk.layer_decay) == (5, 3, 0.9)
    assert config.optim.max_gradient_norm == 0.1


def test_an_unknown_preset_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no preset 'quik' and no such file; presets: meta, neurosam2d, quick"):
        load_config("quik", NEEDED)
