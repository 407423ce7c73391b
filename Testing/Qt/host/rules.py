"""The rules of PythonQt's dialect that can be seen in the text of a module, without running it.

Source: PythonQtClassInfo.cpp of commontk/PythonQt; the list of what Qt 6 took away; Slicer's rules for extensions.
"""

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

PROPERTIES = {
    "text",
    "enabled",
    "checked",
    "checkable",
    "visible",
    "collapsed",
    "currentIndex",
    "currentText",
    "currentPath",
    "currentNodeID",
    "toolTip",
    "title",
    "windowTitle",
    "objectName",
    "maximum",
    "minimum",
    "rowCount",
    "columnCount",
    "interval",
    "active",
    "iconSize",
    "styleSheet",
    "font",
    "plainText",
}
"""Q_PROPERTYs whose getter bears the same name: calling them fails."""
GONE = {"QRegExp", "QTextCodec", "QDesktopWidget", "QStringRef", "QMatrix"}
GONE_SIGNALS = ("currentIndexChanged(QString)", "activated(QString)", "buttonClicked(int)", "valueChanged(QString)")
PYSIDE_ONLY = {"Signal", "Slot", "Property", "SIGNAL", "SLOT"}
IMPORTS = {"qt", "ctk", "slicer", "vtk", "vtkmodules", "numpy", "NeuroSAM2Core", "NeuroSAM2Lib", "NeuroSAM2Qt"} | set(
    sys.stdlib_module_names
)
"""What may be imported when a module is loaded: Slicer has it before anything is installed."""
THREADS = {"threading", "concurrent", "multiprocessing", "_thread", "asyncio"}


@dataclass(frozen=True, slots=True)
class Breach:
    """A place where a rule is broken."""

    file: str
    line: int
    rule: str

    def __str__(self):
        return f"{self.file}:{self.line}: {self.rule}"


def breaches(path: Path) -> list[Breach]:
    """All of one file."""
    found = _Reader(path.name)
    found.visit(ast.parse(path.read_text(encoding="utf-8")))
    return found.breaches


class _Reader(ast.NodeVisitor):
    def __init__(self, file):
        self.file, self.breaches, self._depth = file, [], 0

    def visit_FunctionDef(self, node):
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1

    def visit_Import(self, node):
        for one in node.names:
            self._import(node, one.name)

    def visit_ImportFrom(self, node):
        self._import(node, node.module or "")

    def visit_Call(self, node):
        function = node.func
        if isinstance(function, ast.Attribute):
            if function.attr in PROPERTIES and not node.args and not node.keywords:
                self._note(node, f"{function.attr} is a property: write .{function.attr}, without parentheses")
            if function.attr == "connect" and _is_unguarded(self.file, node):
                self._note(node, "connect by NeuroSAM2Qt.connections, so that errors are seen")
            if function.attr == "exec":
                self._note(node, "write exec_()")
            if function.attr == "processEvents":
                self._note(node, "the event loop is Slicer's: no processEvents")
        if isinstance(function, ast.Name) and function.id in {"print", "eval", "exec"}:
            self._note(node, f"no {function.id}")
        self.generic_visit(node)

    def visit_Attribute(self, node):
        chain = _chain(node)
        if chain[:1] == ["qt"]:
            if len(chain) > 1 and chain[1] in PYSIDE_ONLY:
                self._note(node, f"qt.{chain[1]} does not exist or crashes")
            if len(chain) > 1 and chain[1] in GONE:
                self._note(node, f"qt.{chain[1]} is gone in Qt 6")
            if len(chain) > 3 and chain[2][:1].isupper():
                self._note(node, f"{'.'.join(chain)}: enumerations are not scoped")
            return
        self.generic_visit(node)

    def visit_Constant(self, node):
        if isinstance(node.value, str) and node.value.replace(" ", "") in GONE_SIGNALS:
            self._note(node, f"{node.value} is gone in Qt 6")

    def _import(self, node, name):
        top = name.split(".")[0]
        if top in THREADS:
            self._note(node, f"{top}: Slicer holds the interpreter lock while idle; threads starve")
        elif self._depth == 0 and top not in IMPORTS:
            self._note(node, f"{top} may not be there when the module is loaded")

    def _note(self, node, rule):
        self.breaches.append(Breach(self.file, node.lineno, rule))


def _is_unguarded(file, call):
    """A widget or a timer calls a function whose errors nobody would see."""
    is_signal = len(call.args) == 2 and not isinstance(call.args[0], ast.Attribute)
    is_ours = file != "connections.py" and _chain(call.func)[:2] != ["slicer", "app"]
    return is_signal and is_ours and "guarded" not in ast.unparse(call.args[1])


def _chain(node):
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [node.id, *reversed(names)] if isinstance(node, ast.Name) else []
