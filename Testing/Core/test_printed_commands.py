"""What the documentation prints can be typed: commands that our command line takes, and programs, modules and targets that are there."""

import re
import shlex
from pathlib import Path

import pytest

from NeuroSAM2Core.cli.main import argument_parser, with_negative_values

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "Testing" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def printed(*starts):
    """(page, command) of each line in a block of shell text that starts with one of some words."""
    for page in PAGES:
        for language, block in BLOCK.findall(page.read_text(encoding="utf-8")):
            if language not in ("", "bash", "sh", "console"):
                continue
            for line in block.replace("\\\n", " ").splitlines():
                if not any(start in line for start in starts):
                    continue
                words = shlex.split(line, comments=True)
                while words and re.fullmatch(r"\w+=\S*", words[0]):
                    del words[0]
                if words and Path(words[0]).name in starts:
                    yield pytest.param(words[1:], id=f"{page.name}: {' '.join(words)[:60]}")


@pytest.mark.parametrize("words", [*printed("neurosam2")])
def test_the_command_line_takes_it(words):
    if words[0] == "app":
        pytest.importorskip("NeuroSAM2Web.command", reason="the app needs what `pip install '.[app]'` brings")
    assert argument_parser().parse_args(with_negative_values(words)).command == words[0]


@pytest.mark.parametrize("words", [*printed("make")])
def test_the_target_is_there(words):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in (word for word in words if "=" not in word):
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE)


MODULES = sorted(
    {
        module
        for page in (*PAGES, ROOT / "benchmarks" / "README.md")
        for module in re.findall(
            r"python3? -m ((?:benchmarks|Testing|tools|NeuroSAM2Core)[\w.]*)", page.read_text(encoding="utf-8")
        )
    }
)


@pytest.mark.parametrize("module", MODULES)
def test_the_module_is_there(module):
    path = ROOT / module.rstrip(".").replace(".", "/")
    assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


def test_commands_were_found():
    assert min(len([*printed("neurosam2")]), len([*printed("make")]), len(MODULES)) >= 3
