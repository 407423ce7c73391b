"""`neurosam2 cohort`: a few annotated cases become a study, and a list of what to look at first."""

import argparse
import importlib.util
import sys
from pathlib import Path

from NeuroSAM2Core.cohort import CaseRecord, CohortFolder, find_images, find_templates, write_review
from NeuroSAM2Core.cohort.plan import MAX_TEMPLATES, REGISTRATIONS
from NeuroSAM2Core.cohort.review import REVIEW_CSV, CaseState
from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.outputs import add_overwrite_option

SHOWN = 10


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "cohort",
        help="outline in many scans what was outlined in a few",
        description="Registers annotated cases with every new scan, lets the model outline their objects there, and writes BIDS "
        "derivatives, a record for each case and a list of what to look at first. It can be stopped and goes on where it was.",
    )
    parser.add_argument(
        "templates",
        type=Path,
        nargs="+",
        metavar="TEMPLATES",
        help=f"1 to {MAX_TEMPLATES} annotated cases: a dataset.json, or an image and its label map, one after the other",
    )
    parser.add_argument(
        "--images",
        type=Path,
        nargs="+",
        required=True,
        metavar="PATH",
        help="the new scans: files, folders, BIDS datasets or a dataset.json",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the derivatives go")
    parser.add_argument("--suffix", default="", help="only images of this kind in BIDS datasets, for example T1w")
    parser.add_argument(
        "--axis", default="auto", help="of the slices: auto (the thickest), axial, coronal, sagittal, i, j or k"
    )
    parser.add_argument(
        "--registration",
        choices=REGISTRATIONS,
        default="deformable",
        help="what annotated cases are laid on a scan with, after an affine map: a free field of displacements (default), a B-spline by "
        "mutual information, or nothing",
    )
    parser.add_argument("--model", default="nano", help="catalog name or model file (default: nano)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument(
        "--workers", type=int, default=0, metavar="N", help="processes on this machine (default: as many as fit)"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of each process (default: 1)")
    parser.add_argument("--scheduler", default="", metavar="ADDRESS", help="of a Dask cluster, or its scheduler file")
    add_overwrite_option(
        parser, what="do all cases again where the folder holds a cohort of other settings; what was reviewed stays"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Does the cohort; see `add_parser`."""
    if args.workers < 0 or args.threads < 1:
        raise ConfigError("--workers and --threads are 1 or more")
    if args.scheduler and args.workers:
        raise ConfigError("--workers is of this machine, --scheduler of a cluster", hint="give one of them")
    for name in ("distributed", "SimpleITK"):
        if importlib.util.find_spec(name) is None:
            raise ConfigError(f"a cohort needs {name}", hint='install it with `pip install ".[cohort]"`')
    templates = find_templates(args.templates)
    cases = find_images(args.images, suffix=args.suffix, templates=templates, out=args.out)
    from tqdm import tqdm

    from NeuroSAM2Core.cohort.answer import make_plan  # heavy: only now that the files are there
    from NeuroSAM2Core.cohort.run import Workers, run_cohort

    plan = make_plan(
        templates,
        model=args.model,
        axis=args.axis,
        registration=args.registration,
        threads=args.threads,
        device=args.device,
    )
    folder = CohortFolder(args.out.resolve())
    failed = 0
    with folder.locked():
        folder.claim(plan, cases, overwrite=args.overwrite)
        print(f"{len(cases)} cases from {len(templates)} annotated ones")
        with tqdm(total=len(cases), unit="case", disable=None) as bar:

            def report(record: CaseRecord) -> None:
                nonlocal failed
                bar.update()
                if record.problem:
                    failed += 1
                    bar.write(f"{record.case}: {record.problem}", file=sys.stderr)

            try:
                run_cohort(
                    plan, cases, folder, workers=Workers(count=args.workers, scheduler=args.scheduler), report=report
                )
            finally:
                rows = write_review(args.out)
    print(f"{len(cases) - failed} done, {failed} failed; the list by doubt is {args.out / REVIEW_CSV}")
    waiting = [row for row in rows if row.state in (CaseState.WAITING, CaseState.FAILED)]
    for row in waiting[:SHOWN]:
        print(f"{row.doubt:.2f}  {row.case.name}  {row.reason}")
    return 0
