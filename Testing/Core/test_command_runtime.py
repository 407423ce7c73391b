"""The command line in bad surroundings: signals, closed pipes, full disks, poor terminals, no home."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from NeuroSAM2Core import disk
from NeuroSAM2Core.catalog import models_folder
from NeuroSAM2Core.checkpoint import load_checkpoint
from NeuroSAM2Core.cli.main import main, with_negative_values
from NeuroSAM2Core.errors import Cancelled, ConfigError

ROOT = Path(__file__).parents[2]
needs_signals = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")


@pytest.fixture(autouse=True)
def usual_signals():
    """As a terminal starts a program: what was started in the background ignores Ctrl-C, and so would its children."""
    usual = dict.fromkeys(("SIGTERM", "SIGHUP"), signal.SIG_DFL) | {"SIGINT": signal.default_int_handler}
    found = {getattr(signal, name): handler for name, handler in usual.items() if hasattr(signal, name)}
    before = {number: signal.signal(number, handler) for number, handler in found.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def command(monkeypatch):
    """Makes a function stand in for whatever command is called."""

    def stand_in(run):
        monkeypatch.setattr("NeuroSAM2Core.cli.main.run", run)

    return stand_in


@needs_signals
@pytest.mark.parametrize(
    ("number", "code", "word"),
    [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated"), ("SIGHUP", 129, "terminated")],
)
def test_a_signal_is_one_word_and_leaves_no_partial_file(tmp_path, command, capsys, number, code, word):
    def write(arguments):
        with disk.replaced_atomically(tmp_path / "a.nii") as partial:
            partial.write_bytes(b"half")
            signal.raise_signal(getattr(signal, number))

    command(write)
    before = signal.getsignal(signal.SIGINT)
    assert main([]) == code
    assert capsys.readouterr().err == f"neurosam2: {word}\n"
    assert os.listdir(tmp_path) == []
    assert signal.getsignal(signal.SIGINT) is before


@needs_signals
def test_an_interruption_that_a_library_makes_another_error_of_is_one(command, capsys):
    def imported(arguments):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("cannot import half of it") from None

    command(imported)
    assert main([]) == 130
    assert capsys.readouterr().err == "neurosam2: interrupted\n"


def test_what_was_cancelled_has_a_word(command, capsys):
    def cancelled(arguments):
        raise Cancelled

    command(cancelled)
    assert main([]) == 130
    assert capsys.readouterr().err == "neurosam2: interrupted\n"


def test_a_defect_is_still_a_traceback(command):
    def defect(arguments):
        raise OSError("of something else")

    command(defect)
    with pytest.raises(OSError, match="something else"):
        main([])


@needs_signals
def test_ctrl_c_while_commands_are_imported_is_one_word(tmp_path):
    code = (
        "import signal, sys\n"
        "class Slow:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'nibabel':\n"
        "            signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Slow())\n"
        "from NeuroSAM2Core.cli.main import main\n"
        "sys.exit(main(['segment', 'a.nii', '--box', 'k:1:1,2,3,4', '--out', 'm.nii']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stderr) == (130, "neurosam2: interrupted\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("words", [["download"], ["--version"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_output_is_a_sentence(words, unbuffered):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "NeuroSAM2Core", *words], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, encoding="utf-8",
            check=False, env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "neurosam2: cannot write to the standard output: No space left on device\n"


@needs_signals
def test_nobody_reading_on_ends_it_quietly():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "NeuroSAM2Core", "download"],
        cwd=ROOT,
        stdout=writer,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_names_that_the_terminal_cannot_show_are_replaced(command, monkeypatch, encoding):
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    command(lambda arguments: sys.stdout.write("written to \u8133\ud800.nii") and 0)
    assert main([]) == 0
    out.flush()
    assert out.buffer.getvalue().startswith(b"written to ")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--window -100:600", "--window=-100:600"),
        ("--window -.5:.5 --value -1", "--window=-.5:.5 --value -1"),
        ("--threshold -1e-3", "--threshold=-1e-3"),
        ("--window=-5:5", "--window=-5:5"),
        ("a.nii -h --out m.nii --overwrite", "a.nii -h --out m.nii --overwrite"),
        ("--classes -1 2", "--classes -1 2"),
        ("-- -1:2", "-- -1:2"),
    ],
)
def test_values_may_begin_with_a_negative_number(words, expected):
    assert with_negative_values(words.split()) == expected.split()


@pytest.fixture
def homeless(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    for name in ("NEUROSAM2_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)


def test_no_home_folder_is_a_sentence_that_names_the_variable(homeless, capsys):
    with pytest.raises(ConfigError, match="NEUROSAM2_HOME"):
        models_folder()
    assert main(["download", "sam2.1_hiera_tiny"]) == 2
    assert "NEUROSAM2_HOME" in capsys.readouterr().err


def test_the_bundled_model_needs_no_home(homeless):
    assert load_checkpoint("nano").state


def test_a_cache_that_cannot_be_written_is_a_sentence(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("NEUROSAM2_HOME", str(tmp_path / "file"))
    assert main(["download", "sam2.1_hiera_tiny"]) == 2
    assert "NEUROSAM2_HOME" in capsys.readouterr().err
