"""Fine-tuning on a GPU: its tests, then a run of docs/examples/white_matter_gpu.toml and what it brings. Part of `make gpu`.

Usage: python -m benchmarks.gpu_fine_tuning [FOLDER]

FOLDER keeps the cases, which are made there if it has none, and the run; a temporary one by default. Needs MONAI.
"""

import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import torch

from benchmarks.report import as_table, publish, seconds

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "docs" / "examples" / "white_matter_gpu.toml"
TRAINING_CASES, WORKERS, CLICKS = 24, 8, 2
NEUROSAM2 = (sys.executable, "-m", "NeuroSAM2Core")


def main(device: str = "cuda", changes: tuple[str, ...] = ()) -> int:
    """Tests, trains, compares and writes the table, or says why not.

    Args:
        device: Where.
        changes: `key=value` settings that win over the recipe's.
    """
    if device == "cuda" and not torch.cuda.is_available():
        print("gpu_fine_tuning: skipped, this machine has no CUDA device that PyTorch can use")
        return 0
    if find_spec("monai") is None:
        print("gpu_fine_tuning: skipped, MONAI is not installed; pip install .[train]")
        return 0
    tests = [sys.executable, "-m", "pytest", "--noconftest", "-q", "Testing/Gpu/test_training.py"]
    failed = subprocess.run(tests, cwd=ROOT, check=False).returncode
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else temporary).resolve()
        publish("gpu fine-tuning", "python -m benchmarks.gpu_fine_tuning", table(folder, device, changes))
    return failed


def table(folder: Path, device: str, changes: tuple[str, ...]) -> str:
    """The run's times and the comparison with the model it began from."""
    cases, run = folder / "cases", folder / "white_matter"
    if not (cases / "dataset.json").is_file():
        maker = ROOT / "tools" / "make_finetuning_cases.py"
        call([sys.executable, str(maker), str(cases), "--training", str(TRAINING_CASES)])
    settings = (f'data.datasets=["{cases / "dataset.json"}"]', f"run.folder={run}", *changes)
    training_s = seconds(
        lambda: call([*NEUROSAM2, "train", str(RECIPE), *settings, "--device", device, "--workers", str(WORKERS)])
    )
    report = [*NEUROSAM2, "report", "nano", str(run / "model.safetensors"), str(cases / "dataset.json")]
    report_s = seconds(
        lambda: call([*report, "--clicks", str(CLICKS), "--device", device, "--out", str(folder / "report")])
    )
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = max(line.get("step", 0) for line in lines)
    memory = max(line.get("memory_gb", 0) for line in lines)
    rows = [
        ("steps", str(steps)),
        ("training with validation", f"{training_s:.0f} s"),
        ("most memory held", f"{memory:.1f} GB"),
        (f"report on the held-out cases, two models, {CLICKS} corrections", f"{report_s:.0f} s"),
    ]
    summary = (folder / "report" / "report.md").read_text(encoding="utf-8").partition("\n## ")[0]
    return as_table(("what", "measured"), rows) + "\n" + summary.removeprefix("# ")


def call(command: list[str]) -> None:
    """Runs a command; its failure is ours."""
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())
