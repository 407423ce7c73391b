"""What a run's folder withstands: another run in it, damaged bytes, a full disk, a model that was deleted."""

import errno
import logging
import os
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from NeuroSAM2Core.checkpoint import Checkpoint, Provenance, tensor_file
from NeuroSAM2Core.errors import CheckpointError, ConfigError, DataError
from NeuroSAM2Core.model import EngineDefaults
from NeuroSAM2Core.training.fine_tune import fine_tune
from NeuroSAM2Core.training.trainer import loop
from NeuroSAM2Core.training.trainer.recorder import Recorder, read_metrics
from NeuroSAM2Core.training.trainer.run_folder import RunFolder
from Testing.Support.training import MINI, disc_batches, disc_clip, mini_config, mini_model

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch):
    monkeypatch.setattr(loop, "plot_curves", lambda folder: None)


def run(config, batches=None, **options):
    return fine_tune(config, CPU, batches=batches or disc_batches(), **options)


def weights(folder):
    return load_file(folder / "model.safetensors")


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "log.txt"}


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize(
    "name", ["metrics.jsonl", "log.txt", "run.lock", "checkpoints/best.safetensors", "checkpoints"]
)
def test_a_run_writes_through_no_link_that_leads_out_of_its_folder(tmp_path, name):
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "run"
    elsewhere.mkdir()
    (folder / name).parent.mkdir(parents=True)
    (folder / name).symlink_to(elsewhere if name == "checkpoints" else elsewhere / "file")
    with pytest.raises(ConfigError, match="is a link that leads out"):
        run(mini_config(folder, steps=1), resume=True)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("damage", [b"\xff\xfe\xfb", None])
def test_settings_that_cannot_be_read_any_more_are_a_sentence(tmp_path, damage):
    folder = tmp_path / "run"
    run(mini_config(folder, steps=1))
    (folder / "config.toml").unlink()
    (folder / "config.toml").mkdir() if damage is None else (folder / "config.toml").write_bytes(damage)
    with pytest.raises(ConfigError, match=r"config\.toml cannot be read"):
        run(mini_config(folder, steps=1), resume=True)


def test_a_folder_in_place_of_the_numbers_is_a_sentence(tmp_path):
    run(mini_config(tmp_path / "run", steps=1))
    (tmp_path / "run" / "metrics.jsonl").unlink(missing_ok=True)
    (tmp_path / "run" / "metrics.jsonl").mkdir()
    with pytest.raises(DataError, match=r"metrics\.jsonl cannot be read"):
        run(mini_config(tmp_path / "run", steps=1), resume=True)


def test_a_folder_in_place_of_the_log_stops_no_run(tmp_path):
    (tmp_path / "run" / "log.txt").mkdir(parents=True)
    assert run(mini_config(tmp_path / "run", steps=1)).is_over


@pytest.mark.parametrize("resume", [False, True])
def test_a_second_run_in_a_folder_is_refused_and_changes_nothing(tmp_path, resume):
    folder = tmp_path / "run"
    config = mini_config(folder, steps=2)
    seen = []

    def batches(numbers, *, image_size):
        yield disc_clip(0)
        (folder / ".model.safetensors.1.partial").write_bytes(b"of the run that is at work")
        before = contents(folder)
        with pytest.raises(ConfigError, match="another run is at work in"):
            run(config, resume=resume)
        seen.append(contents(folder) == before)
        yield disc_clip(1)

    assert run(config, batches).is_over
    assert seen == [True]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked there")
def test_a_killed_run_gives_its_folder_free_though_its_processes_live_on(tmp_path):
    ready, done = os.pipe(), os.pipe()
    if (child := os.fork()) == 0:
        with RunFolder(tmp_path / "run").locked():
            if os.fork() == 0:
                os.write(ready[1], b"x")
                os.read(done[0], 1)
                os._exit(0)
            threading.Event().wait()
    os.read(ready[0], 1)
    with pytest.raises(ConfigError, match="another run"), RunFolder(tmp_path / "run").locked():
        pass
    os.kill(child, 9)
    os.waitpid(child, 0)
    with RunFolder(tmp_path / "run").locked():
        pass
    os.write(done[1], b"x")
    for end in (*ready, *done):
        os.close(end)


def test_partial_files_of_runs_in_other_folders_stay(tmp_path):
    inner = tmp_path / "runs" / "inner"
    inner.mkdir(parents=True)
    partial = inner / ".model.safetensors.7.partial"
    partial.write_bytes(b"of another run")
    config = mini_config(tmp_path / "runs", steps=1)
    (tmp_path / "runs" / ".metrics.jsonl.7.partial").write_bytes(b"of an earlier session of this run")
    assert run(config).is_over
    assert partial.exists()
    assert not (tmp_path / "runs" / ".metrics.jsonl.7.partial").exists()


@pytest.fixture
def sealed(tmp_path):
    record = replace(
        Checkpoint(MINI, {"a": torch.arange(6.0)}, Provenance(name="x", source_sha256="0" * 64, notes='"sha256":"')),
    )
    record.save(tmp_path / "x.safetensors")
    return tmp_path / "x.safetensors"


def test_every_changed_byte_of_a_checkpoint_is_found(sealed):
    whole = sealed.read_bytes()
    assert tensor_file.is_valid(sealed)
    torch.testing.assert_close(Checkpoint.load_verified(sealed).state["a"], torch.arange(6.0))
    rng = np.random.default_rng(0)
    for place in range(0, len(whole), 3):
        changed = bytearray(whole)
        changed[place] ^= int(rng.integers(1, 256))
        sealed.write_bytes(changed)
        assert not tensor_file.is_valid(sealed), place
    sealed.write_bytes(whole[:-1])
    with pytest.raises(CheckpointError, match="its checksum is another"):
        Checkpoint.load_verified(sealed)


