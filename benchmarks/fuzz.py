"""Damaged files through the app's own reading functions: none may end it, be a traceback, write elsewhere or send a request.

Usage: python -m benchmarks.fuzz [--minutes 5] [--files N] [--seed 0]

Sound files are made (images in NIfTI and several variants of NRRD, a segmentation, a scene bundle, models of ours and of others, a dataset,
runs of training), damaged at random by a seed, and read in a process of its own. A bundle whose scene ends that process is given to the
app's trial (see `NeuroSAM2Lib.sandbox`), which must say so in a sentence.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.damage import CASE, Damager
from NeuroSAM2Core.errors import DataError, NeuroSAM2Error

KINDS = (".nii", ".nrrd", ".seg.nrrd", ".mrb", ".safetensors", ".pt", "dataset.json", "run folder")
"""One after another."""
MOST_LETTERS = 2000
"""Of a sentence; it may name a file by its path."""
SILENCE_S = 120.0
"""A file that takes longer counts as one that ends the process."""
PLACES = ("cwd", "home", "tmp", "outside")
"""Folders that stay empty."""


@dataclass(slots=True)
class Findings:
    """What came of the files."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """Files by kind and outcome."""
    defects: list[str] = field(default_factory=list)
    """Each a sentence; empty where all promises hold."""

    @property
    def count(self) -> int:
        return sum(self.outcomes.values())

    def table(self) -> str:
        return "\n".join(f"{count:6d}  {outcome}" for outcome, count in sorted(self.outcomes.items()))


def fuzz(*, seed: int, files: int | None = None, seconds: float | None = None) -> Findings:
    """Reads damaged files until so many are read, or so much time is over."""
    issues, begin, number = Findings(), time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        root = Path(folder)
        for place in (*PLACES, "files"):
            (root / place).mkdir()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        while (files is None or number < files) and (seconds is None or time.monotonic() - begin < seconds):
            rest = 1 << 60 if files is None else files
            until = float("inf") if seconds is None else seconds - (time.monotonic() - begin)
            number = _one_process(root, address, seed, number, rest, until, issues)
        for place in PLACES:
            issues.defects += [f"{path} was written" for path in (root / place).rglob("*")]
        try:
            server.accept()
            issues.defects.append("a request was sent")
        except BlockingIOError:
            pass
    return issues


def _one_process(root: Path, address: str, seed: int, first: int, end: int, until_s: float, issues: Findings) -> int:
    """Files from the first one on, until the process that reads them ends; returns the next."""
    limit = "" if until_s == float("inf") else str(until_s)
    command = [sys.executable, "-P", "-m", __name__ if __name__ != "__main__" else "benchmarks.fuzz", "--read"]
    paths = os.pathsep.join(dict.fromkeys(str(Path(path).resolve()) for path in sys.path if path))
    environment = os.environ | {"PYTHONPATH": paths, "HOME": str(root / "home"), "TMPDIR": str(root / "tmp")}
    environment |= {"TORCHINDUCTOR_CACHE_DIR": str(root / "files"), "MPLCONFIGDIR": str(root / "files")}
    process = subprocess.Popen(
        [*command, str(root), address, str(seed), str(first), str(end), limit],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        env=environment,
        cwd=root / "cwd",
    )
    assert process.stdout is not None
    number, kind, stage = first - 1, "", ""
    with process:
        for line in process.stdout:
            words = line.rstrip("\n").split("\t")
            if words[0] == "reads":
                number, kind, stage = int(words[1]), words[2], words[3]
            elif words[0] == "did":
                issues.outcomes[f"{kind} {words[1]}"] += 1
                stage = ""
            elif words[0] == "defect":
                issues.defects.append(f"file {number} ({kind}): {words[1][:300]}")
    if stage:
        _note_death(root, kind, stage, number, process.returncode, issues)
    elif process.returncode:
        return number + 2  # it failed between two files, and has printed so
    for path in (root / "tmp").iterdir():  # of a process that ended
        if stage:
            subprocess.run(["rm", "-rf", str(path)], check=True)
    return number + 1


def _note_death(root: Path, kind: str, stage: str, number: int, code: int, issues: Findings) -> None:
    from NeuroSAM2Lib.sandbox import SceneSandbox
    from NeuroSAM2Lib.scene.files.bundle import unpack_bundle

    if stage != "scene":
        issues.outcomes[f"{kind} ended the process"] += 1
        issues.defects.append(f"file {number} ({kind}) ended the process with {code}")
        return
    try:
        with tempfile.TemporaryDirectory() as folder, SceneSandbox() as sandbox:
            sandbox.read(unpack_bundle(root / "files" / CASE / "a.mrb", Path(folder)), "a.mrb", limit_s=SILENCE_S)
    except DataError:
        issues.outcomes[f"{kind} ended the trial, refused"] += 1
    else:
        issues.defects.append(f"file {number} ({kind}) ended the reader with {code}, but not the trial")


def read_files(root: Path, address: str, seed: int, first: int, end: int, until_s: float | None) -> None:
    """What the process that reads does; it says on standard output how far it is."""
    import faulthandler

    from benchmarks.reading import Reader

    reader, begin = Reader(root), time.monotonic()
    for number in range(first, end):
        if until_s is not None and time.monotonic() - begin > until_s:
            return
        kind = KINDS[number % len(KINDS)]
        damager = Damager(seed * 1_000_003 + number, root, address)
        folder = reader.place(damager.damage(damager.random.choice(reader.sound[kind]), kind))
        _report("reads", number, kind, "file")
        faulthandler.dump_traceback_later(SILENCE_S, exit=True)
        try:
            reader.read(kind, folder, on_scene=lambda number=number, kind=kind: _report("reads", number, kind, "scene"))
            outcome = "opened"
        except NeuroSAM2Error as error:
            outcome = "refused"
            if len(str(error)) > MOST_LETTERS:
                _report("defect", f"a sentence of {len(str(error))} letters")
        except Exception:
            outcome = "traceback"
            _report("defect", " | ".join(traceback.format_exc().splitlines()[-3:]))
        faulthandler.cancel_dump_traceback_later()
        reader.forget()
        _report("did", outcome)


def _report(*words: object) -> None:
    os.write(3, ("\t".join(str(word).replace("\t", " ").replace("\n", " ") for word in words) + "\n").encode())


def main() -> int:
    """Reads as many files as time allows, and says what came of them."""
    if sys.argv[1:2] == ["--read"]:
        os.dup2(1, 3)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # VTK prints on standard output
        root, address, seed, first, end, until_s = sys.argv[2:]
        try:
            read_files(Path(root), address, int(seed), int(first), int(end), float(until_s) if until_s else None)
        except BaseException:
            _report("defect", "between two files: " + " | ".join(traceback.format_exc().splitlines()[-6:]))
            os._exit(1)
        os._exit(0)
    parser = argparse.ArgumentParser(description="damaged files through the app's own reading functions")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--files", type=int, help="stop after so many")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    begin = time.monotonic()
    issues = fuzz(seed=asked.seed, files=asked.files, seconds=60 * asked.minutes)
    print(f"{issues.count} files in {time.monotonic() - begin:.0f} s, seed {asked.seed}\n{issues.table()}")
    print("\n".join(issues.defects) or "no ended process, no traceback, nothing written outside, no request sent")
    return 1 if issues.defects else 0


if __name__ == "__main__":
    sys.exit(main())
