"""The bundled model as it was at another commit: measured by a process that imports the core from a checkout of that commit.

Usage, by `measure_baseline` only: python baseline.py CHECKOUT, with the rest as JSON on standard input. That process takes the measuring
modules from this repository and the core from the checkout: what `cases`, `prompts`, `task` and `methods` import of the core must be
there in both.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def baseline_name(checkout: Path) -> str:
    """What the model of a checkout is called in tables: nano at COMMIT.

    Raises:
        DataError: There is no core in the folder.
    """
    from NeuroSAM2Core.errors import DataError

    if not (checkout / "NeuroSAM2Core" / "__init__.py").exists():
        raise DataError(
            f"there is no NeuroSAM2Core in {checkout}", hint=f"make it with: git worktree add {checkout} COMMIT"
        )
    asked = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
    )
    return f"nano at {asked.stdout.strip() or checkout.name}"


def measure_baseline(
    checkout: Path, name: str, files: Sequence[Path], rows: Sequence[str], results: Path, *, corrections: int
) -> None:
    """Measures what is missing of the baseline, into the same file of results.

    Args:
        checkout: A folder with the repository at the commit of the baseline, for example made by `git worktree add`.
        name: For the tables.
        files: Prepared images.
        rows: Names of the objects.
        results: The file of results.
        corrections: Clicks after the box.
    """
    task = {"name": name, "files": [str(f) for f in files], "rows": list(rows), "results": str(results)}
    subprocess.run(
        [sys.executable, __file__, str(checkout.resolve())],
        input=json.dumps({**task, "corrections": corrections}),
        text=True,
        check=True,
        encoding="utf-8",
    )


def main() -> None:
    """Imports the core from the checkout and everything else from here."""
    checkout = Path(sys.argv[1])
    sys.path[0] = str(checkout)
    import NeuroSAM2Core  # noqa: F401

    sys.path[0] = str(REPOSITORY)
    import torch

    from benchmarks.quality.cases import CaseFile
    from benchmarks.quality.methods import engine_method, measure_missing
    from benchmarks.quality.results import Results

    torch.set_num_threads(1)
    task = json.load(sys.stdin)
    method = engine_method("nano", task["name"], folder=checkout)
    files = [CaseFile(Path(path)) for path in task["files"]]
    measure_missing(
        method, files, set(task["rows"]), Results.open(Path(task["results"])), corrections=task["corrections"]
    )


if __name__ == "__main__":
    main()
