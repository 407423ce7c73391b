"""The one command for a real Slicer holds in the test host, too; scenarios that never ran here would fail there."""

import importlib.util
import json
import os
import re
import runpy
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import slicer

from Testing.Qt.host.modules import begin_managing
from Testing.Support.launcher import make_launcher

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "Testing" / "Slicer"
FILES = sorted(path.stem for path in FOLDER.glob("*Scenarios.py"))
COMMAND = 'Slicer --testing --python-script "$PWD/Testing/Slicer/run.py"'
MADE_UP = """
import logging, unittest
import slicer

class MadeUpScenarios(unittest.TestCase):
    def test_it(self):
        {}
"""


@pytest.fixture
def command(slicer_app, loop, monkeypatch):
    """run.py, in an application that has neither module yet."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    known = set(sys.modules)
    factory = begin_managing()
    spec = importlib.util.spec_from_file_location("run", FOLDER / "run.py")
    run = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(run)
    yield run
    factory.close()
    for name in {"input_simulator", "reports", "MadeUpScenarios", *FILES} - known:
        sys.modules.pop(name, None)


def read(out):
    """The tests of results.json, and the cases of results.xml."""
    payload = json.loads((out / "results.json").read_text(encoding="utf-8"))
    suite = ET.parse(out / "results.xml").getroot()
    cases = suite.findall("testcase")
    assert [(one["scenarios"], one["name"]) for one in payload["tests"]] == [
        (one.get("classname"), one.get("name")) for one in cases
    ]
    assert suite.get("tests") == str(len(cases))
    return payload, cases


def test_all_scenarios_for_a_real_slicer_pass_in_the_host(command, tmp_path, monkeypatch):
    for program in ("PythonSlicer", "python"):  # as Slicer's own: a launcher in front of the real one
        make_launcher(tmp_path / program)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("NEUROSAM2_TEST_PYTHON", str(tmp_path / "python"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    is_good = command.run(FOLDER, tmp_path)
    payload, _ = read(tmp_path)
    assert [one["message"] for one in payload["tests"] if one["state"] != "passed"] == []
    assert is_good
    assert {one["scenarios"] for one in payload["tests"]} == {*FILES, "TrainingScenarios"}
    assert all((tmp_path / one["screenshot"]).stat().st_size > 1000 for one in payload["tests"])
    assert Path(payload["NeuroSAM2Segment"]) == ROOT / "NeuroSAM2Slicer" / "NeuroSAM2Segment" / "NeuroSAM2Segment.py"


@pytest.mark.parametrize(
    ("statement", "state", "words"),
    [
        ("pass", "passed", ""),
        ("self.assertEqual(1, 2, chr(0))", "failed", "AssertionError"),
        ("raise OSError('no disk')", "error", "OSError: no disk"),
        ("self.skipTest('no torch')", "skipped", "no torch"),
        ("logging.getLogger().error('a red sign')", "failed", "a red sign"),
        ("logging.getLogger().warning('a yellow sign')", "passed", ""),
    ],
    ids=["good", "wrong", "broken", "skipped", "error logged", "warning logged"],
)
def test_what_became_of_a_scenario_is_reported(command, tmp_path, statement, state, words):
    from Testing.Qt.host.log import errors

    (tmp_path / "MadeUpScenarios.py").write_text(MADE_UP.format(statement), encoding="utf-8")
    assert command.run(tmp_path, tmp_path / "out") is (state in ("passed", "skipped"))
    payload, (case,) = read(tmp_path / "out")
    (test,) = payload["tests"]
    assert (test["state"], test["name"]) == (state, "test_it")
    assert words in test["message"]
    tag = {"failed": "failure", "error": "error", "skipped": "skipped"}.get(state)
    assert [one.tag for one in case] == [*([tag] if tag else []), "system-out"]
    assert (tmp_path / "out" / test["screenshot"]).is_file()
    errors.clear()


def test_what_is_logged_while_the_modules_load_counts_against_the_first_test(command, tmp_path, monkeypatch):
    from Testing.Qt.host.log import errors, log_error

    log_error("from before the run, which is no fault of ours")
    monkeypatch.setattr(command, "load_modules", lambda load=command.load_modules: (load(), log_error("a bad form")))
    (tmp_path / "MadeUpScenarios.py").write_text(MADE_UP.format("pass"), encoding="utf-8")
    assert not command.run(tmp_path, tmp_path / "out")
    payload, _ = read(tmp_path / "out")
    assert payload["tests"][0]["message"].endswith("has new entries:\na bad form")
    errors.clear()


def test_a_file_that_cannot_be_read_and_no_file_at_all_are_not_good(command, tmp_path):
    (tmp_path / "none").mkdir()
    assert not command.run(tmp_path / "none", tmp_path / "out")
    (tmp_path / "MadeUpScenarios.py").write_text("import no_such_package", encoding="utf-8")
    assert not command.run(tmp_path, tmp_path / "out")
    payload, _ = read(tmp_path / "out")
    assert "no_such_package" in payload["tests"][0]["message"]


@pytest.mark.parametrize(("statement", "status"), [("pass", 0), ("self.fail()", 1)])
def test_slicer_ends_with_what_became_of_the_scenarios(command, tmp_path, monkeypatch, capsys, statement, status):
    reports = sys.modules["reports"]
    collect = reports.collect
    monkeypatch.setattr(reports, "collect", lambda folder: collect(tmp_path))
    monkeypatch.setattr(sys, "argv", ["Slicer"])
    monkeypatch.setattr(slicer.util, "mainWindow", lambda: None)
    (tmp_path / "MadeUpScenarios.py").write_text(MADE_UP.format(statement), encoding="utf-8")
    runpy.run_path(str(FOLDER / "run.py"), run_name="__main__")
    assert slicer.app.exit_status == status
    assert not slicer.app.commandOptions().runPythonAndExit, "or Slicer would end with 0 whatever happened"
    out = Path(capsys.readouterr().out.strip().rpartition(" see ")[2])
    assert out.parent == Path(slicer.app.temporaryPath)
    payload, _ = read(out)
    assert (out / payload["tests"][0]["screenshot"]).is_file(), "of the panel where there is no window"


def test_without_torch_the_real_engine_is_skipped_with_the_reason(command, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delenv("NEUROSAM2_TEST_PYTHON", raising=False)
    text = (FOLDER / "EngineScenarios.py").read_text(encoding="utf-8")
    (tmp_path / "EngineScenarios.py").write_text(text, encoding="utf-8")
    assert command.run(tmp_path, tmp_path / "out")
    payload, _ = read(tmp_path / "out")
    assert {one["state"] for one in payload["tests"]} == {"skipped"}
    assert all("Python" in one["message"] for one in payload["tests"])


def test_slicer_ends_with_one_where_the_modules_cannot_be_loaded(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "PLACE", tmp_path)
    monkeypatch.setattr(slicer.app.factoryManager(), "loadModules", lambda names: False)
    assert command.main(["--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr()
    assert "could not load NeuroSAM2Segment and NeuroSAM2Train" in told.out
    assert told.err == "", "Slicer logs as an error what is written there"


@pytest.mark.parametrize("file", ["Testing/Slicer/run.py", "Testing/README.md"])
def test_the_documents_name_the_one_command(file):
    assert COMMAND in (ROOT / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("file", ["tools/slicer_scenarios.sh", "Testing/Slicer/CMakeLists.txt"])
def test_scripts_run_the_one_command_and_no_single_file(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    assert re.search(r"\brun\.py\b", text)
    assert not any(name in text for name in FILES)
