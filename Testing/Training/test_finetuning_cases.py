"""The cases to try fine-tuning on: reproducible, different from each other, and sound."""

import json
import sys

import numpy as np
import pytest

from NeuroSAM2Core.training.config.data import DataConfig, SamplingConfig
from NeuroSAM2Core.training.data.check import check_datasets
from tools import make_finetuning_cases as cases

pytest.importorskip("nilearn", reason="the MNI152 brain comes with nilearn")


def test_a_case_follows_from_its_seed_alone():
    brain = cases.template()
    image, label = cases.make_case(brain, "white-matter", np.random.default_rng((0, 3)))
    again, same = cases.make_case(brain, "white-matter", np.random.default_rng((0, 3)))
    np.testing.assert_array_equal(image.voxels, again.voxels)
    np.testing.assert_array_equal(label.voxels, same.voxels)
    other, elsewhere = cases.make_case(brain, "white-matter", np.random.default_rng((0, 4)))
    overlap = 2 * (label.voxels & elsewhere.voxels).sum() / (label.voxels.sum() + elsewhere.voxels.sum())
    assert overlap < 0.9
    assert np.corrcoef(image.voxels.ravel(), other.voxels.ravel())[0, 1] < 0.98


def test_the_dataset_that_is_written_is_sound(tmp_path, monkeypatch):
    words = ["cases", str(tmp_path), "--training", "1", "--validation", "0", "--held-out", "1", "--structure", "lesion"]
    monkeypatch.setattr(sys, "argv", words)
    cases.main()
    lists = json.loads((tmp_path / "dataset.json").read_text(encoding="utf-8"))
    assert {split: len(entries) for split, entries in lists.items()} == {"training": 1, "validation": 0, "test": 1}
    report = check_datasets(DataConfig(datasets=(str(tmp_path / "dataset.json"),)), SamplingConfig(slices=4))
    assert report.issues == ()
    before = (tmp_path / "dataset.json").stat().st_mtime_ns
    with pytest.raises(SystemExit):
        cases.main()
    assert (tmp_path / "dataset.json").stat().st_mtime_ns == before
