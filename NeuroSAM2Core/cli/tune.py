"""`neurosam2 tune`: which of the engine's choices help a model on one's own annotated cases; the best are kept beside the model."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from NeuroSAM2Core.cli.evaluate import add_object_options, data_config
from NeuroSAM2Core.errors import ConfigError, DataError
from NeuroSAM2Core.outputs import add_overwrite_option, check_outputs

if TYPE_CHECKING:
    from NeuroSAM2Core.training.data.dataset import Case, DatasetFile
    from NeuroSAM2Core.training.evaluation.tuning import Trial


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "tune",
        help="find the engine's best choices for a model on annotated cases",
        description="Measures what crops around small objects, carried boxes, ends by shape and the others do for a model on annotated "
        "cases, one after another, and keeps the best in MODEL.engine.toml beside the model, where every program of this package "
        "finds it. Delete that file to undo it.",
    )
    parser.add_argument("model", metavar="MODEL", help="catalog name or model file")
    parser.add_argument("dataset", type=Path, metavar="DATASET.json")
    parser.add_argument(
        "--split",
        choices=("training", "validation"),
        help="the list of cases (validation if it has two, else training)",
    )
    add_object_options(parser)
    parser.add_argument("--cases", type=int, default=8, help="only the first so many cases; 0 for all (8)")
    parser.add_argument("--start", choices=("box", "click", "both"), default="box", help="the first prompt (box)")
    parser.add_argument("--clicks", type=int, default=0, help="correction clicks that are measured, too (0)")
    parser.add_argument("--axis", default="axial", help="axial, coronal, sagittal, i, j or k")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument(
        "--out", type=Path, metavar="FILE.toml", help="write the choices here instead of beside the model"
    )
    add_overwrite_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measures and keeps the best; see `add_parser`."""
    if args.cases < 0:
        raise ConfigError(f"--cases must not be negative; got {args.cases}")
    from NeuroSAM2Core.checkpoint import engine_file, load_model, write_engine_file
    from NeuroSAM2Core.training.config.data import EvaluationConfig
    from NeuroSAM2Core.training.data import read_dataset
    from NeuroSAM2Core.training.evaluation.tuning import num_trials, tune_engine

    config = EvaluationConfig(
        kinds=("box", "click") if args.start == "both" else (args.start,),
        num_clicks=args.clicks,
        axis=args.axis,
        max_objects=args.max_objects,
        has_surfaces=False,
    )
    split, cases = choose_cases(read_dataset(args.dataset), args.split, args.cases)
    target = args.out or engine_file(args.model)
    check_outputs([target], inputs=[args.dataset, Path(args.model)], overwrite=args.overwrite)
    model = load_model(args.model, device=args.device)
    print(f"measuring on {len(cases)} {split} cases of {args.dataset.name}", file=sys.stderr)

    from tqdm import tqdm

    with tqdm(total=len(cases) * num_trials(config), unit="case", leave=False, disable=None) as bar:

        def show(trial: "Trial") -> None:
            bar.write(
                f"{trial.name}: Dice {trial.dice:.3f}, {trial.seconds_per_slice:.3f} s per slice", file=sys.stderr
            )

        def count(name: str) -> None:
            bar.set_description(name, refresh=False)
            bar.update()

        found = tune_engine(model, cases, data_config(args, [args.dataset]), config, on_case=count, on_trial=show)
    table = found.as_markdown()
    print(table, end="")
    about = f"{found.num_cases} {split} cases of {args.dataset.name}"
    if split == "training":
        about += "; a model that was trained on them would look better there than elsewhere"
    comments = (
        "The engine's choices for this model, written by `neurosam2 tune`. Without this file the model's own are used.",
        f"Measured on {about}.",
        *table.splitlines(),
    )
    write_engine_file(target, found.best.choices, comments)
    print(f"best: {found.best.name}, on {about}")
    print(f"written to {target}" + (" (it takes effect beside the model)" if args.out else ""))
    return 0


def choose_cases(dataset: "DatasetFile", split: str | None, most: int) -> "tuple[str, tuple[Case, ...]]":
    """The validation cases, or the training cases where there are too few; and which of the two.

    Args:
        dataset: Its lists.
        split: The list that was named; None leaves it open.
        most: No more cases than this; 0 for all.

    Raises:
        DataError: There are fewer than two.
    """
    from NeuroSAM2Core.training.evaluation.tuning import MIN_CASES

    lists = {"validation": dataset.validation, "training": dataset.training}
    for name in (split,) if split else lists:
        if len(lists[name]) >= MIN_CASES:
            return name, lists[name][: max(most, MIN_CASES) if most else None]
    counts = ", ".join(f"{len(cases)} {name}" for name, cases in lists.items())
    raise DataError(
        f"measuring the engine's choices takes at least {MIN_CASES} cases; {dataset.path.name} has {counts}",
        hint="add annotated cases to one of its lists",
    )
