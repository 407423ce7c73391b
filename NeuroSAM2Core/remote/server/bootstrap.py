"""Entry point of a local worker, run by path. Any Python 3 must be able to run it, to report that it is too old.

It loads the very copy of NeuroSAM2 that this file is part of, without putting the folder where that lies on the module path: the
interpreter's own libraries are to be used, and no others.
"""

import importlib.util
import json
import sys
from pathlib import Path

OLDEST = (3, 11)
NEEDED = ("torch", "numpy", "scipy", "safetensors", "jaxtyping", "psutil")


def main() -> None:
    """Runs the worker, or reports why this interpreter cannot."""
    if sys.path[0] == str(Path(__file__).parent):
        sys.path.pop(0)
    if sys.version_info < OLDEST:
        has, needs = sys.version_info[:2], OLDEST
        refuse(
            f"the interpreter {sys.executable} is Python {has[0]}.{has[1]}; a worker needs {needs[0]}.{needs[1]} or later",
            "choose another interpreter",
        )
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        refuse(
            f"the interpreter {sys.executable} lacks {', '.join(missing)}",
            f"install with: {sys.executable} -m pip install {' '.join(missing)}; or choose another interpreter",
        )
    load_package()
    from NeuroSAM2Core.startup import shorten_spinning

    shorten_spinning()  # before torch is imported
    from NeuroSAM2Core.remote.server.process import run_local_worker

    run_local_worker(sys.argv[1:])


def refuse(message: str, hint: str) -> None:
    """Prints the ready line of a worker that cannot run, and exits."""
    print(json.dumps({"error": message, "hint": hint}), flush=True)  # noqa: T201
    sys.exit(2)


def load_package() -> None:
    """Makes `NeuroSAM2Core` mean the package that this file is in."""
    folder = Path(__file__).resolve().parents[2]
    spec = importlib.util.spec_from_file_location(
        "NeuroSAM2Core", str(folder / "__init__.py"), submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["NeuroSAM2Core"] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    main()
