"""The product's source keeps to what every operating system has. Read, not run: nothing here needs another system."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("NeuroSAM2Core", "NeuroSAM2Slicer", "tools", "benchmarks", "cuda_ext", "Testing")
PROCESS_MODULE = "processes.py"
"""The one that may ask the operating system for signals and process groups."""
FILE_MODULE = "disk.py"
"""The one that moves files onto others."""
ON_POSIX_ONLY = ("benchmarks/gpu.py",)
"""Programs for Linux machines with a GPU."""
PROCESS_NAMES = {"killpg", "setsid", "getpgid", "SIGKILL", "SIGSTOP", "SIGCONT"}
LOOP_NAMES = {"add_reader", "add_writer", "remove_reader", "remove_writer", "set_blocking", "add_signal_handler"}
TEXT_CALLS = {"read_text": 1, "write_text": 2}
"""With so many positional arguments the encoding is among them."""
UTF8_CALLS = {"SetFileName", "SetFileNames", "SetURL", "SetRootDirectory", "WriteToMRB", "ReadImage", "WriteImage"}
UTF8_CALLS |= {
    "GetGDCMSeriesIDs",
    "GetGDCMSeriesFileNames",
    "Commit",
    "SaveSceneToSlicerDataBundleDirectory",
    "QPixmap",
    "QIcon",
    "QImage",
}
"""VTK's, ITK's and Qt's: they take names as UTF-8, whatever the locale."""
RUNNERS = {"run", "Popen", "check_output", "check_call", "call"}


@dataclass(frozen=True, slots=True)
class Breach:
    line: int
    rule: str


def breaches(source: str, name: str) -> list[Breach]:
    """What a module does that some system has not."""
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = [Breach(node.lineno, rule) for node in ast.walk(tree) for rule in _rules(node, name, docstrings)]
    return sorted({*found, *_read_only_syncs(tree)}, key=lambda one: one.line)


def _rules(node: ast.AST, name: str, docstrings: set[int]) -> Iterator[str]:
    if isinstance(node, ast.Attribute):
        if node.attr in LOOP_NAMES:
            yield f"{node.attr} is not on every system"
        if node.attr in PROCESS_NAMES and Path(name).name != PROCESS_MODULE and name not in ON_POSIX_ONLY:
            yield f"{node.attr} belongs into {PROCESS_MODULE}"
        if node.attr == "is_cuda" and not name.startswith("cuda_ext"):
            yield "is_cuda leaves out all other accelerators"
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
        yield from ["/tmp is not on every system"] * f"{node.value}/".startswith("/tmp/")
    if isinstance(node, ast.Call):
        yield from _call_rules(node)


def _call_rules(call: ast.Call) -> Iterator[str]:
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    name = _name(call.func)
    is_method = isinstance(call.func, ast.Attribute)
    if name == "kill" and is_method and _name(call.func.value) == "os" and _is(call.args[-1], 0):
        yield "os.kill(pid, 0) ends the process on Windows"
    if name in UTF8_CALLS and any(isinstance(one, ast.Call) and _name(one.func) == "str" for one in call.args):
        yield f"{name}(str(path)) needs disk.as_utf8(path) where the encoding of the locale is another"
    if _is(keywords.get("shell"), True):
        yield "shell=True means another shell on every system"
    if is_method and (name in ("rename", "renames") or (name == "replace" and len(call.args) == 1 and not keywords)):
        yield f"{name} belongs into {FILE_MODULE}: Windows refuses it while the file is open"
    if "encoding" in keywords or None in keywords:
        return
    if is_method and name in TEXT_CALLS and len(call.args) < TEXT_CALLS[name]:
        yield f"{name} without an encoding"
    if name in ("open", "fdopen") and _opens_text(call, keywords):
        yield f"{name} without an encoding"
    if name in ("NamedTemporaryFile", "TemporaryFile") and "b" not in str(_mode(call, keywords, 0, "w+b")):
        yield f"{name} without an encoding"
    if name == "FileHandler":
        yield "FileHandler without an encoding"
    if name in RUNNERS and (_is(keywords.get("text"), True) or _is(keywords.get("universal_newlines"), True)):
        yield f"{name}(text=True) without an encoding"


