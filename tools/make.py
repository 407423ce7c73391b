"""The Makefile's main entries for systems without `make`, such as Windows: `python tools/make.py demo`, or `make.ps1 demo`."""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IS_WINDOWS = sys.platform == "win32"
OLDEST = (3, 11)
ENTRIES: dict[str, tuple[tuple[str, ...], ...]] = {
    "setup": (),
    "check": (
        ("-m", "ruff", "format", "--check", "."),
        ("-m", "ruff", "check", "."),
        ("-m", "ruff", "check", "--preview", "--select", "PLW1514", "."),
        ("-m", "mypy"),
        ("-m", "mypy", "--platform", "win32", "--cache-dir", ".mypy_cache/win32"),
        ("-m", "mypy", "--platform", "darwin", "--cache-dir", ".mypy_cache/darwin"),
        ("-m", "mypy", "--python-version", "3.14", "--cache-dir", ".mypy_cache/3.14"),
        ("tools/audit.py",),
    ),
    "test": (("-m", "pytest"),),
    "docs": (
        ("-m", "pip", "install", "--quiet", "--constraint", "constraints.txt", "--editable", ".[docs]"),
        ("-m", "mkdocs", "build", "--strict"),
    ),
    "demo": (("tools/demo.py", "demo"),),
    "app": (("-m", "NeuroSAM2Core", "app"),),
}
"""What each runs with the environment's Python; `app` takes an image as well."""
APP_ENTRIES = ("demo", "app")
"""These need nothing that only the tests and checks use."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Sets up the environment where that was not done yet, and runs one entry."""
    parser = argparse.ArgumentParser(prog="make", description=__doc__)
    parser.add_argument("entry", choices=ENTRIES, nargs="?", default="test")
    parser.add_argument("words", nargs="*", help="for `app`: an image")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="the environment (default: %(default)s)")
    args = parser.parse_args(arguments)
    if sys.version_info < OLDEST:
        print(
            f"make: Python {OLDEST[0]}.{OLDEST[1]} or later is needed; this is {sys.version.split()[0]}",
            file=sys.stderr,
        )
        return 2
    python = python_of(args.venv)
    is_app = args.entry in APP_ENTRIES
    stamps = [args.venv / ".ready", *([args.venv / ".ready-app"] if is_app else [])]
    if not any(stamp.exists() for stamp in stamps):
        run([sys.executable, "-m", "venv", str(args.venv)])
        run([str(python), "tools/install.py", *(["app"] if is_app else [])])
        stamps[-1].touch()
    for command in ENTRIES[args.entry]:
        code = run([str(python), *command, *args.words], check=False)
        if code:
            return code
    return 0


def python_of(venv: Path) -> Path:
    """The interpreter of an environment, where this system puts it."""
    return venv / "Scripts" / "python.exe" if IS_WINDOWS else venv / "bin" / "python"


def run(command: Sequence[str], *, check: bool = True) -> int:
    """Runs a program in the top folder and returns its exit code."""
    return subprocess.run(command, cwd=ROOT, check=check).returncode


if __name__ == "__main__":
    sys.exit(main())
