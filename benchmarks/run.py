"""`make bench`: all measurements, written as tables to benchmarks/results.md.

Usage: python -m benchmarks.run [--full] [--only speed|quality]
"""

import argparse
import os
import platform
from pathlib import Path

import torch

from benchmarks import quality, speed

OUT = Path(__file__).parent / "results.md"


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="64 slices instead of a few")
    parser.add_argument("--only", choices=("speed", "quality"))
    said = parser.parse_args()
    parts = [
        f"Measured with `python -m benchmarks.run{' --full' if said.full else ''}` on {os.cpu_count()} CPU cores "
        f"({platform.processor() or platform.machine()}), {torch.get_num_threads()} threads, torch {torch.__version__}.\n"
    ]
    if said.only != "quality":
        parts.append(speed.measure(num_slices=64 if said.full else 12))
    if said.only != "speed":
        parts.append(quality.measure())
    OUT.write_text("\n".join(parts))
    print(f"\nwritten to {OUT}")


if __name__ == "__main__":
    main()
