"""Slicer's stand-in for every test of the panels; skipped with a reason where the machine lacks what drawing needs."""

import os
import sys
from pathlib import Path

import pytest

from Testing.Support.left_out import TestModule
from Testing.Support.panel_libraries import what_is_missing

MISSING = what_is_missing()
TRAINER = Path(__file__).parents[1] / "Support" / "fake_trainer.py"
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


def pytest_pycollect_makemodule(module_path, parent):
    return TestModule.from_parent(parent, path=module_path, lacking=MISSING)


def pytest_report_header():
    return MISSING or None


@pytest.fixture(scope="session")
def application(tmp_path_factory):
    from Testing.Qt.host.application import start

    return start(tmp_path_factory.mktemp("slicer"))


@pytest.fixture
def slicer_app(application):
    """The application with an empty scene; what callbacks raise and what is logged as an error fails the test."""
    from Testing.Qt.host.log import errors
    from Testing.Qt.host.signals import failures

    failures.clear()
    errors.clear()
    application.userSettings().clear()
    yield application
    application.mrmlScene().Clear(0)
    application.processEvents()
    assert not failures, failures[0]
    assert not errors, errors[0]


@pytest.fixture
def qt(application):
    from Testing.Qt.host import pythonqt

    return pythonqt.install()


@pytest.fixture
def loop(application):
    from Testing.Qt.host.spin import Loop

    return Loop(application)


@pytest.fixture
def fake_programs(monkeypatch):
    """An engine that answers at once, and a trainer that needs no torch."""
    from NeuroSAM2Lib.engine.choice import EngineChoice

    from Testing.Support.fake_engine import FakeEngine

    monkeypatch.setattr(EngineChoice, "connect", lambda choice, slicer_python: FakeEngine())
    monkeypatch.setattr(EngineChoice, "command", lambda choice, slicer_python: (sys.executable, str(TRAINER)))


@pytest.fixture
def user(slicer_app, loop, fake_programs):
    """The segmentation panel, ready to be used."""
    from Testing.Qt.panel_user import PanelUser

    user = PanelUser(slicer_app, loop)
    yield user
    user.close()


@pytest.fixture
def train_user(slicer_app, loop, tmp_path, fake_programs):
    """Both panels, with an empty project."""
    from Testing.Qt.train_panel_user import TrainPanelUser

    both = TrainPanelUser(slicer_app, loop, tmp_path / "project")
    yield both
    both.close()
