"""A cohort from two annotated subjects: how good the masks of new ones are beside a person's box, and whether doubt finds the worst.

Subjects are deformed copies of two heads, each made of the label maps of a held-out donor: turned, scaled by up to 8 % an axis, and bent by
a few mm. T1 and T2 in turn, every fourth in slices three times as thick. Objects are six structures; a person's box is the tight box on
the object's best slice, each side moved by up to 5 %.

Usage: python -m benchmarks.run cohort
       python -m benchmarks.cohort [--subjects 8] [--workers 1] [--registration deformable] [--folder runs/cohort] [--publish]
       python -m benchmarks.cohort [--cost 10 100 1000] [--kills 10] [--workers 1] [--publish]
"""

import argparse
import json
import math
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.quality.cases import thick_slices
from benchmarks.quality.prompts import first_prompts
from benchmarks.quality.runner import AXES
from benchmarks.report import as_table, publish
from NeuroSAM2Core import Session, Volume, load_model
from NeuroSAM2Core.cohort import CohortFolder, find_images, find_templates, review_rows
from NeuroSAM2Core.cohort.answer import make_plan
from NeuroSAM2Core.cohort.plan import REGISTRATIONS, RegistrationKind
from NeuroSAM2Core.cohort.run import Workers, run_cohort
from NeuroSAM2Core.measures import dice
from NeuroSAM2Core.model import SAM2
from NeuroSAM2Core.processes import ProcessTree
from NeuroSAM2Core.synth.anatomy.contrast import render_typical
from NeuroSAM2Core.synth.anatomy.grid import draw_noise
from NeuroSAM2Core.synth.anatomy.heads import build_head
from NeuroSAM2Core.synth.anatomy.labels import is_in

STRUCTURES = ("thalamus L", "putamen R", "hippocampus L", "lateral ventricle R", "brainstem", "cerebellum")
PARTS = {"cerebellum": ("cerebellar cortex", "cerebellar white matter")}
TEMPLATES = 2
BASES = (6, 7)
"""Heads of the bank of held-out donors, one of each donor, both with skull and skin."""
VOXEL_MM, THICK_EVERY, THICK = 1.5, 4, 3
TURN, SCALE = 0.12, 0.08
"""Radians about each axis, and share of each axis, at most."""
BENDS = ((3.0, 55), (1.5, 24))
"""Deviation and scale of the elastic deformation, mm."""
MODALITIES = ("T1", "T2")
SUBJECTS = 8
LOOK_S = 0.2
WORST, LOOKED_AT = 0.1, 0.25
"""The share of cases that count as worst, and the share of the list that a person looks at."""


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """A new subject: Dice of every structure, from the annotated cases and from a person's box."""

    name: str
    kind: str
    ours: NDArray[np.float64]
    person: NDArray[np.float64]
    rank: int
    """On the list of what to look at first, from 1."""
    seconds: float


def make_subjects(folder: Path, bank: Path, count: int) -> list[str]:
    """Two annotated subjects and so many new ones as files; what kind each new one is."""
    kinds = []
    for number in range(TEMPLATES + count):
        modality = "T1" if number < TEMPLATES else MODALITIES[number % 2]
        is_thick = number >= TEMPLATES and (number - TEMPLATES) % THICK_EVERY == THICK_EVERY - 1
        kinds.append(f"{modality}, {THICK * VOXEL_MM:g} mm" if is_thick else modality)
        image_path, label_path = _paths(folder, number)
        if image_path.exists():
            continue
        rng = np.random.default_rng((6, number))
        base = np.array(build_head(bank, BASES[number % len(BASES)], held_out=True).labels)
        head = deformed(base, rng)
        image = (1000 * render_typical(head, modality, rng)).astype(np.int16)
        labels = np.zeros(head.shape, np.uint8)
        for value, name in enumerate(STRUCTURES, start=1):
            labels[is_in(head, *PARTS.get(name, (name,)))] = value
        grid = Volume(image, np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1.0]))
        if is_thick:
            masks = [thick_slices(labels == v, grid, is_mask=True, count=THICK) for v in range(len(STRUCTURES) + 1)]
            labels = np.argmax([one.voxels for one in masks], axis=0).astype(np.uint8)
            grid = thick_slices(image, grid, is_mask=False, count=THICK)
        label_path.parent.mkdir(parents=True, exist_ok=True)
        image_path.parent.mkdir(parents=True, exist_ok=True)
        grid.with_voxels(labels).write(label_path)
        grid.write(image_path)
    pairs = [[str(path.relative_to(folder)) for path in _paths(folder, number)] for number in range(TEMPLATES)]
    listed = {"training": [{"image": image, "seg": label} for image, label in pairs], "validation": []}
    (folder / "dataset.json").write_text(json.dumps(listed), encoding="utf-8")
    return kinds[TEMPLATES:]


