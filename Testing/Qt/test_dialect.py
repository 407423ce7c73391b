"""The module sources obey the rules of the dialect that Slicer speaks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from Testing.Qt.host.rules import breaches

ROOT = Path(__file__).parents[2]
ROOMS = ("NeuroSAM2Slicer/NeuroSAM2Segment", "NeuroSAM2Slicer/NeuroSAM2Train", "NeuroSAM2Slicer/NeuroSAM2Qt")
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_the_source_speaks_the_variant(path):
    assert [str(one) for one in breaches(path)] == []


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("label.text()", "is a property"),
        ("dialog.exec()", "exec_()"),
        ("qt.Qt.AlignmentFlag.AlignLeft", "not scoped"),
        ("qt.Signal(int)", "crashes"),
        ("qt.QRegExp('a')", "gone in Qt 6"),
        ("connect(box, 'currentIndexChanged(QString)', f)", "gone in Qt 6"),
        ("box.connect('clicked()', f)", "errors are seen"),
        ("import threading", "starve"),
        ("import torch", "may not be there"),
        ("slicer.app.processEvents()", "no processEvents"),
        ("print(1)", "no print"),
    ],
)
def test_a_breach_is_found(line, rule, tmp_path):
    source = tmp_path / "source.py"
    source.write_text(f"import qt\n\n{line}\n", encoding="utf-8")
    found = breaches(source)
    assert [one.line for one in found] == [3]
    assert rule in found[0].rule


def test_good_lines_are_no_breach(tmp_path):
    source = tmp_path / "source.py"
    lines = (
        "import qt",
        "def f(s, w):",
        "    import torch",
        "    w.text = s.value('a')",
        "    w.connect('timeout()', s._guarded_wake)",
        "    qt.Qt.AlignLeft",
        "    w.exec_()",
    )
    source.write_text("\n".join(lines), encoding="utf-8")
    assert breaches(source) == []


def test_slicers_process_never_imports_torch_and_needs_no_psutil_at_first():
    code = (
        "import sys, slicer\n"
        "sys.modules['torch'] = sys.modules['psutil'] = None\n"
        "from Testing.Qt.host import pythonqt\n"
        "pythonqt.install()\n"
        "sys.modules['ctk'] = sys.modules['qt']\n"
        "import NeuroSAM2Qt.segment_panel, NeuroSAM2Qt.train_panel\n"
        "third = {'nibabel', 'scipy', 'safetensors', 'jaxtyping', 'monai', 'isal', 'tqdm'} & sys.modules.keys()\n"
        "assert not third, third\n"
    )
    places = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "NeuroSAM2Slicer")))}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=places,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        encoding="utf-8",
    )
    assert ran.returncode == 0, ran.stderr
