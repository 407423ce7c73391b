"""From which predicted overlap on a model counts as sure: measured once, written down once, used everywhere."""

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.confidence import Rated, rank_correlation, review_iou_threshold
from NeuroSAM2Core.catalog import catalog, find
from NeuroSAM2Core.checkpoint import Checkpoint, Provenance, load_model
from NeuroSAM2Core.model import PRESETS, SAM2Config

PAGE = (Path(__file__).parents[2] / "benchmarks" / "README.md").read_text(encoding="utf-8")


def test_the_catalog_says_what_was_measured():
    output = re.search(r"`review_iou_threshold` of nano: (0\.\d\d)", PAGE)
    assert float(output[1]) == find("nano").review_iou_threshold
    assert [name for name, entry in catalog().items() if entry.review_iou_threshold is not None] == ["nano"]


def test_a_loaded_model_knows_it_and_models_made_from_it_inherit_it(tmp_path):
    if not find("nano").installed().exists():
        pytest.skip("the bundled model is not in this checkout")
    model = load_model("nano", device="cpu")
    assert model.config.review_iou_threshold == find("nano").review_iou_threshold
    path = tmp_path / "mine.safetensors"
    Checkpoint(model.config, model.state_dict(), Provenance(name="mine")).save(path)
    assert load_model(path, device="cpu").config.review_iou_threshold == model.config.review_iou_threshold


def test_a_file_that_says_nothing_of_it_gets_the_usual():
    values = PRESETS["nano"].to_dict()
    del values["review_iou_threshold"]
    assert SAM2Config.from_dict(values).review_iou_threshold == 0.8


def test_the_limit_is_the_least_one_that_keeps_both_promises_in_every_group():
    predicted = np.repeat([0.4, 0.6, 0.8], 100)
    well_rated = Rated(predicted, np.r_[np.full(100, 0.3), np.full(10, 0.3), np.full(190, 0.9)])
    assert review_iou_threshold([well_rated]) == pytest.approx(0.61)  # at 0.41 a tenth of the bad slices would be sure
    assert well_rated.precision(0.5) == pytest.approx(0.95)
    assert well_rated.bad_called_sure(0.5) == pytest.approx(10 / 110)
    badly_rated = Rated(predicted, np.r_[np.full(200, 0.3), np.full(80, 0.9), np.full(20, 0.7)])
    assert review_iou_threshold([well_rated, badly_rated]) > 0.8


def test_where_no_limit_will_do_nothing_is_sure():
    assert review_iou_threshold([Rated(np.full(10, 0.995), np.zeros(10))]) == 1.0


def test_rank_correlation_is_one_for_perfect_and_minus_one_for_inverted_scores():
    true = np.random.default_rng(1).permutation(50) / 50
    assert rank_correlation(Rated(true**3, true)) == pytest.approx(1.0)
    assert rank_correlation(Rated(-true, true)) == pytest.approx(-1.0)
