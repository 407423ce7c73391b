"""Files of version 0.1, whose settings had other names, are still read."""

import json

import pytest
import torch
from safetensors.torch import save_file

from NeuroSAM2Core.checkpoint import Checkpoint
from NeuroSAM2Core.checkpoint.load import read_engine_file
from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.legacy import CURRENT, current_names
from NeuroSAM2Core.model.config import PRESETS, EngineDefaults, SAM2Config
from NeuroSAM2Core.training.config.fine_tuning import load_config
from NeuroSAM2Core.training.trainer.recorder import read_metrics

MODEL = """{"trunk": {"width": 32, "num_heads": 1, "stages": [1, 2, 4, 1], "global_blocks": [4, 5, 6, 7], "windows": [8, 8, 8, 8],
"background_grid": [8, 8]}, "image_size": 256, "width": 128, "memory_width": 32, "paints_prompts": true, "samples_prompts": true,
"learns_appearance": true, "adaptive_crops": true, "sure_iou": 0.82, "engine": {"learns_appearance": false, "min_area_share": 0.1}}"""
RUN = """
preset = "quick"
[data]
datasets = ["cases/dataset.json"]
[prompts]
loose_box = 0.5
rough_neighbours = 0.25
foreign_starts = 0.125
carried_box = 0.75
max_taught = 3
kind_from_shape = true
[losses]
presence = 2.0
entropy = 1.5
taught = "chosen"
supervises_all_ious = false
[prompt_control]
smallest_share = 0.2
[run]
folder = "out"
"""


def test_a_model_of_version_0_1_keeps_its_configuration(tmp_path):
    config = SAM2Config.from_dict(json.loads(MODEL))
    assert config.rasterize_prompts
    assert config.sample_point_features
    assert config.use_appearance_model
    assert config.review_iou_threshold == 0.82
    assert config.engine == EngineDefaults(use_appearance_model=False, min_area_ratio=0.1)
    about = {
        "format_version": 1,
        "config": json.loads(MODEL),
        "provenance": {"name": "old", "source": "", "licence": "MIT"},
    }
    save_file({"a": torch.zeros(1)}, tmp_path / "old.safetensors", metadata={"neurosam2": json.dumps(about)})
    assert Checkpoint.load(tmp_path / "old.safetensors").config == config


def test_the_engine_settings_beside_a_model_are_read(tmp_path):
    path = tmp_path / "model.engine.toml"
    path.write_text("crops = false\nlearns_appearance = true\nmin_area_share = 0.05\n", encoding="utf-8")
    assert read_engine_file(path) == EngineDefaults(crops=False, use_appearance_model=True, min_area_ratio=0.05)


def test_a_run_configuration_of_version_0_1_is_read(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(RUN, encoding="utf-8")
    config = load_config(str(path), ["prompts.max_taught=4", "losses.taught=least_loss"])
    assert (config.prompts.jitter_box_prob, config.prompts.perturb_prev_mask_prob) == (0.5, 0.25)
    assert (config.prompts.swap_object_prob, config.prompts.prev_box_prob) == (0.125, 0.75)
    assert (config.prompts.max_supervised, config.prompts.auto_prompt_type) == (4, True)
    assert (config.losses.object_score, config.losses.bce, config.losses.supervise_all_iou) == (2.0, 1.5, False)
    assert config.losses.supervised == "least_loss"
    assert load_config(str(path)).losses.supervised == "predicted_best"
    assert config.prompt_control.min_factor == 0.2


def test_reports_of_a_run_of_version_0_1_are_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 20, "loss": 1.5, "presence": 0.25, "entropy": 0.5}\n', encoding="utf-8")
    assert read_metrics(path) == [{"step": 20, "loss": 1.5, "object_score": 0.25, "bce": 0.5}]


def test_a_setting_under_both_names_is_refused():
    values = PRESETS["nano"].to_dict() | {"sure_iou": 0.5}
    with pytest.raises(ConfigError, match="sure_iou"):
        SAM2Config.from_dict(values)


def test_no_current_name_is_an_old_one():
    assert not set(CURRENT) & set(CURRENT.values())
    assert current_names({"a": {"presence": 1}}) == {"a": {"object_score": 1}}
    assert current_names({"losses": {"taught": "chosen"}}) == {"losses": {"supervised": "predicted_best"}}
