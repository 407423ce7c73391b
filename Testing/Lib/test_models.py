"""Choosing the model that answers."""

import hashlib
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from NeuroSAM2Lib.engine.choice import EngineChoice
from NeuroSAM2Lib.engine.link import EngineLink
from NeuroSAM2Lib.presenters.engine_presenter import ModelController
from NeuroSAM2Lib.presenters.segment_presenter import SegmentPresenter

from NeuroSAM2Core.errors import CheckpointError, DownloadError
from NeuroSAM2Core.processes import ProcessTree
from NeuroSAM2Core.remote import LoadModel, ModelLoaded
from NeuroSAM2Core.volume import Volume
from Testing.Support.fake_engine import FakeEngine
from Testing.Support.launcher import make_script
from Testing.Support.scenes import make_app
from Testing.Support.sessions import Engines

PYTHON = [sys.executable, str(Path(__file__).parents[1] / "Support" / "fake_trainer.py")]
LIMIT_S = 60


class Shelf:
    def __init__(self, folder, *, agrees):
        self.link = EngineLink(Engines(), LoadModel(model="nano"))
        self.seen = []
        self.models = ModelController(
            make_app(folder, agrees=agrees),
            self.link,
            ProcessTree.start,
            PYTHON,
            on_change=self.seen.append,
            folder=folder / "models",
        )

    def row(self, name):
        return next(row for row in self.models.view.rows if row.name == name)

    def wait(self):
        deadline = time.monotonic() + LIMIT_S
        while self.models.view.download is not None:
            self.models.poll()
            assert time.monotonic() < deadline
            os.sched_yield()


def test_the_bundled_model_is_in_use_at_first(tmp_path):
    shelf = Shelf(tmp_path, agrees=False)
    assert shelf.row("nano").is_in_use
    assert shelf.row("nano").is_installed
    assert not shelf.row("sam2_hiera_tiny").is_installed
    assert shelf.models.view.path == ""


def test_a_download_does_not_go_on_unseen_with_another_engine(app, tmp_path):
    presenter = SegmentPresenter(
        app, EngineChoice(), lambda choice: FakeEngine(), make_script(tmp_path / "python", "sleep 300")
    )
    presenter.models._folder, presenter.models._host = tmp_path, SimpleNamespace(confirm=lambda question: True)
    presenter.models.use("sam2_hiera_tiny")
    _, tree = presenter.models._download
    presenter.use_engine(EngineChoice(device="cpu"))
    assert tree.wait(LIMIT_S) is not None
    presenter.close()


def test_nothing_is_downloaded_without_consent(tmp_path):
    shelf = Shelf(tmp_path, agrees=False)
    assert not shelf.models.use("sam2_hiera_tiny")
    assert shelf.models.view.download is None
    assert "not downloaded" in shelf.models.notice
    assert shelf.link.model.model == "nano"


def test_a_model_that_was_downloaded_is_used(tmp_path):
    shelf = Shelf(tmp_path, agrees=True)
    assert not shelf.models.use("sam2_hiera_tiny")
    assert shelf.models.view.download == (0, None)
    shelf.wait()
    assert shelf.row("sam2_hiera_tiny").is_in_use
    assert shelf.link.model.model == str(tmp_path / "models" / "sam2_hiera_tiny.safetensors")
    assert shelf.seen[0].sha256 == ""
    for _ in range(2):
        shelf.models.poll()
    assert shelf.seen[-1].sha256 == hashlib.sha256(b"weights").hexdigest()
    assert shelf.seen[-1].name == "sam2_hiera_tiny"
    assert shelf.models.use("nano")
    assert shelf.row("nano").is_in_use


def test_a_failed_download_is_reported_and_changes_nothing(tmp_path):
    shelf = Shelf(tmp_path, agrees=True)
    shelf.models.use("sam2_hiera_small")
    with pytest.raises(DownloadError, match="could not reach the server"):
        shelf.wait()
    assert shelf.link.model.model == "nano"


def test_a_file_of_ones_own_is_used_by_its_path(tmp_path):
    shelf = Shelf(tmp_path, agrees=False)
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"weights")
    shelf.models.use_file(path)
    assert shelf.models.view.path == str(path)
    with pytest.raises(CheckpointError, match=r"other\.pt is not a model file"):
        shelf.models.use_file(tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="no model 'nanno'"):
        shelf.models.use("nanno")


def test_another_model_makes_the_engine_be_told_everything_anew(tmp_path):
    shelf = Shelf(tmp_path, agrees=False)
    before = shelf.link.generation
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"weights")
    shelf.models.use_file(path)
    assert shelf.link.generation == before + 1


def test_the_hash_that_the_engine_read_wins_over_that_of_the_file_now(tmp_path, monkeypatch):
    monkeypatch.setattr(FakeEngine, "sha256", "ab" * 32)
    shelf = Shelf(tmp_path, agrees=False)
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"another file by now")
    shelf.models.use_file(path)
    shelf.link.open(Volume(np.zeros((2, 8, 8), np.int16), np.eye(4)))
    while not any(isinstance(event, ModelLoaded) for event in shelf.link.poll()):
        pass
    for _ in range(3):
        shelf.models.poll()
    assert (shelf.seen[-1].name, shelf.seen[-1].sha256) == ("mine", "ab" * 32)
