"""`neurosam2 evaluate`: simulated prompts on a labelled volume, or on all cases of a dataset.

What `evaluate` and `report` have in common: the options of a measurement, and measuring a dataset with a progress bar.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from NeuroSAM2Core.errors import ConfigError, DataError
from NeuroSAM2Core.outputs import add_overwrite_option, check_outputs
from NeuroSAM2Core.volume import Volume

if TYPE_CHECKING:
    from NeuroSAM2Core.model import SAM2
    from NeuroSAM2Core.training.config.data import DataConfig, EvaluationConfig, FirstPrompt
    from NeuroSAM2Core.training.data import Case
    from NeuroSAM2Core.training.data.dataset import Split
    from NeuroSAM2Core.training.evaluation import EvaluationResult


STARTS: "Mapping[str, tuple[FirstPrompt, ...]]" = {
    "box": ("box",),
    "click": ("click",),
    "scribble": ("scribble",),
    "lasso": ("lasso",),
    "both": ("box", "click"),
    "all": ("box", "click", "scribble", "lasso"),
}
"""The first prompts that are measured, by what is typed."""


def add_options(parser: argparse.ArgumentParser, *, kind: str) -> None:
    """Declares the options; `kind` is the first prompt by default."""
    parser.add_argument("--axis", default="axial", help="axial, coronal, sagittal, i, j or k")
    parser.add_argument(
        "--start", choices=tuple(STARTS), default=kind, help=f"the first prompt ({kind}); both: box and click"
    )
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
    from NeuroSAM2Core.training.config.data import EvaluationConfig

    return EvaluationConfig(
        kinds=STARTS[args.start],
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
        from NeuroSAM2Core.training.evaluation.results import table_paths

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


TARGETS = (0.80, 0.90)
TABLES = "evaluation"
"""Name of the tables' files."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a model on labelled volumes",
        description="Prompts labelled volumes as a person would and says how good the masks are after the first prompt and after every "
        "correction. IMAGE LABEL measures one volume; DATASET.json all cases of one of its lists.",
    )
    parser.add_argument("image", type=Path, metavar="IMAGE|DATASET.json")
    parser.add_argument("label", type=Path, nargs="?", metavar="LABEL", help="NIfTI file on the same grid as the image")
    parser.add_argument(
        "--value", type=float, help="the object is where LABEL equals this (default: where it is above 0)"
    )
    parser.add_argument("--threshold", type=float, help="the object is where LABEL is above this: for probability maps")
    parser.add_argument("--model", default="nano", help="catalog name or model file (nano)")
    add_options(parser, kind="box")
    add_dataset_options(parser.add_argument_group("with DATASET.json"))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluates; see `add_parser`."""
    is_dataset = args.image.suffix == ".json"
    if is_dataset and args.label:
        raise ConfigError("a dataset names its labels itself", hint=f"leave {args.label} out")
    if not is_dataset and not args.label:
        raise ConfigError(f"{args.image.name} needs its label", hint="give IMAGE LABEL, or a DATASET.json")
    check_tables(args, TABLES, [args.image, *([args.label] if args.label else []), args.model])
    return run_dataset(args) if is_dataset else run_volume(args)


def run_volume(args: argparse.Namespace) -> int:
    """One volume, one object."""
    config = evaluation_config(args)
    from NeuroSAM2Core.training.data.dataset import LabelledVolume, ObjectMap, check_same_grid

    volume, label = Volume.read(args.image), Volume.read(args.label)
    check_same_grid(volume, label)
    is_object = label.voxels == args.value if args.value is not None else label.voxels > (args.threshold or 0.0)
    truth = np.asarray(is_object, dtype=np.int32)

    from tqdm import tqdm

    from NeuroSAM2Core.checkpoint import load_model
    from NeuroSAM2Core.training.evaluation import EvaluationResult
    from NeuroSAM2Core.training.evaluation.cases import measure
    from NeuroSAM2Core.training.evaluation.results import number

    model = load_model(args.model, device=args.device)
    found = []
    with tqdm(unit="slice", desc="evaluating", leave=False, disable=None) as bar:
        pair, objects = LabelledVolume(volume, truth), ObjectMap(truth, (label.name,))
        for one in measure(model, volume.name, pair, objects, config, on_slice=bar.update):
            found.append(one)
            first = f"{one.kind}, " if len(config.kinds) > 1 else ""
            surfaces = "" if args.no_surfaces else f", HD95 {number(one.hd95_mm, 1)} mm"
            print(
                f"{first}{one.clicks} corrections: Dice {one.dice:.4f} (prompted slice {one.slice_dice:.4f}){surfaces}"
            )
    result = EvaluationResult(tuple(found))
    for kind in config.kinds:
        for target in TARGETS:
            (count,) = result.clicks_to(kind, target).values()
            reached = f"reached after {count} corrections" if count is not None else "not reached"
            print(f"{kind}, Dice {target:.2f}: {reached}" if len(config.kinds) > 1 else f"Dice {target:.2f}: {reached}")
    if args.out:
        write(result, config, args)
    return 0


def run_dataset(args: argparse.Namespace) -> int:
    """All cases of a list."""
    config = evaluation_config(args, max_objects=args.max_objects)
    data = data_config(args, [args.image])
    cases = cases_of(args, data)

    from NeuroSAM2Core.checkpoint import load_model
    from NeuroSAM2Core.training.evaluation.results import as_markdown

    result = measured(load_model(args.model, device=args.device), cases, data, config, "evaluating")
    print(as_markdown(result, config, Path(args.model).stem))
    if args.out:
        write(result, config, args)
    return 0


def write(result: "EvaluationResult", config: "EvaluationConfig", args: argparse.Namespace) -> None:
    """Puts the tables where they were asked for."""
    from NeuroSAM2Core.training.evaluation.results import as_csv, as_json, as_markdown, write_tables

    name = Path(args.model).stem
    paths = write_tables(
        args.out,
        TABLES,
        csv_=as_csv(result),
        json_=as_json(result, config, name),
        markdown=as_markdown(result, config, name),
    )
    print(f"written: {', '.join(map(str, paths))}")
