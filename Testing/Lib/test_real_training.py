"""The panel's controller with the real command behind a launcher: trains a few steps, measures before and after, uses the model."""

import os
import time
from pathlib import Path

import numpy as np
from NeuroSAM2Lib.training.controller import TrainController
from NeuroSAM2Lib.training.run import TrainChoice

from NeuroSAM2Core.processes import ProcessTree
from Testing.Support.exported import add_case
from Testing.Support.launcher import make_launcher
from Testing.Support.processes import wait_a_little
from Testing.Support.small_run import SETTINGS
from Testing.Support.volumes import ball_volume

LIMIT_S = 300


def test_a_model_is_trained_measured_and_used(tmp_path, monkeypatch):
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    used, python = [], make_launcher(tmp_path / "PythonSlicer")
    training = TrainController(tmp_path / "project", ProcessTree.start, [python], use_model=used.append)
    for number, role in enumerate(("training", "validation")):
        volume, truth = ball_volume((12 + number, 32, 32))
        add_case(training.cases, f"case{number}", volume, volume.with_voxels(truth.astype(np.uint8)), role)
    training.begin(TrainChoice(steps=2, settings=SETTINGS))
    training.stop()
    wait(training, lambda: not training.is_running)
    assert training.notice == "the run was stopped"
    assert training.view.step < 2
    training.resume()
    wait(training, lambda: not training.is_running)
    assert training.run.is_over, training.notice
    assert [step for step, _ in training.view.losses] == [1, 2]
    assert [step for step, _ in training.view.dices] == [2]
    training.compare()
    wait(training, lambda: not training.is_comparing)
    assert {"Dice after the first prompt (box)", "Dice after the first prompt (click)"} <= {
        row.what for row in training.view.comparison
    }, training.notice
    training.promote()
    assert used == [str(training.run.model)]


def wait(training, is_done):
    deadline = time.monotonic() + LIMIT_S
    while not is_done():
        training.poll()
        assert time.monotonic() < deadline, training.notice
        wait_a_little(training)
