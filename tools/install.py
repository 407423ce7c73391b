"""Installs what the other entries use into the environment whose Python runs this: any system, no shell."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PINNED = ("--constraint", "constraints.txt")
STEPS: tuple[tuple[str, ...], ...] = (
    ("--upgrade", "pip", "setuptools", "wheel"),
    (*PINNED, "torch"),
    (*PINNED, "--editable", ".[dev]"),
    # The reference that the parity tests compare with: without its CUDA extension, and without the packages that they do not need.
    ("--no-deps", "--no-build-isolation", "sam2==1.1.0"),
    (*PINNED, "hydra-core", "iopath"),
)


def main() -> None:
    """Installs, one step after the other."""
    environment = {**os.environ, "SAM2_BUILD_CUDA": "0"}
    for step in STEPS:
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", *step], cwd=ROOT, env=environment, check=True
        )


if __name__ == "__main__":
    main()
