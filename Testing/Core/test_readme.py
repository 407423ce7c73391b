"""What the README shows works as it stands."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from NeuroSAM2Core import Volume
from NeuroSAM2Core.checkpoint import find
from NeuroSAM2Core.cli.main import COMMANDS

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_ten_lines_run(tmp_path, monkeypatch, capsys):
    if not find("nano").installed().exists():
        pytest.skip("the bundled model is not in this checkout")
    monkeypatch.chdir(tmp_path)
    k, j, i = np.ogrid[-1:1:100j, -1:1:180j, -1:1:190j]
    ball = ((k / 0.25) ** 2 + (j / 0.5) ** 2 + (i / 0.5) ** 2 < 1) & (k > -2)
    Volume((ball * 100.0).astype(np.float32), np.diag([1.0, 1.0, 1.0, 1.0])).write("t1.nii.gz")
    code = re.search(r"<!-- tested.*?```python\n(.*?)```", README, re.DOTALL)[1]
    exec(compile(code, "README.md", "exec"), {})
    assert "mask.nii.gz" in os.listdir()
    assert len(capsys.readouterr().out.splitlines()) >= 1


def test_every_command_is_in_the_table():
    for command in COMMANDS:
        assert f"`neurosam2 {command.__name__.rpartition('.')[2]}" in README
