"""The methods that are compared, each behind the same prompts, and the loop that measures what is not measured yet."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import NeuroSAM2Core
from benchmarks.quality import classical
from benchmarks.quality.cases import CaseFile, Row
from benchmarks.quality.results import Entry, Results
from benchmarks.quality.runner import Shown, measure_case
from NeuroSAM2Core import Session, Volume, load_model
from NeuroSAM2Core.training.evaluation.cases import Segmenter

CODE = ("inference", "model", "prompts", "volume", "components")
"""Folders of the core that decide what a session answers."""
GROWCUT, RANDOM_WALKER = "GrowCut", "random walker"


@dataclass(frozen=True, slots=True)
class Method:
    """Something that is measured."""

    name: str
    version: str
    """Of weights and code; results of other versions do not count."""
    start: Callable[[Volume], Segmenter]
    review_iou_threshold: float | None = None


def engine_method(model: str, name: str, *, folder: Path | None = None) -> Method:
    """The engine that can be imported here, with a model.

    Args:
        model: A name of the catalog, or a file.
        name: For the tables.
        folder: Where the engine must come from; checked where given.
    """
    root = Path(NeuroSAM2Core.__file__).parent
    assert folder is None or root.is_relative_to(folder.resolve()), f"{root} is not in {folder}"
    network = load_model(model, device="cpu")
    weights = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        weights.update(key.encode() + value.detach().float().contiguous().numpy().tobytes())
    version = f"{weights.hexdigest()[:8]} {code_version(root)}"
    return Method(name, version, lambda volume: Session(network, volume), network.config.review_iou_threshold)


def code_version(root: Path) -> str:
    """Changes with any file of the engine."""
    code = hashlib.sha256()
    for folder in CODE:
        for path in sorted((root / folder).rglob("*.py")):
            code.update(path.read_bytes())
    return code.hexdigest()[:8]


def classical_methods() -> dict[str, Method]:
    """GrowCut and random walker, as far as they are installed."""
    code = (Path(classical.__file__), Path(classical.__file__).with_name("prompts.py"))
    version = hashlib.sha256(b"".join(path.read_bytes() for path in code)).hexdigest()[:8]
    methods = {RANDOM_WALKER: Method(RANDOM_WALKER, version, lambda v: classical.Seeds(v, classical.random_walker))}
    if classical.growcut_is_there():
        methods[GROWCUT] = Method(GROWCUT, version, lambda v: classical.Seeds(v, classical.growcut))
    else:
        print("GrowCut is left out: the package slicer-core cannot be imported here")
    return methods


def measure_missing(
    method: Method, files: Iterable[CaseFile], names: set[str], results: Results, *, corrections: int
) -> None:
    """Measures a method on the named rows that have no result of its version yet, one line each."""
    for file in files:
        missing = {
            row.name
            for row, digest in file.rows()
            if row.name in names and results.find(method.name, method.version, row.name, digest, corrections) is None
        }
        for case in file.cases(missing):
            measured, shown = measure_case(
                method.start(case.image),
                case,
                corrections=corrections,
                review_iou_threshold=method.review_iou_threshold,
            )
            results.add(
                Entry(
                    method=method.name,
                    version=method.version,
                    row=case.row.name,
                    size=case.row.size,
                    group=case.row.group,
                    digest=case.digest,
                    measured=measured,
                )
            )
            keep_masks(masks_path(results.path.parent, method.name, case.row), shown)
            print(progress(method.name, results.entries[-1]), flush=True)


def progress(method: str, entry: Entry) -> str:
    """One line for the person who waits."""
    m = entry.measured
    whole = " ".join(f"{dice:.2f}" for dice in m.box_whole)
    return (
        f"{method:14} {entry.row:38} box {m.box_slice:.2f}  whole {whole}  false/missed {m.false_slices[0]}/{m.missed_slices[0]}"
        f" of {m.slices}  click {m.click_slice:.2f} best {m.click_best:.2f} whole {m.click_whole:.2f}  {m.seconds:.1f} s"
    )


def masks_path(folder: Path, method: str, row: Row) -> Path:
    """Where the masks for pictures are kept."""
    return folder / "masks" / method.replace(" ", "_") / f"{row.name.replace(' ', '_')}.npz"


def keep_masks(path: Path, shown: Shown) -> None:
    """Writes masks for pictures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, boxed=shown.boxed, clicked=shown.clicked)
