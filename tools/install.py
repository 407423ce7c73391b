"""Installs what the other entries use into the environment whose Python runs this: any system, no shell.

Usage: python tools/install.py [app]; with the word, without what only the tests and checks need.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PINNED = ("--constraint", "constraints.txt")
FIRST: tuple[tuple[str, ...], ...] = (("--upgrade", "pip", "setuptools", "wheel"), (*PINNED, "torch"))
APP: tuple[tuple[str, ...], ...] = (*FIRST, (*PINNED, "--editable", ".[app,dicom,pretrain,cohort]"))
"""For `make demo` and `make app`; the demo's head is made of the label maps of the packages of `pretrain`."""
ALL: tuple[tuple[str, ...], ...] = (
    *FIRST,
    (*PINNED, "--editable", ".[dev]"),
    # The reference that the parity tests compare with: without its CUDA extension, and without the packages that they do not need.
    ("--no-deps", "--no-build-isolation", "sam2==1.1.0"),
    (*PINNED, "hydra-core", "iopath"),
)


def main() -> None:
    """Installs, one step after the other."""
    environment = {**os.environ, "SAM2_BUILD_CUDA": "0"}
    for step in APP if sys.argv[1:] == ["app"] else ALL:
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", *step], cwd=ROOT, env=environment, check=True
        )


if __name__ == "__main__":
    main()
