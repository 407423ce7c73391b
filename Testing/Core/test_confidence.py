"""From which predicted overlap on a model counts as sure: measured once, written down once, used everywhere."""

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.confidence import Rated, rank_correlation, rules, sure_iou
from NeuroSAM2Core.catalog import catalog, find
from NeuroSAM2Core.checkpoint import Checkpoint, Provenance, load_model
from NeuroSAM2Core.model import PRESETS, SAM2Config

PAGE = (Path(__file__).parents[2] / "benchmarks" / "README.md").read_text()


def test_the_catalog_says_what_was_measured():
    said = re.search(r"`sure_iou` of nano: (0\.\d\d)", PAGE)
    assert float(said[1]) == find("nano").sure_iou
    assert [name for name, entry in catalog().items() if entry.sure_iou is not None] == ["nano"]


def test_a_loaded_model_knows_it_and_models_made_from_it_inherit_it(tmp_path):
    if not find("nano").installed().exists():
        pytest.skip("the bundled model is not in this checkout")
    model = load_model("nano", device="cpu")
    assert model.config.sure_iou == find("nano").sure_iou
    path = tmp_path / "mine.safetensors"
    Checkpoint(model.config, model.state_dict(), Provenance(name="mine")).save(path)
    assert load_model(path, device="cpu").config.sure_iou == model.config.sure_iou


def test_a_file_that_says_nothing_of_it_gets_the_usual():
    values = PRESETS["nano"].to_dict()
    del values["sure_iou"]
    assert SAM2Config.from_dict(values).sure_iou == 0.8


def test_the_limit_marks_no_more_good_masks_than_allowed():
    rng = np.random.default_rng(0)
    slices = rated(rng.uniform(0, 1, 2000), np.r_[np.full(1000, 0.9), np.full(1000, 0.3)])
    limit = sure_iou(slices)
    assert (slices.good < limit).mean() <= 0.1
    assert (slices.good < limit + 0.02).mean() > 0.1
    assert len(slices.good) == 1000


def test_a_slice_is_marked_below_the_models_limit_unless_its_object_is_rated_low_throughout():
    slices = rated(np.array([0.9, 0.7, 0.6, 0.5]), np.ones(4), accepted=np.array([0.95, 0.95, 0.65, 0.65]))
    assert [marked.tolist() for marked in rules(slices, 0.77)] == [
        [False, True, True, True],
        [False, True, True, True],
        [False, True, False, True],
    ]


def test_the_rank_correlation_is_one_for_a_model_that_knows_and_minus_one_for_one_that_is_wrong():
    true = np.random.default_rng(1).permutation(50) / 50
    assert rank_correlation(rated(true**3, true)) == pytest.approx(1.0)
    assert rank_correlation(rated(-true, true)) == pytest.approx(-1.0)


def rated(predicted, true, accepted=None):
    return Rated(predicted, true, predicted if accepted is None else accepted, np.ones(len(true), bool))
