"""docs/architecture.md names packages, classes and functions that exist, and every layer of the import contracts."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PROSE = re.sub(r"^```.*?^```", "", PAGE, flags=re.DOTALL | re.MULTILINE)
DRAWINGS = "\n".join(re.findall(r"^```text\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE))
NO_CODE = {"code", "pyproject.toml", "--resume", "resume", "was_cancelled"}
"""What else stands in backticks, beside commands: a file, an option, a parameter, a field."""
COMMANDS = ("make ", "neurosam2 ")


class Code:
    """The packages, classes and functions of the repository, read from the sources without importing them."""

    def __init__(self):
        self.packages, self.functions = set(), set()
        self.members, self.bases = {}, {}
        for top in (ROOT, ROOT / "NeuroSAM2Slicer"):
            for path in top.glob("NeuroSAM2*/**/*.py"):
                parts = path.relative_to(top).with_suffix("").parts
                self.packages.add(".".join(parts).removesuffix(".__init__"))
                self.add(ast.parse(path.read_text(encoding="utf-8")))

    def add(self, module):
        for node in module.body:
            if isinstance(node, ast.FunctionDef):
                self.functions.add(node.name)
            elif isinstance(node, ast.ClassDef):
                names = {one.name for one in node.body if isinstance(one, ast.FunctionDef)}
                names |= {one.target.id for one in node.body if isinstance(one, ast.AnnAssign)}
                self.members.setdefault(node.name, set()).update(names)
                bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                self.bases.setdefault(node.name, set()).update(bases)

    def has(self, name):
        owner, _, member = name.rpartition(".")
        if owner in self.members:
            return self.has_member(owner, member)
        return name in self.packages or name in self.functions or name in self.members

    def has_member(self, owner, member):
        known = self.members.get(owner, set())
        return member in known or any(self.has_member(base, member) for base in self.bases.get(owner, ()))


@pytest.fixture(scope="module")
def code():
    return Code()


def test_every_code_name_of_the_page_exists(code):
    spans = set(re.findall(r"`([^`\n]+)`", PROSE)) - NO_CODE
    names = {span for span in spans if not span.startswith(COMMANDS)}
    assert len(names) > 100
    assert sorted(name for name in names if not code.has(name)) == []


def test_every_class_in_the_drawings_exists(code):
    names = set(re.findall(r"\b[A-Z][a-z]\w*[A-Z]\w*(?:\.\w+)*", DRAWINGS)) - {"NeuroSAM2", "PyTorch", "AdamW"}
    assert len(names) > 20
    assert sorted(name for name in names if not code.has(name)) == []


@pytest.mark.parametrize("name", ["NoSuchClass", "Session.no_such_method", "NeuroSAM2Core.nowhere"])
def test_a_name_that_is_gone_is_noticed(code, name):
    assert not code.has(name)


def test_every_layer_of_the_core_is_in_the_table():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(one["layers"] for one in contracts if "containers" not in one and one["type"] == "layers")
    packages = {name.strip() for layer in layers for name in re.split(r"[|:]", layer)}
    shown = {re.sub(r"^(NeuroSAM2Core\.remote)\.(?!server$)\w+", r"\1", name) for name in packages}
    table = re.search(r"^\| package.*?\n\n", PAGE, flags=re.DOTALL | re.MULTILINE)[0]
    assert sorted(name for name in shown if f"`{name}`" not in table) == []
