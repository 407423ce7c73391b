"""Every sentence that a person reads in Slicer can be translated: it goes through Slicer's function, whole, as its update tool finds it."""

import ast
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SLICER = ROOT / "NeuroSAM2Slicer"
MODULES = ("NeuroSAM2Segment", "NeuroSAM2Train")
SENTENCE = re.compile(r"[A-Za-z]{2,}[\w,;:.)'%]* +[\w(]")
SHOWN_BY = {"text", "toolTip", "title", "windowTitle"}
"""Attributes of widgets; one word is enough there."""
NO_SENTENCES = re.compile(
    r"""object\ \S+.*|\{\}\ (session|segmentation)|NeuroSAM2\ (practice\ head|preview|training)  # names of nodes and folders
    |Binary\ labelmap|Reference\ image\ geometry|Closed\ surface  # vtkSegmentation's own names
    |object\ score|expected\ IoU|negative\ scribble  # keys of the protocol and of the scene
    |NeuroSAM2\ SPACE=LPS|\^progress.*  # headers of files, lines of programs
    |install\ (the\ PyTorch\ extension|torch|packages)|starting\ the\ engine  # values of enumerations
    |(preset|start\.model|data\.datasets|optim\.steps|run\.folder|lora\.rank|groups\.\{\}\.frozen)\ =.*  # TOML
    |QTableWidget.*|<span.*|<p><(img|a)\ .*  # style and HTML without words
    |The\ NeuroSAM2\ team|an\ observer\ of\ the\ scene\ failed|Add\ the\ cases  # for logs and self tests
    |(a\ repair|an\ export)\ is\ done\ in\ this\ process:\ %s|import\ sys;.*  # the same, and a program
    |.*\b(vtkMRML|QString|int,int).*""",
    re.VERBOSE | re.DOTALL,
)
MARKED_IN_CODE = re.compile(r"""[^_]_\(\s*?(".+?"|'.+?')\s*?\)""", re.DOTALL)
"""What Slicer's update_translations.py takes for a text."""
ALLOWED_AS_THEY_ARE = ("UndoButton: Undo", "RedoButton: Redo", "modelSelector: nano", "presetSelector: ")
"""The stand-in's own, and names."""


def reached():
    """The sources that the two modules import, one from the other: what Slicer runs of ours."""
    todo, found = [SLICER / name / f"{name}.py" for name in MODULES], set()
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            todo += [
                one
                for name in _imported(path)
                if (one := SLICER.joinpath(*name.split(".")).with_suffix(".py")).is_file()
            ]
    return sorted(found)


def _imported(path):
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{one.name}" for one in node.names)


def _tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def untranslated(tree):
    """Texts that a person reads and that are not said to `_`."""
    apart = {id(inner) for node in ast.walk(tree) for inner in _not_read(node)}
    for node in ast.walk(tree):
        words = {id(one) for one in _values(node)} if _is_shown(node) else set()
        for one in ast.walk(node) if words else (node,):
            text = _text(one)
            if text is None or id(one) in apart or NO_SENTENCES.fullmatch(text):
                continue
            if SENTENCE.search(text) or (id(one) in words and re.search(r"[A-Za-z]{2,}", text.replace("{}", ""))):
                yield one.lineno, text


def _text(node):
    if isinstance(node, ast.JoinedStr):
        return "".join(one.value if isinstance(one, ast.Constant) else "{}" for one in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _not_read(node):
    """What lies within a call of `_`, a docstring, an annotation, an assertion's message, or an f-string that is looked at whole."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("_", "translate"):
        yield from ast.walk(node)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        yield node.value
    annotations = [getattr(node, "annotation", None), getattr(node, "returns", None), getattr(node, "msg", None)]
    for one in filter(None, annotations):
        yield from ast.walk(one)
    if isinstance(node, ast.JoinedStr):
        yield from (one for one in node.values if isinstance(one, ast.Constant))


def _is_shown(node):
    return isinstance(node, ast.Assign) and any(
        isinstance(one, ast.Attribute) and one.attr in SHOWN_BY and "ui" in ast.unparse(one) for one in node.targets
    )


def _values(assigned):
    value = assigned.value
    return (value.body, value.orelse) if isinstance(value, ast.IfExp) else (value,)


def test_every_sentence_is_reported_to_the_translator():
    assert [(path.stem, *one) for path in reached() for one in sorted(set(untranslated(_tree(path))))] == []


@pytest.mark.parametrize(
    "line",
    ["label = 'Choose a volume.'", "raise DataError(f'{name} has no voxels')", "ui.button.text = 'Stop' if x else ''"],
)
def test_a_sentence_that_is_not_is_found(line):
    assert len(set(untranslated(ast.parse(line)))) == 1


def test_what_slicer_runs_is_known_and_the_apps_own_files_are_not_among_it():
    names = {path.stem for path in reached()}
    assert {"segment_panel", "segment_view_model", "controller", "volume_nodes", "engine_presenter"} <= names
    assert not {"headless", "nrrd_image", "bundle"} & names, "no translator is there where these run"


def test_the_texts_are_whole_and_found_by_slicers_update_tool():
    for path in reached():
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source)
        found = {ast.literal_eval(f"({one})") for one in MARKED_IN_CODE.findall(source)}
        for call, arguments in _translations(tree):
            where = f"{path}:{call.lineno}"
            (text,) = call.args
            assert isinstance(text, ast.Constant), f"{where}: a text, not made up of parts"
            assert text.value in found, f"{where}: the closing bracket follows the text"
            fields = set(re.findall(r"\{(\w*)", text.value))
            assert "" not in fields, f"{where}: placeholders have names"
            assert arguments is None or fields == arguments, where


def _translations(tree):
    """The calls of `_`, and the names that `format` is given if it follows at once."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    given = {
        id(one.func.value): {keyword.arg for keyword in one.keywords}
        for one in calls
        if isinstance(one.func, ast.Attribute) and one.func.attr == "format"
    }
    return [(one, given.get(id(one))) for one in calls if ast.unparse(one.func) == "_"]


def test_where_a_text_is_translated_the_function_is_not_hidden_by_a_variable():
    for path in reached():
        for function in (node for node in ast.walk(_tree(path)) if isinstance(node, ast.FunctionDef)):
            uses = [node.ctx for node in ast.walk(function) if isinstance(node, ast.Name) and node.id == "_"]
            is_hidden = any(isinstance(one, ast.Store) for one in uses) and any(
                isinstance(one, ast.Load) for one in uses
            )
            assert not is_hidden, f"{path}:{function.lineno}"


def test_with_a_translator_nothing_in_the_panels_is_left_as_it_was():
    command = [sys.executable, "-m", "Testing.Qt.translated"]
    ran = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        encoding="utf-8",
        env=_environment(),
    )
    assert ran.returncode == 0, ran.stderr
    left = [line for line in ran.stdout.splitlines() if ": " in line and not line.startswith(ALLOWED_AS_THEY_ARE)]
    assert [line for line in left if "/" not in line and "\\" not in line] == []


def _environment():
    return os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(SLICER)))}


def test_what_is_read_from_a_selector_is_not_translated():
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (SLICER / "NeuroSAM2Qt").rglob("*.py"))
    for name in re.findall(r"ui\.(\w+)\.currentText\b", sources):
        for module in MODULES:
            form = ET.parse(SLICER / module / "Resources" / "UI" / f"{module}.ui").getroot()
            for item in form.iterfind(f".//widget[@name='{name}']/item//string"):
                assert item.get("notr") == "true", f"{name}: {item.text}"
