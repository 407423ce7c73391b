"""`neurosam2 evaluate`: simulated prompts on a labelled volume, or on all cases of a dataset."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from NeuroSAM2Core.cli.evaluation_options import (
    add_dataset_options,
    add_options,
    cases_of,
    check_tables,
    data_config,
    evaluation_config,
    measured,
)
from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.volume import Volume

if TYPE_CHECKING:
    from NeuroSAM2Core.training.config.evaluation import EvaluationConfig
    from NeuroSAM2Core.training.evaluation import EvaluationResult

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
    from NeuroSAM2Core.training.data.labelled_volume import LabelledVolume, check_same_grid
    from NeuroSAM2Core.training.data.objects import ObjectMap

    volume, label = Volume.read(args.image), Volume.read(args.label)
    check_same_grid(volume, label)
    is_object = label.voxels == args.value if args.value is not None else label.voxels > (args.threshold or 0.0)
    truth = np.asarray(is_object, dtype=np.int32)

    from tqdm import tqdm

    from NeuroSAM2Core.checkpoint import load_model
    from NeuroSAM2Core.training.evaluation import EvaluationResult
    from NeuroSAM2Core.training.evaluation.cases import measure
    from NeuroSAM2Core.training.evaluation.tables import number

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
    from NeuroSAM2Core.training.evaluation.tables import as_markdown

    result = measured(load_model(args.model, device=args.device), cases, data, config, "evaluating")
    print(as_markdown(result, config, Path(args.model).stem))
    if args.out:
        write(result, config, args)
    return 0


def write(result: "EvaluationResult", config: "EvaluationConfig", args: argparse.Namespace) -> None:
    """Puts the tables where they were asked for."""
    from NeuroSAM2Core.training.evaluation.tables import as_csv, as_json, as_markdown, write_tables

    name = Path(args.model).stem
    paths = write_tables(
        args.out,
        TABLES,
        csv_=as_csv(result),
        json_=as_json(result, config, name),
        markdown=as_markdown(result, config, name),
    )
    print(f"written: {', '.join(map(str, paths))}")
