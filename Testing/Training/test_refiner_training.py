"""Runs of the recipe `refiner`: exact resume, what they start from, what they export, and what they refuse."""

from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from NeuroSAM2Core.cli.main import main
from NeuroSAM2Core.errors import CheckpointError, ConfigError, DataError
from NeuroSAM2Core.model.mask_refiner import MaskRefiner
from NeuroSAM2Core.synth.anatomy.heads import Head
from NeuroSAM2Core.synth.anatomy.individuals import HELD_OUT_DONORS
from NeuroSAM2Core.training.config.pretraining import RefinerConfig, find_recipe
from NeuroSAM2Core.training.refiner.samples import RefinerBatches
from NeuroSAM2Core.training.refiner.trainer import RefinerState, dice, measure, refiner_loss, train_refiner, update
from NeuroSAM2Core.training.trainer.optimizer_step import Precision
from NeuroSAM2Core.training.trainer.recorder import read_metrics
from Testing.Support.anatomy import small_bank, small_labels

CPU = torch.device("cpu")
SMALL = RefinerConfig(heads=2, held_out_heads=1, held_out_samples=8, steps=4, batch=2, warmup_steps=1, precision="fp32")


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    folder = small_bank(tmp_path_factory.mktemp("bank"))
    small_bank(folder / "held_out", 1)
    return folder


def run(folder, bank, config=SMALL, **options):
    return train_refiner(config, folder, bank=bank, held_out=bank / "held_out", device=CPU, **{"workers": 0, **options})


def test_a_run_that_was_stopped_ends_like_one_that_was_not(tmp_path, bank):
    whole = run(tmp_path / "whole", bank)
    assert whole.step == 4
    for workers in (0, 1, 0, 0):
        stopped = run(tmp_path / "stopped", bank, max_seconds=0, workers=workers)
    assert stopped.step == 4
    for kind in ("network", "average"):
        ends = getattr(stopped, kind).state_dict()
        for name, value in getattr(whole, kind).state_dict().items():
            assert torch.equal(value, ends[name]), name
    assert (tmp_path / "whole" / "model.safetensors").exists()


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(tmp_path, bank):
    for _ in range(2):
        run(tmp_path, bank, max_seconds=0)
    newest = tmp_path / "checkpoints" / "step-00000002.safetensors"
    content = bytearray(newest.read_bytes())
    content[-5] ^= 1
    newest.write_bytes(content)
    assert run(tmp_path, bank, max_seconds=0).step == 2


def test_a_run_may_be_given_more_steps_but_no_other_settings(tmp_path, bank):
    run(tmp_path, bank, max_seconds=0)
    assert run(tmp_path, bank, replace(SMALL, steps=9), max_seconds=0).step == 2
    with pytest.raises(ConfigError, match="other settings"):
        run(tmp_path, bank, replace(SMALL, batch=3))


