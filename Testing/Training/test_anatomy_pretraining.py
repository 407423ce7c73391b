"""Runs of the recipe `anatomy`: exact resume, what they start from, what they export, and what they refuse."""

from dataclasses import replace

import pytest
import torch

from NeuroSAM2Core.checkpoint import load_checkpoint
from NeuroSAM2Core.cli.main import main
from NeuroSAM2Core.errors import ConfigError, DataError
from NeuroSAM2Core.model import PRESETS
from NeuroSAM2Core.training.config.pretraining import RECIPES, AnatomyConfig, find_recipe
from NeuroSAM2Core.training.estimate import Estimate, estimate
from NeuroSAM2Core.training.pretrain import AnatomyTask, pretrain, provenance_of, start
from Testing.Support.anatomy import small_bank

CPU = torch.device("cpu")
SMALL = AnatomyConfig(heads=2, steps=4, image_size=64, clips=1, slices=(2, 3), objects=2, warmup_steps=1)


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    return small_bank(tmp_path_factory.mktemp("bank"))


def test_a_run_that_was_stopped_ends_like_one_that_was_not(tmp_path, bank):
    whole = pretrain(SMALL, tmp_path / "whole", device=CPU, workers=0, bank=bank)
    assert whole.step == 4
    for workers in (0, 1, 0, 0):
        stopped = pretrain(SMALL, tmp_path / "stopped", device=CPU, max_seconds=0, workers=workers, bank=bank)
    assert stopped.step == 4
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, stopped.model.state_dict()[name]), name
    for name, value in whole.average.items():
        assert torch.equal(value, stopped.average[name]), name


def test_a_run_starts_from_nano_and_exports_its_architecture_as_float16(tmp_path, bank):
    still = replace(SMALL, learning_rate=0.0, steps=1)
    state = pretrain(still, tmp_path / "run", device=CPU, workers=0, bank=bank)
    nano = load_checkpoint("nano")
    for name, value in nano.state.items():
        assert torch.equal(value, state.weights()[name]), name
    state.model.set_image_size(PRESETS["nano"].image_size)
    state.checkpoint(provenance_of(still, state), with_training=False).save(tmp_path / "half.safetensors", half=True)
    assert (tmp_path / "half.safetensors").stat().st_size < 7.5e6
    exported = load_checkpoint(tmp_path / "half.safetensors")
    assert exported.config == PRESETS["nano"]
    assert "Arnatkeviciute" in exported.provenance.trained_on
    assert {value.dtype for value in exported.build_model().state_dict().values()} == {torch.float32}


def test_nothing_is_dropped_out_while_training_unless_the_recipe_says_so():
    dropouts = [m.p for m in start(SMALL, CPU).model.modules() if isinstance(m, torch.nn.Dropout)]
    assert set(dropouts) == {0.0}
    layer = start(replace(SMALL, memory_dropout=0.3), CPU).model.memory_attention.layers[0]
    assert layer.dropout.p == layer.self_attn.dropout == 0.3


def test_a_bank_that_lacks_heads_is_refused(tmp_path, bank):
    with pytest.raises(DataError, match="lacks 1 of 3 heads"):
        pretrain(replace(SMALL, heads=3), tmp_path, device=CPU, workers=0, bank=bank)


def test_a_run_may_be_given_more_steps_but_no_other_settings(tmp_path, bank):
    pretrain(SMALL, tmp_path, device=CPU, max_seconds=0, workers=0, bank=bank)
    longer = pretrain(replace(SMALL, steps=9), tmp_path, device=CPU, max_seconds=0, workers=0, bank=bank)
    assert longer.step == 2
    assert "steps = 9" in (tmp_path / "config.toml").read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="other settings"):
        pretrain(replace(SMALL, clips=2), tmp_path, device=CPU, workers=0, bank=bank)


def test_the_rate_rises_stays_and_falls(tmp_path):
    config = AnatomyConfig(steps=1000, warmup_steps=40, decay=0.2, final_lr_factor=0.05)
    task = AnatomyTask(config, tmp_path, CPU, 0)
    rates = [task.rates(step)["all"] / config.learning_rate for step in range(1000)]
    assert rates[20] == pytest.approx(0.5)
    assert rates[40:801] == pytest.approx([1.0] * 761)
    assert rates[900] == pytest.approx(0.525)
    assert rates[-1] == pytest.approx(0.05, abs=0.005)


def test_an_estimate_is_what_the_slower_of_model_and_workers_takes(bank):
    found = estimate(SMALL, bank, CPU)
    assert found.model_s > 0
    assert found.batch_s > 0
    assert found.memory_gb > 0.1
    slow_batches = Estimate(model_s=1.0, batch_s=6.0, memory_gb=1.0)
    assert [slow_batches.step_s(workers) for workers in (0, 2, 12)] == [7.0, 3.0, 1.0]


def test_the_command_checks_trains_and_exports(tmp_path, bank, capsys):
    settings = ["heads=2", "steps=2", "image_size=64", "clips=1", "slices=[2,3]", "objects=2"]
    command = ["pretrain", str(tmp_path / "run"), *settings, "--recipe", "anatomy", "--bank", str(bank)]
    command += ["--device", "cpu", "--threads", "1", "--workers", "0"]
    assert main([*command, "--check"]) == 0
    assert "s a step" in capsys.readouterr().out
    assert len(list((tmp_path / "run" / "clips").glob("*.png"))) == 2
    out = tmp_path / "out.safetensors"
    assert main([*command, "--export", str(out), "--half"]) == 0
    assert "2 of 2 steps done" in capsys.readouterr().out
    assert out.stat().st_size < 7.5e6
    assert (tmp_path / "run" / "curves.png").exists()


def test_a_recipe_is_found_by_name_and_changed_by_settings():
    assert find_recipe("refine") is RECIPES["refine"]
    changed = find_recipe("anatomy", ["steps=50", "clip.crop=0.5", "prompts.prev_box_prob=0.1", "slices=[2,3]"])
    assert changed == replace(
        AnatomyConfig(),
        steps=50,
        slices=(2, 3),
        clip=replace(AnatomyConfig().clip, crop=0.5),
        prompts=replace(AnatomyConfig().prompts, prev_box_prob=0.1),
    )
    with pytest.raises(ConfigError, match="no recipe 'anatomie'"):
        find_recipe("anatomie")
    with pytest.raises(ConfigError, match="did you mean"):
        find_recipe("anatomy", ["clip.cropp=0.5"])
