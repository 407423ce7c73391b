"""What the GPU measurements need beside PyTorch: programs of the CUDA toolkit, and libraries to compare with."""

import os
import shutil
import sysconfig
from importlib.util import find_spec
from pathlib import Path

PROGRAMS = {"nvcc": "nvcc,nvvm,crt,cccl", "compute-sanitizer": "sanitizer"}
"""Of the toolkit, and the parts of the package cuda-toolkit that have them."""
LIBRARIES = {"cupy": "cupy-cuda{major}x", "cc3d": "connected-components-3d"}
"""Modules that the kernels are measured against, and their packages."""


def find_program(name: str) -> str | None:
    """Where a program of the toolkit is: on the path, in the system's toolkit, or in that of pip."""
    by_pip = Path(sysconfig.get_path("purelib")).glob("nvidia/cu*/bin")
    places = [os.environ.get("PATH", ""), "/usr/local/cuda/bin", *map(str, by_pip)]
    return shutil.which(name, path=os.pathsep.join(places))


def missing_packages(cuda: str) -> list[str]:
    """Packages with what this machine lacks.

    Args:
        cuda: PyTorch's version of CUDA, `major.minor`.
    """
    major = cuda.partition(".")[0]
    packages = [package.format(major=major) for module, package in LIBRARIES.items() if find_spec(module) is None]
    if parts := [part for program, part in PROGRAMS.items() if find_program(program) is None]:
        packages.append(f"cuda-toolkit[{','.join(parts)}]=={cuda}.*")
    return packages