def _opens_text(call: ast.Call, keywords: dict[str | None, ast.expr]) -> bool:
    """A call of `open` that opens a file as text, as far as can be told: sessions and devices are opened, too."""
    if isinstance(call.func, ast.Name) or _name(call.func) == "fdopen":
        return "b" not in str(_mode(call, keywords, 1, "r"))
    mode = _mode(call, keywords, 0, "" if call.args or _name(call.func.value) != "path" else "r")
    return mode in ("r", "w", "a", "x", "r+", "w+", "a+", "rt", "wt")


def _mode(call: ast.Call, keywords: dict[str | None, ast.expr], place: int, default: str) -> object:
    node = keywords.get("mode") or next(iter(call.args[place:]), None)
    if any(isinstance(one, ast.Starred) for one in call.args):
        return "b"
    return default if node is None else node.value if isinstance(node, ast.Constant) else "b"


def _read_only_syncs(tree: ast.Module) -> Iterator[Breach]:
    for node in ast.walk(tree):
        if isinstance(node, ast.With) and any(_opens_to_read(item.context_expr) for item in node.items):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Call) and _name(inner.func) == "fsync":
                    yield Breach(inner.lineno, "Windows flushes no file that is open for reading only")


def _opens_to_read(node: ast.expr) -> bool:
    if not isinstance(node, ast.Call) or _name(node.func) != "open":
        return False
    return _mode(node, {keyword.arg: keyword.value for keyword in node.keywords}, 0, "r") in ("r", "rb")


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _is(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value == value


def sources() -> list[Path]:
    return sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py") if "build" not in path.parts)


def test_the_source_keeps_to_what_every_system_has():
    found = []
    for path in sources():
        name = path.relative_to(ROOT).as_posix()
        rules = breaches(path.read_text(encoding="utf-8"), name)
        if name.startswith("Testing"):  # tests kill and watch as they like, but read and write as the product does
            rules = [one for one in rules if "encoding" in one.rule]
        if name.endswith(FILE_MODULE) or name.startswith(("benchmarks", "tools")):
            rules = [one for one in rules if FILE_MODULE not in one.rule]
        found += [f"{name}:{one.line}: {one.rule}" for one in rules]
    assert found == []


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("os.kill(pid, 0)", "Windows"),
        ("with path.open('rb') as file:\n    os.fsync(file.fileno())", "reading only"),
        ("open(path)", "encoding"),
        ("open(path, 'w')", "encoding"),
        ("path.open('a')", "encoding"),
        ("path.open()", "encoding"),
        ("path.read_text()", "encoding"),
        ("path.write_text('x')", "encoding"),
        ("os.fdopen(3, 'w')", "encoding"),
        ("logging.FileHandler(path)", "encoding"),
        ("tempfile.NamedTemporaryFile('w')", "encoding"),
        ("subprocess.run(words, text=True)", "encoding"),
        ("storage.SetFileName(str(path))", "as_utf8"),
        ("loop.add_reader(3, wake)", "add_reader"),
        ("loop.add_writer(3, wake)", "add_writer"),
        ("os.set_blocking(3, False)", "set_blocking"),
        ("os.killpg(4, signal.SIGTERM)", "processes.py"),
        ("os.setsid()", "processes.py"),
        ("x = signal.SIGKILL", "processes.py"),
        ("partial.replace(path)", "disk.py"),
        ("partial.rename(path)", "disk.py"),
        ("x = '/tmp/voxels'", "/tmp"),
        ("subprocess.run('ls', shell=True)", "shell"),
        ("x = tensor.is_cuda", "accelerators"),
    ],
)
def test_a_breach_is_found(line, rule):
    assert [rule in one.rule for one in breaches(line, "NeuroSAM2Core/some.py")] == [True]


@pytest.mark.parametrize(
    "line",
    [
        "open(path, 'rb')",
        "open(path, encoding='utf-8')",
        "storage.SetFileName(disk.as_utf8(path))",
        "path.write_text('x', encoding='utf-8')",
        "session.open(volume)",
        "text.replace('a', 'b')",
        "dataclasses.replace(options, size=3)",
        "bench.open()",
        "os.kill(pid, signal.SIGTERM)",
        "with path.open('rb+') as file:\n    os.fsync(file.fileno())",
        "subprocess.run(words)",
        "def f():\n    '''/tmp'''",
    ],
)
def test_good_lines_are_no_breach(line):
    assert breaches(line, "NeuroSAM2Core/some.py") == []


def test_one_module_may_ask_for_signals():
    assert breaches("os.killpg(4, signal.SIGKILL)", "NeuroSAM2Core/processes.py") == []
