"""`neurosam2 app`: found by the command line, clear where something is missing, and thrifty until it is not."""

import importlib.metadata
import importlib.util
import os
import socket
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from NeuroSAM2Web import command
from NeuroSAM2Web.server.guard import choose_port

from NeuroSAM2Core.cli import main as cli
from NeuroSAM2Core.errors import WorkerError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def neurosam2(monkeypatch):
    """The command line with the entry point that the package declares, installed or not."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"][
        cli.MORE_COMMANDS
    ]
    found = [EntryPoint(name, value, cli.MORE_COMMANDS) for name, value in declared.items()]
    monkeypatch.setattr(cli, "entry_points", lambda group: found if group == cli.MORE_COMMANDS else [])
    return lambda *words: cli.main([*words])


def test_the_package_declares_the_command(neurosam2, capsys):
    with pytest.raises(SystemExit) as over:
        neurosam2("app", "--help")
    assert over.value.code == 0
    output = capsys.readouterr().out
    assert "--folder" in output
    assert "ssh -L" in output


def test_without_the_extra_one_sentence_says_what_to_install(neurosam2, capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if "trame" in name else find(name, *rest))
    assert neurosam2("app") == 2
    output = capsys.readouterr().err
    assert "packages that are not installed: trame, trame_client, trame_vuetify" in output
    assert 'pip install ".[app]"' in output


def test_missing_rendering_libraries_are_named_with_the_install_command(neurosam2, capsys, monkeypatch):
    monkeypatch.setattr(command, "missing_libraries", lambda: "slice views cannot be drawn here")
    assert neurosam2("app") == 2
    assert "cannot be drawn" in capsys.readouterr().err


def test_a_missing_image_or_folder_is_reported_before_anything_starts(neurosam2, capsys, tmp_path):
    assert neurosam2("app", str(tmp_path / "none.nii.gz")) == 2
    assert "there is no file" in capsys.readouterr().err
    assert neurosam2("app", "--folder", str(tmp_path / "none")) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_a_command_that_cannot_be_imported_leaves_the_others_alone(monkeypatch, capsys):
    broken = EntryPoint("broken", "no_such_module_at_all", cli.MORE_COMMANDS)
    monkeypatch.setattr(cli, "entry_points", lambda group: [broken])
    assert cli.main(["download"]) == 0
    assert "nano" in capsys.readouterr().out


def test_the_command_line_stays_quick_with_it():
    """Declaring the command imports nothing heavy."""
    code = (
        "import sys, NeuroSAM2Web.command; "
        "print([name for name in ('slicer', 'vtk', 'vtkmodules', 'trame_server', 'aiohttp', 'torch', 'numpy') if name in sys.modules])"
    )
    paths = os.pathsep.join([str(ROOT), str(ROOT / "NeuroSAM2Slicer")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
    )
    assert done.stdout.strip() == "[]"


def test_the_pinned_packages_are_those_that_run_here():
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"][
        "app"
    ]
    pinned = dict(line.split("==") for line in extra if "==" in line)
    assert {name: importlib.metadata.version(name) for name in pinned} == pinned


LOOK = "from NeuroSAM2Web.command import missing_libraries; print(missing_libraries()); import sys; assert 'vtk' not in sys.modules"


@pytest.mark.skipif(sys.platform != "linux", reason="EGL is looked for on Linux only")
@pytest.mark.parametrize("variable", ["LIBGL_DRIVERS_PATH", "__EGL_VENDOR_LIBRARY_DIRS"])
def test_libraries_that_would_crash_vtk_are_noticed_before_it_is_imported(variable, tmp_path):
    """Mesa without drivers, and EGL without Mesa: both end a process that draws."""
    assert "apt-get install libegl1 libgl1-mesa-dri" in look({variable: str(tmp_path)})


def test_a_machine_with_a_display_is_trusted(tmp_path):
    assert look({"__EGL_VENDOR_LIBRARY_DIRS": str(tmp_path), "DISPLAY": ":0"}) == ""


def look(changes):
    env = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "VTK_DEFAULT_OPENGL_WINDOW")}
    paths = os.pathsep.join([str(ROOT), str(ROOT / "NeuroSAM2Slicer")])
    done = subprocess.run(
        [sys.executable, "-c", LOOK],
        env=env | {"PYTHONPATH": paths} | changes,
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
    )
    return done.stdout.strip()


def test_a_taken_port_is_reported_if_it_was_asked_for_and_else_avoided():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert choose_port(None, port) == 0
        with pytest.raises(WorkerError, match=f"cannot listen on port {port}"):
            choose_port(port, 1)
    assert choose_port(0, port) == 0
    with pytest.raises(WorkerError, match="port 99999"):
        choose_port(99999, port)