def test_a_checkpoint_from_before_there_were_checksums_is_read(sealed):
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, sealed)
    assert tensor_file.is_valid(sealed)


@pytest.mark.parametrize("share", [0.01, 0.6])
def test_a_run_goes_on_from_the_checkpoint_before_one_with_a_changed_byte(tmp_path, caplog, share):
    config = mini_config(tmp_path / "run", steps=3)
    run(config)
    whole = weights(tmp_path / "run")
    newest = tmp_path / "run" / "checkpoints" / "step-00000003.safetensors"
    content = bytearray(newest.read_bytes())
    content[int(share * len(content))] ^= 1
    newest.write_bytes(content)
    (tmp_path / "run" / "model.safetensors").unlink()
    with caplog.at_level(logging.WARNING):
        assert run(config, resume=True).is_over
    assert "going back to an earlier checkpoint: step-00000003.safetensors is damaged" in caplog.text
    assert_equal(weights(tmp_path / "run"), whole)


def test_checkpoints_after_the_one_gone_back_to_are_void(tmp_path):
    config = mini_config(tmp_path / "run", steps=6)
    for _ in range(3):
        run(config, resume=True, max_seconds=0)
    checkpoints = tmp_path / "run" / "checkpoints"
    (checkpoints / "step-00000009.safetensors").write_bytes(b"damaged")
    run(config, resume=True, max_seconds=0)
    assert sorted(path.name for path in checkpoints.iterdir()) == [f"step-0000000{n}.safetensors" for n in (3, 4)]


@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_finished_run_whose_model_is_gone_or_damaged_writes_it_again(tmp_path, caplog, is_damaged):
    config = mini_config(tmp_path / "run", steps=2)
    choices = EngineDefaults(crops=True)
    model = run(config, tune_engine=lambda model, *, is_cancelled: choices).folder.model
    whole = Checkpoint.load(model)
    whole = replace(whole, state={name: value.clone() for name, value in whole.state.items()})
    if is_damaged:
        model.write_bytes(model.read_bytes()[:-1] + b"?")
    else:
        model.unlink()
    with caplog.at_level(logging.WARNING):
        assert run(config, resume=True).is_over
    assert "the model of the finished run was written again" in caplog.text
    again = Checkpoint.load_verified(model)
    assert (again.config, again.provenance) == (whole.config, whole.provenance)
    assert again.config.engine == choices
    assert_equal(again.state, whole.state)


DAMAGE = [
    b"\xff",
    b"{",
    b"[1]",
    b"3",
    b'{"loss": 1}',
    b'{"step": "x"}',
    b'{"step": 1, "loss": "x"}',
    b'{"step": 1e999}',
    b'{"step": true, "loss": 1}',
    b'{"step": 1, "loss": true}',
    b'{"step": -1, "loss": 1}',
    b'{"a": ' + b"[" * 100_000,
    b'{"step": 1, "loss": 1' + b"0" * 400 + b"}",
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_line_of_the_numbers_is_left_out_and_reported(tmp_path, caplog, damage):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1, "loss": 3}\n' + damage + b'\n{"step": 2, "loss": 2}\n{"step": 3, "lo')
    with caplog.at_level(logging.WARNING):
        assert [row["step"] for row in read_metrics(path)] == [1, 2]
    assert "left out 2 of 4 lines of metrics.jsonl" in caplog.text


def test_a_stray_byte_in_the_numbers_does_not_keep_a_run_from_going_on(tmp_path):
    config = mini_config(tmp_path / "run", steps=6)
    run(config, max_seconds=0)
    run(config, resume=True, max_seconds=0)
    path = tmp_path / "run" / "metrics.jsonl"
    path.write_bytes(b"\xff" + path.read_bytes())
    assert run(config, resume=True).is_over
    assert [row["step"] for row in read_metrics(path)] == [4, 6]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no device that is always full")
def test_a_disk_that_is_full_between_saves_ends_a_run_in_a_sentence(tmp_path):
    whole, config = mini_config(tmp_path / "whole", steps=6), mini_config(tmp_path / "run", steps=6)
    run(whole)
    path = tmp_path / "run" / "metrics.jsonl"

    def fill_the_disk(progress):
        path.unlink()
        path.symlink_to("/dev/full")

    with pytest.raises(DataError, match="the numbers of step 4 cannot be written: No space left") as caught:
        run(config, on_progress=fill_the_disk)
    assert "--resume" in caught.value.hint
    path.unlink()
    assert run(config, resume=True).is_over
    assert_equal(weights(tmp_path / "run"), weights(tmp_path / "whole"))


def test_numbers_that_cannot_be_closed_are_a_warning(caplog):
    class Sink:
        def write(self, step, values):
            """Keeps nothing."""

        def close(self):
            raise OSError(errno.ENOSPC, "No space left on device")

    with caplog.at_level(logging.WARNING):
        Recorder([Sink(), Sink()]).close()
    assert caplog.text.count("No space left") == 2


def test_a_best_model_that_is_damaged_is_reported_and_passed_over(tmp_path, caplog):
    folder = RunFolder(tmp_path)
    folder.best.parent.mkdir()
    Checkpoint(MINI, mini_model().state_dict(), Provenance(name="best")).save(folder.best)
    assert folder.load_best() is not None
    folder.best.write_bytes(folder.best.read_bytes()[:-1] + b"?")
    with caplog.at_level(logging.WARNING):
        assert folder.load_best() is None
    assert "the best model is lost" in caplog.text
