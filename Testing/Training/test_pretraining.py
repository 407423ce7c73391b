"""Pretraining: exact resume, independence of clips, and that it learns."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from NeuroSAM2Core.checkpoint import Checkpoint, Provenance
from NeuroSAM2Core.errors import CheckpointError, ConfigError
from NeuroSAM2Core.model import PRESETS, SAM2
from NeuroSAM2Core.training.config.pretraining import PretrainConfig, Stage
from NeuroSAM2Core.training.config.step import LossConfig, PromptConfig
from NeuroSAM2Core.training.data.clip import ClipBatch
from NeuroSAM2Core.training.data.synthetic_clips import SyntheticClips
from NeuroSAM2Core.training.pretrain import SyntheticTask, pretrain
from NeuroSAM2Core.training.step.clip_segmenter import ClipSegmenter
from NeuroSAM2Core.training.step.prompts import PromptPlan

CPU = torch.device("cpu")
SMALL = PretrainConfig(
    stages=(
        Stage(image_size=64, steps=1, clips=2, slices=1, objects=3),
        Stage(image_size=64, steps=2, clips=2, slices=3, objects=2),
        Stage(image_size=96, steps=2, clips=1, slices=2),
    )
)


def weights(state):
    return {name: value.clone() for name, value in state.model.state_dict().items()}


def test_a_run_that_was_stopped_ends_like_one_that_was_not(tmp_path):
    whole = pretrain(SMALL, tmp_path / "whole", device=CPU, workers=0)
    assert whole.step == 5
    for _ in range(5):
        stopped = pretrain(SMALL, tmp_path / "stopped", device=CPU, max_seconds=0, workers=0)
    assert stopped.step == 5
    found = weights(stopped)
    for name, value in weights(whole).items():
        assert torch.equal(value, found[name]), name
    for name, value in whole.average.items():
        assert torch.equal(value, stopped.average[name]), name


def test_a_folder_with_another_run_is_refused(tmp_path):
    pretrain(SMALL, tmp_path, device=CPU, max_seconds=0, workers=0)
    with pytest.raises(ConfigError, match="other settings"):
        pretrain(replace(SMALL, seed=1), tmp_path, device=CPU, workers=0)


def test_a_run_starts_from_the_weights_of_another_model(tmp_path):
    plain = SAM2(replace(PRESETS["nano"], sample_point_features=False))
    Checkpoint(plain.config, plain.state_dict(), Provenance(name="plain")).save(tmp_path / "plain.safetensors")
    still = replace(SMALL, learning_rate=0.0, stages=SMALL.stages[:1])
    state = pretrain(still, tmp_path / "run", device=CPU, workers=0, start_from=tmp_path / "plain.safetensors")
    for name, value in plain.state_dict().items():
        assert torch.equal(value, state.model.state_dict()[name]), name
        assert torch.equal(value, state.weights()[name]), name
    assert not state.model.sam_prompt_encoder.sampled_embed.weight.any(), (
        "what the model lacks changes nothing at first"
    )


def test_a_run_does_not_start_from_another_architecture(tmp_path):
    other = SAM2(replace(PRESETS["nano"], memory_layers=3))
    Checkpoint(other.config, other.state_dict(), Provenance(name="other")).save(tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="weights that the run's model lacks"):
        pretrain(SMALL, tmp_path / "run", device=CPU, workers=0, start_from=tmp_path / "other.safetensors")


def test_a_damaged_state_is_refused(tmp_path):
    pretrain(SMALL, tmp_path, device=CPU, max_seconds=0, workers=0)
    (path,) = (tmp_path / "checkpoints").iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="damaged"):
        pretrain(SMALL, tmp_path, device=CPU, workers=0)


def test_metrics_are_one_json_line_per_report(tmp_path):
    pretrain(SMALL, tmp_path, device=CPU, workers=0)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in lines] == [5]
    assert lines[0]["loss"] > 0


def test_the_batch_of_a_step_follows_from_the_seed_and_the_step():
    data = SyntheticClips(SMALL)
    assert torch.equal(data[1].images, data[1].images)
    assert not torch.equal(data[1].images, data[2].images)
    assert data[0].masks.shape == (2, 3, 1, 64, 64)
    assert data[1].images.shape == (2, 3, 64, 64)
    assert data[1].masks.shape == (2, 2, 3, 64, 64)
    assert data[4].images.shape == (1, 2, 96, 96)
    assert data[1].masks[:, :, 0].flatten(2).any(dim=2).all(), "every object is visible where a clip starts"


def segmenter(**prompts):
    torch.manual_seed(0)
    model = SAM2(replace(PRESETS["nano"], image_size=64, memory_dropout=0.0))
    model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.data.fill_(3.0)
    return ClipSegmenter(model, PromptConfig(num_corrections=0, **prompts), LossConfig())


def test_two_clips_in_a_batch_lose_as_much_as_each_alone():
    step = segmenter(box=0.0, click=0.0)  # mask prompts: nothing is drawn per clip
    batch = SyntheticClips(replace(SMALL, stages=(Stage(image_size=64, steps=1, clips=2, slices=4),)))[0]

    def loss(clips):
        with torch.no_grad():
            result = step(ClipBatch(batch.images[clips], batch.masks[clips]), np.random.default_rng(5))
        return result.losses.total(LossConfig())

    first, second = loss([0]), loss([1])
    assert first != second
    torch.testing.assert_close(2 * loss([0, 1]), first + second, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("seed", range(30))
def test_a_plan_prompts_the_first_slice_and_corrects_prompted_ones(seed):
    config = PromptConfig()
    plan = PromptPlan.draw(config, 8, np.random.default_rng(seed))
    assert plan.prompted[0] == 0
    assert len(plan.prompted) <= 2
    assert sorted(plan.order(8)) == list(range(8))
    assert plan.order(8)[: len(plan.prompted)] == list(plan.prompted)
    if plan.kind == "mask":
        assert plan.corrected == ()
    else:
        assert set(plan.prompted) <= set(plan.corrected)
        assert len(plan.corrected) <= 2


def test_the_learning_rate_warms_up_and_falls():
    config = PretrainConfig()
    task = SyntheticTask(config, CPU, 0)
    rates = [task.rates(step)["all"] for step in range(config.total_steps)]
    peak = rates.index(max(rates))
    assert peak == pytest.approx(config.warmup * config.total_steps, abs=2)
    assert rates[0] < 0.02 * config.learning_rate
    assert rates[-1] == pytest.approx(config.learning_rate * config.final_lr_factor, rel=0.01)
    assert all(a >= b for a, b in zip(rates[peak:], rates[peak + 1 :], strict=False))


def test_a_foreign_start_shows_the_model_another_object_of_the_clip():
    step = segmenter(box=1.0, click=0.0, swap_object_prob=1.0)
    step.prompts = replace(step.prompts, num_corrections=1)
    masks = torch.zeros(1, 2, 1, 64, 64, dtype=torch.bool)
    masks[0, 0, 0, 8:24, 8:24] = True
    masks[0, 1, 0, 40:56, 40:56] = True
    shown = []
    decode = step.model.decode

    def listening(*seen, mask_logits, **kwargs):
        shown.append(mask_logits)
        return decode(*seen, mask_logits=mask_logits, **kwargs)

    step.model.decode = listening
    step(ClipBatch(torch.zeros(1, 1, 64, 64), masks), np.random.default_rng(0))
    assert shown[0] is None, "the first answer stands on the box alone"
    assert torch.equal(shown[1][0, 0] > 0, masks[0, 1, 0, ::4, ::4])
    assert torch.equal(shown[1][1, 0] > 0, masks[0, 0, 0, ::4, ::4])
