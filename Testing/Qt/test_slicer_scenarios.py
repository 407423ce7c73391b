"""What Testing/Slicer says of a running Slicer holds in the test host, too; files that never ran here would fail there."""

import importlib
import re
import sys
import unittest
from pathlib import Path

import pytest

from Testing.Qt.desk import SLICER
from Testing.Qt.host.modules import load_module

FOLDER = Path(__file__).parents[1] / "Slicer"


@pytest.fixture
def modules(slicer_app, loop, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    loaded = [load_module(SLICER / name / f"{name}.py") for name in ("NeuroSAM2Segment", "NeuroSAM2Train")]
    yield loaded
    for module in reversed(loaded):
        module.close()
    for name in ("hands", "SegmentScenarios", "TrainScenarios"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["SegmentScenarios", "TrainScenarios"])
def test_the_scenarios_for_a_real_slicer_pass_in_the_host(modules, name, monkeypatch):
    monkeypatch.setitem(sys.modules, "isal", None)  # not in Slicer's Python
    suite = unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module(name))
    count = suite.countTestCases()
    assert count > 1
    result = unittest.TestResult()
    suite.run(result)
    told = [text for _, text in (*result.failures, *result.errors)]
    assert not told, told[0]
    assert result.testsRun == count


@pytest.mark.parametrize("file", ["Slicer/SegmentScenarios.py", "README.md"])
def test_the_documented_command_names_modules_by_whole_paths(file):
    commands = (FOLDER.parent / file).read_text().split("--additional-module-paths")[1:]
    assert commands
    for command in commands:
        paths = re.findall(r"\S*NeuroSAM2Slicer/\w+", command.split("--python-code")[0])
        assert len(paths) == 2
        assert all(path.startswith('"$PWD/') for path in paths), "Slicer warns of others"


def test_every_file_of_scenarios_is_run_here_and_by_cmake():
    files = {path.stem for path in FOLDER.glob("*Scenarios.py")}
    assert files == {"SegmentScenarios", "TrainScenarios"}
    assert all(name in (FOLDER / "CMakeLists.txt").read_text() for name in files)
