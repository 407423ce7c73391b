"""The CUDA compiler that a build uses: a toolkit on this machine, or the one that pip installs beside PyTorch."""

import os
import re
import shutil
import subprocess
from pathlib import Path

SYSTEM = Path("/usr/local/cuda")


def toolkit_version(nvcc: str) -> str:
    """`major.minor` of a CUDA compiler.

    Args:
        nvcc: Its path.
    """
    output = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True, encoding="utf-8").stdout
    found = re.search(r"release (\d+\.\d+)", output)
    if found is None:
        raise SystemExit(f"{nvcc} --version does not say which CUDA toolkit it is of")
    return found[1]


def find_toolkit(packages: Path) -> Path | None:
    """The toolkit to build with: the one that is named, the one of the nvcc on the path, the system's, or the newest that pip installed.

    Only one with a compiler and headers is one: an nvcc on the path may be a script that calls another.

    Args:
        packages: An interpreter's folder `site-packages`.
    """
    for name in ("CUDA_HOME", "CUDA_PATH"):
        if named := os.environ.get(name):
            return Path(named)
    on_path = [Path(nvcc).resolve().parents[1]] if (nvcc := shutil.which("nvcc")) else []
    by_pip = sorted(packages.glob("nvidia/cu[0-9]*"), key=lambda home: int(home.name.removeprefix("cu")), reverse=True)
    for home in (*on_path, SYSTEM, *by_pip):
        if shutil.which("nvcc", path=str(home / "bin")) and (home / "include" / "cuda_runtime.h").exists():
            return home
    return None


def by_pip(version: str) -> str:
    """The end of a sentence that says how pip installs a toolkit; empty for those that pip has without a compiler.

    Args:
        version: The toolkit's, `major.minor`.
    """
    has_compiler = int(version.partition(".")[0]) >= 13
    return f', or: pip install "cuda-toolkit[nvcc,nvvm,crt,cccl]=={version}.*"' if has_compiler else ""


def runtime_links(home: Path, folder: Path) -> list[str]:
    """Folders for the linker where a toolkit of pip, which has libcudart.so.N only, lacks the plain name; none elsewhere.

    Args:
        home: The toolkit.
        folder: Where the link is made.
    """
    named = sorted((home / "lib").glob("libcudart.so.*"))
    if (home / "lib64").exists() or (home / "lib" / "libcudart.so").exists() or not named:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "libcudart.so"
    link.unlink(missing_ok=True)
    link.symlink_to(named[-1])
    return [str(folder)]