def _paths(folder: Path, number: int) -> tuple[Path, Path]:
    where = folder / ("annotated" if number < TEMPLATES else "new")
    return where / f"sub-{number:03}_T1w.nii.gz", folder / "truth" / f"sub-{number:03}_dseg.nii.gz"


def deformed(labels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A label map of 1 mm as that of another person, in voxels of `VOXEL_MM`."""
    shape = tuple(int(n / VOXEL_MM) for n in labels.shape)
    matrix = np.diag(VOXEL_MM * rng.uniform(1 - SCALE, 1 + SCALE, 3))
    for a, b in ((0, 1), (0, 2), (1, 2)):
        angle, turn = rng.uniform(-TURN, TURN), np.eye(3)
        turn[[a, b], [a, b]] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    middle, offset = (np.array(shape) - 1) / 2, (np.array(labels.shape) - 1) / 2
    grids = np.meshgrid(*[np.arange(n, dtype=np.float32) for n in shape], indexing="ij", sparse=True)
    places = []
    for axis in range(3):
        place = sum(matrix[axis, n] * (grids[n] - middle[n]) for n in range(3)) + offset[axis]
        places.append(sum((mm * draw_noise(rng, round(cell / VOXEL_MM), shape) for mm, cell in BENDS), place))
    return np.asarray(ndimage.map_coordinates(labels, places, order=0, mode="constant"), np.uint8)


def compare(folder: Path, out: Path, kinds: Sequence[str]) -> list[Compared]:
    """Every new subject: its masks, and those of a person's boxes, beside the truth."""
    rows = review_rows(out)
    kept, model = CohortFolder(out), load_model("nano", device="cpu")
    compared = []
    for number, kind in enumerate(kinds, start=TEMPLATES):
        image_path, label_path = _paths(folder, number)
        rank, row = next((n, one) for n, one in enumerate(rows, start=1) if one.case.image.name == image_path.name)
        record = kept.read(row.case)
        assert record is not None, "the cohort is done"
        truth = Volume.read(label_path).voxels
        found = np.zeros_like(truth) if record.problem else Volume.read(kept.labels_path(row.case)).voxels
        ours = [dice(found == value, truth == value) for value in range(1, len(STRUCTURES) + 1)]
        known = folder / "person" / f"{row.case.name}.json"
        if not known.exists():
            known.parent.mkdir(exist_ok=True)
            person = boxes_of_a_person(model, Volume.read(image_path), truth, is_thick="mm" in kind)
            known.write_text(json.dumps(person), encoding="utf-8")
        person = json.loads(known.read_text(encoding="utf-8"))
        compared.append(Compared(row.case.name, kind, np.array(ours), np.array(person), rank, record.seconds))
        print(
            f"{row.case.name} ({kind}): {compared[-1].ours.mean():.3f}, a person's box {compared[-1].person.mean():.3f}",
            flush=True,
        )
    return compared


def boxes_of_a_person(model: SAM2, image: Volume, truth: NDArray[np.uint8], *, is_thick: bool) -> list[float]:
    """Dice of each structure where a person draws its box."""
    session, dices = Session(model, image), []
    for value in range(1, len(STRUCTURES) + 1):
        prompts = first_prompts(truth == value, (0,) if is_thick else (0, 1, 2))
        session.add_box(value, AXES[prompts.axis], prompts.index, prompts.box)
        for _ in session.propagate(value):
            pass
        dices.append(dice(session.mask(value), truth == value))
        session.remove(value)
    return dices


def table(compared: Sequence[Compared]) -> str:
    """The figures as Markdown."""
    ours, person = (np.array([getattr(one, name) for one in compared]) for name in ("ours", "person"))
    rows = [(name, f"{a:.3f}", f"{b:.3f}") for name, a, b in zip(STRUCTURES, ours.mean(0), person.mean(0), strict=True)]
    rows.append(("**all**", f"**{ours.mean():.3f}**", f"**{person.mean():.3f}**"))
    kinds = sorted({one.kind for one in compared})
    for kind in kinds:
        of_kind = [n for n, one in enumerate(compared) if one.kind == kind]
        rows.append((f"all, {kind} ({len(of_kind)})", f"{ours[of_kind].mean():.3f}", f"{person[of_kind].mean():.3f}"))
    worst = sorted(compared, key=lambda one: float(one.ours.mean()))[: max(1, math.ceil(WORST * len(compared)))]
    ranks = ", ".join(str(one.rank) for one in worst)
    looked_at = max(1, math.ceil(LOOKED_AT * len(compared)))
    return (
        as_table(("structure", "from two annotated cases", "a person's box"), rows)
        + f"\nMean Dice of {len(compared)} new subjects. The worst {WORST:.0%} by Dice are number {ranks} of {len(compared)} on the "
        f"review list; the first {LOOKED_AT:.0%} of it are {looked_at}.\n"
    )


def measure(
    subjects: int = SUBJECTS,
    *,
    folder: Path = Path("runs/cohort"),
    workers: int = 1,
    registration: RegistrationKind = "deformable",
) -> str:
    """The table for benchmarks/README.md; what is there already is used again."""
    kinds = make_subjects(folder, folder / "bank", subjects)
    out = folder / f"out-{registration}"
    do_cohort(folder, out, subjects, workers, registration=registration)
    return table(compare(folder, out, kinds))


def do_cohort(folder: Path, out: Path, subjects: int, workers: int, *, registration: RegistrationKind) -> float:
    """Does all new subjects that are not done; seconds."""
    templates = find_templates([folder / "dataset.json"])
    plan = make_plan(templates, model="nano", device="cpu", registration=registration)
    images = [_paths(folder, TEMPLATES + number)[0] for number in range(subjects)]
    cases, kept, started = find_images(images), CohortFolder(out), time.perf_counter()
    with kept.locked():
        kept.claim(plan, cases)
        run_cohort(plan, cases, kept, workers=Workers(count=workers))
    return time.perf_counter() - started


def small_study(folder: Path) -> Path:
    """An annotated case and a scan of 20 x 20 x 20 voxels, one of which every new scan is a copy; the file of the scan."""
    k, j, i = np.meshgrid(*[np.linspace(-1.2, 1.2, 20)] * 3, indexing="ij")
    labels = (((k - 0.2) ** 2 + j**2 + i**2) < 0.2).astype(np.uint8)
    noise = np.random.default_rng(0).normal(0, 10, labels.shape)
    image = Volume((300 * (k**2 + j**2 + i**2 < 1) + 300.0 * labels + noise).astype(np.int16), np.diag([8.0, 8, 8, 1]))
    (folder / "annotated").mkdir()
    (folder / "new").mkdir()
    image.write(folder / "annotated" / "a.nii.gz")
    image.with_voxels(labels).write(folder / "annotated" / "a_labels.nii.gz")
    return folder / "annotated" / "a.nii.gz"


def add_scans(scan: Path, folder: Path, count: int) -> None:
    """Fills a folder with so many copies of a scan."""
    for number in range(count):
        path = folder / f"scan{number:05}.nii.gz"
        if not path.exists():
            shutil.copy(scan, path)


def measure_cost(counts: Sequence[int], workers: int) -> str:
    """Seconds a case for cohorts of several sizes, of small volumes: copies of one scan."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scan = small_study(folder)
        templates = find_templates([scan, scan.with_name("a_labels.nii.gz")])
        plan = make_plan(templates, model="nano", device="cpu")
        for count in counts:
            add_scans(scan, folder / "new", count)
            cases, kept = find_images([folder / "new"]), CohortFolder(folder / f"out{count}")
            kept.path.mkdir()
            started, before = time.perf_counter(), cpu_seconds()
            kept.claim(plan, cases)
            run_cohort(plan, cases, kept, workers=Workers(count=workers))
            seconds, cpu = time.perf_counter() - started, cpu_seconds() - before
            rows.append((str(count), f"{seconds:.0f}", f"{seconds / count:.2f}", f"{cpu:.0f}", f"{cpu / count:.2f}"))
    return as_table(("cases", "seconds by the clock", "a case", "CPU seconds", "a case"), rows)


def cpu_seconds() -> float:
    """CPU time of this process and of all that it has started and that have ended."""
    return float(sum(psutil.Process().cpu_times()[:4]))


def measure_kills(kills: int, cases: int = 40, seed: int = 0) -> str:
    """A run that is killed again and again, and runs of 2 and 4 processes: whether their files are those of one process left alone."""
    with tempfile.TemporaryDirectory() as name:
        folder, rng = Path(name), np.random.default_rng(seed)
        scan = small_study(folder)
        add_scans(scan, folder / "new", cases)
        annotated = [str(scan), str(scan.with_name("a_labels.nii.gz"))]
        command = [sys.executable, "-m", "NeuroSAM2Core", "cohort", *annotated, "--images", str(folder / "new")]

        def count_done(out: str) -> int:
            return sum(path.name.endswith("neurosam2_dseg.json") for path in (folder / out).rglob("*"))

        def run(out: str, workers: int, more: int = cases, pause_s: float = 0) -> bool:
            """Runs the command, and kills all of it a moment after so many cases more are done; true where it came to its end."""
            before = count_done(out)
            program = ProcessTree.start(
                [*command, "--out", str(folder / out), "--workers", str(workers)], folder / f"{out}.log"
            )
            while (code := program.wait(LOOK_S)) is None:
                if count_done(out) >= before + more:
                    code = program.wait(math.inf if more == cases else pause_s)
                    break
            if code is None:
                program.kill()
                program.wait(60)
            return code == 0

        assert run("alone", 1), (folder / "alone.log").read_text(encoding="utf-8")
        expected, killed, done = files_of(folder / "alone"), 0, []
        while killed < kills and not run("killed", 2, int(rng.integers(0, 7)), rng.uniform(0, 2)):
            killed += 1
            done.append(count_done("killed"))
        assert run("killed", 2), (folder / "killed.log").read_text(encoding="utf-8")
        rows = [(f"killed {killed} times, at {', '.join(map(str, done))} of {cases} cases", "killed")]
        for count in (2, 4):
            assert run(f"workers{count}", count)
            rows.append((f"{count} processes", f"workers{count}"))
        return as_table(
            ("run", "its files"),
            [(what, "the same" if files_of(folder / out) == expected else "**others**") for what, out in rows],
        )


def files_of(out: Path) -> dict[str, bytes]:
    """All files of a cohort, without the time that was spent."""
    found = {}
    for path in sorted(out.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            content = path.read_bytes()
            found[path.relative_to(out).as_posix()] = re.sub(rb'"seconds": [0-9.e-]+', b"", content)
    return found


def main() -> None:
    """Measures what the options say, and prints it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=SUBJECTS)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--registration", choices=REGISTRATIONS, default="deformable")
    parser.add_argument("--folder", type=Path, default=Path("runs/cohort"))
    parser.add_argument("--cost", type=int, nargs="+", default=[], metavar="N")
    parser.add_argument("--kills", type=int, default=0, metavar="N")
    parser.add_argument("--publish", action="store_true", help="write into benchmarks/README.md")
    args = parser.parse_args()
    found: dict[str, tuple[str, str]] = {}
    if args.cost:
        found["cohort-cost"] = f"--cost {' '.join(map(str, args.cost))}", measure_cost(args.cost, args.workers)
    if args.kills:
        found["cohort-kills"] = f"--kills {args.kills}", measure_kills(args.kills)
    if not found:
        text = measure(args.subjects, folder=args.folder, workers=args.workers, registration=args.registration)
        found["cohort"] = f"--subjects {args.subjects}", text
    for part, (options, text) in found.items():
        print(text)
        if args.publish:
            publish(part, f"python -m benchmarks.cohort {options}", text)


if __name__ == "__main__":
    main()
