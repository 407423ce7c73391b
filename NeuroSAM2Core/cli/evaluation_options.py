"""What `evaluate` and `report` have in common: the options of a measurement, and measuring a dataset with a progress bar."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.outputs import add_overwrite_option, check_outputs

if TYPE_CHECKING:
    from NeuroSAM2Core.model import SAM2
    from NeuroSAM2Core.training.config.data import DataConfig
    from NeuroSAM2Core.training.config.evaluation import EvaluationConfig
    from NeuroSAM2Core.training.data import Case
    from NeuroSAM2Core.training.data.dataset_file import Split
    from NeuroSAM2Core.training.evaluation import EvaluationResult


def add_options(parser: argparse.ArgumentParser, *, kind: str) -> None:
    """Declares the options; `kind` is the first prompt by default."""
    parser.add_argument("--axis", default="axial", help="axial, coronal, sagittal, i, j or k")
    parser.add_argument("--start", choices=("box", "click", "both"), default=kind, help=f"the first prompt ({kind})")
    parser.add_argument("--clicks", type=int, default=5, help="correction clicks, at most (5)")
    parser.add_argument("--target", type=float, default=0.85, help="corrections are counted to this Dice (0.85)")
    parser.add_argument(
        "--tolerance", type=float, default=2.0, metavar="MM", help="surfaces this near count as the same (2 mm)"
    )
    parser.add_argument("--no-surfaces", action="store_true", help="leave distances of surfaces out: faster")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write tables here: .csv, .json and .md")
    add_overwrite_option(parser)


def add_dataset_options(parser: argparse._ActionsContainer) -> None:
    """Declares what counts as a case and as an object."""
    parser.add_argument(
        "--split",
        choices=("training", "validation", "test"),
        help="the list of cases (test, or validation if it has none)",
    )
    add_object_options(parser)


def add_object_options(parser: argparse._ActionsContainer) -> None:
    """Declares what counts as an object."""
    parser.add_argument("--labels", choices=("semantic", "instances"), default="semantic", help="what one object is")
    parser.add_argument("--classes", type=int, nargs="+", default=[], help="label values that hold objects (all)")
    parser.add_argument("--min-voxels", type=int, default=10, help="leave smaller objects out (10)")
    parser.add_argument("--max-objects", type=int, default=0, help="only the largest objects of a case (all)")


def evaluation_config(args: argparse.Namespace, *, max_objects: int = 0) -> "EvaluationConfig":
    """What was asked for."""
    from NeuroSAM2Core.training.config.evaluation import EvaluationConfig

    return EvaluationConfig(
        kinds=("box", "click") if args.start == "both" else (args.start,),
        num_clicks=args.clicks,
        axis=args.axis,
        target_dice=args.target,
        tolerance_mm=args.tolerance,
        max_objects=max_objects,
        has_surfaces=not args.no_surfaces,
    )


def check_tables(args: argparse.Namespace, name: str, inputs: Sequence[str | Path]) -> None:
    """Checks, before anything is measured, that the tables can be written, if any were asked for."""
    if args.out:
        from NeuroSAM2Core.training.evaluation.tables import table_paths

        check_outputs(table_paths(args.out, name), inputs=[Path(one) for one in inputs], overwrite=args.overwrite)


def data_config(args: argparse.Namespace, datasets: list[Path]) -> "DataConfig":
    """What counts as an object."""
    from NeuroSAM2Core.training.config.data import DataConfig

    return DataConfig(
        datasets=tuple(map(str, datasets)),
        labels=args.labels,
        classes=tuple(args.classes),
        min_voxels=args.min_voxels,
    )


def split_of(args: argparse.Namespace, data: "DataConfig") -> "Split":
    """The list that was named, or the test cases, or without any the validation cases."""
    from NeuroSAM2Core.training.data import read_cases

    if args.split:
        return cast("Split", args.split)
    try:
        read_cases(data.datasets, "test")
    except DataError:
        return "validation"
    return "test"


def cases_of(args: argparse.Namespace, data: "DataConfig") -> "tuple[Case, ...]":
    """The cases of `split_of`."""
    from NeuroSAM2Core.training.data import read_cases

    return read_cases(data.datasets, split_of(args, data))


def measured(
    model: "SAM2", cases: "tuple[Case, ...]", data: "DataConfig", config: "EvaluationConfig", name: str
) -> "EvaluationResult":
    """Measures with a progress bar."""
    from tqdm import tqdm

    from NeuroSAM2Core.training.evaluation import Measurement, evaluate_cases

    seen: set[str] = set()
    with tqdm(total=len(cases), unit="case", desc=name, leave=False, disable=None) as bar:

        def show(one: Measurement) -> None:
            if one.case not in seen:
                seen.add(one.case)
                bar.update(len(seen) - 1 - bar.n)
            bar.set_postfix(object=one.object, first=one.kind, corrections=one.clicks, dice=f"{one.dice:.3f}")

        return evaluate_cases(model, cases, data, config, on_measured=show)
