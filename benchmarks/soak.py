"""`make soak`: the long form of every attack of which `make test` has a short one, with its figures at the end.

Usage: python -m benchmarks.soak [--minutes 60] [--parts files kills attacks] [--files N] [--kills N] [--seed 0] [--json OUT.json]

Files: damaged files of eight kinds (see `benchmarks.fuzz`). Kills: workers, runs of training and hosts (see `benchmarks.kills`). Attacks:
the tests of bundles, headers, frames, model files, full disks, two runs in a folder, slow clients and hostile names, in rounds with other
seeds. Each part has its share of the time, unless a number is given.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import fuzz, kills
from NeuroSAM2Core.outputs import check_outputs

ROOT = Path(__file__).parents[1]
ATTACKS = {
    "bundles": ("Testing/Lib/test_bundles.py", "Testing/Lib/test_nrrd.py"),
    "headers and requests": (
        "Testing/Core/test_header_geometry.py",
        "Testing/Web/test_safety.py",
        "Testing/Web/test_unauthenticated_clients.py",
    ),
    "frames": ("Testing/Remote/test_serving.py", "Testing/Remote/test_protocol.py"),
    "model files": ("Testing/Core/test_model_files.py",),
    "full disks, two runs in a folder": ("Testing/Training/test_run_folder.py", "Testing/Core/test_disk.py"),
    "slow clients": ("Testing/Remote/test_fairness.py",),
    "hostile names, two windows": (
        "Testing/Core/test_outputs.py",
        "Testing/Web/test_folders.py",
        "Testing/Lib/test_training.py",
    ),
}
PARTS = ("files", "kills", "attacks")
COUNTED = re.compile(r"(\d+) (passed|failed|error|skipped)")


@dataclass(slots=True)
class Figures:
    """What came of one part."""

    part: str
    seconds: float
    counts: dict[str, int]
    """By what happened."""
    defects: list[str] = field(default_factory=list)


def soak_files(seed: int, *, count: int | None, seconds: float) -> Figures:
    """Damaged files."""
    began = time.monotonic()
    found = fuzz.fuzz(seed=seed, files=count, seconds=None if count else seconds)
    counts = {"files": found.count, **dict(sorted(found.outcomes.items()))}
    return Figures("files", time.monotonic() - began, counts, found.defects)


def soak_kills(seed: int, *, count: int | None, seconds: float) -> Figures:
    """Kills; within a time, each kind has its share of it."""
    began = time.monotonic()
    found = kills.kill(count, seed) if count else kills.kill_for(seconds, seed)
    counts = {"kills": sum(one.count for one in found)}
    for one in found:
        counts |= {f"{one.what}": one.count, f"{one.what}, while it started": one.at_the_start}
    return Figures("kills", time.monotonic() - began, counts, [defect for one in found for defect in one.defects])


def soak_attacks(seed: int, *, seconds: float) -> Figures:
    """The tests of attacks, in rounds with other seeds; at least one round."""
    began, counts, defects, rounds = time.monotonic(), Counter[str](), list[str](), 0
    while rounds == 0 or time.monotonic() - began < seconds:
        for attack, files in ATTACKS.items():
            command = [sys.executable, "-m", "pytest", "-q", "-rfE", "--seed", str(seed + rounds), *files]
            done = subprocess.run(
                command, cwd=ROOT, env=os.environ, capture_output=True, text=True, encoding="utf-8", check=False
            )
            lines = done.stdout.splitlines()
            counts.update({what: int(number) for number, what in COUNTED.findall(lines[-1] if lines else "")})
            failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
            if done.returncode and not failed:
                failed = [f"pytest ended with {done.returncode}"]
            defects += [f"{attack}, seed {seed + rounds}: {line}" for line in failed]
        rounds += 1
    return Figures("attacks", time.monotonic() - began, {"rounds": rounds, **counts}, defects)


def main() -> int:
    """Attacks as long as time allows, and says what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--files", type=int, help="damaged files, however long they take")
    parser.add_argument("--kills", type=int, help="kills, however long they take")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="OUT.json", help="also write the figures there")
    asked = parser.parse_args()
    if asked.json:
        check_outputs([asked.json])
    share = 60 * asked.minutes / len(asked.parts)
    figures = []
    for part in asked.parts:
        if part == "files":
            figures.append(soak_files(asked.seed, count=asked.files, seconds=share))
        elif part == "kills":
            figures.append(soak_kills(asked.seed, count=asked.kills, seconds=share))
        else:
            figures.append(soak_attacks(asked.seed, seconds=share))
        print(as_text(figures[-1]), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps([asdict(one) for one in figures], indent=2) + "\n", encoding="utf-8")
    return 1 if any(one.defects for one in figures) else 0


def as_text(figures: Figures) -> str:
    """The figures of a part, for people."""
    lines = [f"{figures.part}: {figures.seconds:.0f} s"]
    lines += [f"{count:8d}  {what}" for what, count in figures.counts.items()]
    return "\n".join([*lines, *(figures.defects or ["nothing was lost, written elsewhere or ended without a word"])])


if __name__ == "__main__":
    sys.exit(main())
