"""What is tested where the machine lacks something: the rest, and a sentence says what was left out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from Testing.Support.left_out import NO_SCENE

ROOT = Path(__file__).parents[2]
COLLECT = """
import sys
for name in ("slicer", "vtk", "vtkmodules"):
    sys.modules[name] = None  # as where it is not installed
import pytest
sys.exit(pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


def test_without_the_scenes_library_its_tests_are_skipped_with_a_sentence():
    files = ["Lib/test_surfaces.py", "Core/test_left_out.py", "Qt/test_host.py", "Web/test_page.py"]
    ran = subprocess.run(
        [sys.executable, "-c", COLLECT, *(f"Testing/{file}" for file in files)],
        cwd=ROOT, capture_output=True, text=True, encoding="utf-8", timeout=120,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    for reason in (NO_SCENE, "the panels are not tested: ", "the app needs "):
        assert reason in ran.stdout
    for file in files:
        assert (f"Testing/{file}::" in ran.stdout) == (file == "Core/test_left_out.py")


@pytest.mark.skipif(os.name != "posix", reason="there are no such locales")
@pytest.mark.parametrize(
    ("localedef", "locale"),
    [('mkdir "$5"; exit 4', "C"), ('mkdir "$5"; touch "$5/LC_CTYPE"; exit 1', "en_US.ISO-8859-1"), ("exit 127", "C")],
    ids=["leaves an empty folder", "warns", "is not there"],
)
def test_a_locale_that_could_not_be_made_is_not_taken(tmp_path, localedef, locale):
    programs = {"localedef": localedef, "venv/bin/python": 'echo "$LC_ALL"; echo "$TMPDIR"; exit 3'}
    for name, script in programs.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
        path.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "VENV": str(tmp_path / "venv"), "TMPDIR": str(tmp_path)}
    ran = subprocess.run(
        ["sh", str(ROOT / "tools" / "plain_locale.sh")], env=environment, stdout=subprocess.PIPE, timeout=60
    )
    said, set_, folder = ran.stdout.splitlines()
    assert ran.returncode == 3
    assert said.startswith(b"locale " + set_)
    assert set_ == locale.encode()
    assert os.path.basename(folder).isascii() == (locale == "C")  # noqa: PTH119
    assert not Path(os.fsdecode(folder)).exists()