def test_what_a_run_exports_is_a_refiner_in_float16(tmp_path, bank):
    state = run(tmp_path / "run", bank)
    state.export(tmp_path / "out.safetensors", SMALL)
    weights = load_file(tmp_path / "out.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float16}
    MaskRefiner().load_state_dict({name: value.float() for name, value in weights.items()}, strict=True)
    for name, value in state.average.state_dict().items():
        assert torch.equal(weights[name], value.half()), name
    with safe_open(tmp_path / "out.safetensors", "pt") as file:
        about = file.metadata()
    assert "Arnatkeviciute" in about["trained_on"]
    assert about["licence"] == "Apache-2.0"


def test_a_run_starts_from_given_weights(tmp_path, bank):
    begun = RefinerState.begin(replace(SMALL, seed=3), CPU)
    begun.export(tmp_path / "start.safetensors", SMALL)
    still = replace(SMALL, learning_rate=0.0, weight_decay=0.0, steps=1)
    state = run(tmp_path / "run", bank, still, start_from=tmp_path / "start.safetensors")
    for name, value in begun.average.state_dict().items():
        assert torch.equal(state.average.state_dict()[name], value.half().float()), name
    with pytest.raises(CheckpointError, match="cannot be read"):
        run(tmp_path / "other", bank, start_from=tmp_path / "missing.safetensors")


def test_steps_lower_the_loss_of_a_batch(bank):
    config = replace(SMALL, batch=4, steps=1000, learning_rate=5e-3)
    state, batch = RefinerState.begin(config, CPU), RefinerBatches(config, bank)[0]
    losses = [update(state, batch, config, Precision.chosen("fp32", CPU)) for _ in range(25)]
    assert losses[-1] < 0.9 * losses[0]


def test_a_loss_that_is_no_number_changes_nothing(bank):
    state, batch = RefinerState.begin(SMALL, CPU), RefinerBatches(SMALL, bank)[0]
    batch.views[0, 0, 0, 0] = torch.nan
    before = {name: value.clone() for name, value in state.network.state_dict().items()}
    with pytest.raises(DataError, match="loss of step 0"):
        update(state, batch, SMALL, Precision.chosen("fp32", CPU))
    assert state.step == 0
    for name, value in state.network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_batch_follows_from_seed_and_step_alone(bank):
    one, other = RefinerBatches(SMALL, bank), RefinerBatches(SMALL, bank)
    _ = other[0]
    assert torch.equal(one[3].views, other[3].views)
    assert not torch.equal(one[3].views, one[2].views)
    assert not torch.equal(one[3].views, RefinerBatches(replace(SMALL, seed=1), bank)[3].views)


def test_heads_of_donors_for_development_are_refused(tmp_path, bank):
    small_bank(tmp_path / "bank")
    Head.of(small_labels(1), HELD_OUT_DONORS[0]).save(tmp_path / "bank", 1)
    with pytest.raises(DataError, match="kept for development"):
        train_refiner(SMALL, tmp_path / "run", bank=tmp_path / "bank", held_out=bank / "held_out", device=CPU)
    assert not (tmp_path / "run").exists()
    with pytest.raises(DataError, match="lacks 1 of 3 heads"):
        run(tmp_path / "run", bank, replace(SMALL, heads=3))


def test_the_loss_is_least_for_the_truth_and_dice_is_one():
    truths = torch.zeros(2, 1, 64, 64)
    truths[0, 0, 20:40, 20:40] = 1.0
    right, wrong = 20 * (2 * truths - 1), 20 * (1 - 2 * truths)
    assert refiner_loss(right, truths).item() == pytest.approx(0.0, abs=1e-4)
    assert refiner_loss(wrong, truths) > 10
    assert dice(truths > 0, truths).tolist() == [1.0, 0.0]


def test_views_are_measured_by_what_is_known_of_them(bank):
    class Known(MaskRefiner):
        def forward(self, views):
            return views[:, 2:3]

    batch = RefinerBatches(replace(SMALL, batch=12), bank)[0]
    found = measure(Known(), batch)
    assert set(found) == {"box_dice", "neighbour_dice", "absent_found"}
    assert 0.3 < found["box_dice"] < 0.95
    assert 0.3 < found["neighbour_dice"] < 1.0


def test_the_command_checks_trains_reports_and_exports(tmp_path, bank, capsys):
    settings = ["heads=2", "held_out_heads=1", "held_out_samples=8", "steps=2", "batch=2", "warmup_steps=1"]
    command = ["pretrain", str(tmp_path / "run"), *settings, "--recipe", "refiner", "--bank", str(bank)]
    command += ["--device", "cpu", "--threads", "1", "--workers", "0"]
    assert main([*command, "--check"]) == 0
    assert "s a step" in capsys.readouterr().out
    assert (tmp_path / "run" / "views" / "views.png").exists()
    out = tmp_path / "out.safetensors"
    assert main([*command, "--export", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "2 of 2 steps done" in printed
    assert "box_dice" in printed
    assert out.stat().st_size < 400_000
    (row,) = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert {"loss", "validation.box_dice", "validation.neighbour_dice"} <= set(row)
    assert main([*command, "--export", str(out)]) != 0


def test_the_recipe_is_found_and_changed_by_settings():
    changed = find_recipe("refiner", ["steps=50", "samples.box=0.5", "samples.crop_range=[2,3]"])
    assert changed == replace(
        RefinerConfig(), steps=50, samples=replace(RefinerConfig().samples, box=0.5, crop_range=(2.0, 3.0))
    )
    with pytest.raises(ConfigError, match="batch must be at least 1"):
        find_recipe("refiner", ["batch=0"])
