"""`neurosam2 report`: two models on the same held-out cases, with the difference and how sure it is."""

import argparse
from pathlib import Path

from NeuroSAM2Core.catalog import catalog
from NeuroSAM2Core.cli.evaluate import (
    add_dataset_options,
    add_options,
    cases_of,
    check_tables,
    data_config,
    evaluation_config,
    measured,
    split_of,
)
from NeuroSAM2Core.outputs import check_outputs
from NeuroSAM2Core.verdict import PICTURE_FILE

TABLES = "report"
"""Name of the tables' files."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "report",
        help="compare a model with the one before it on held-out cases",
        description="Measures both models on the same cases, box and click apart, and prints the differences with 95 % intervals.",
    )
    parser.add_argument("before", metavar="BEFORE", help="catalog name or model file")
    parser.add_argument("after", metavar="AFTER", help="catalog name or model file")
    parser.add_argument("dataset", type=Path, nargs="+", metavar="DATASET.json")
    add_options(parser, kind="both")
    add_dataset_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compares; see `add_parser`."""
    config = evaluation_config(args, max_objects=args.max_objects)
    data = data_config(args, args.dataset)
    cases = cases_of(args, data)
    inputs = [Path(one) for one in (args.before, args.after, *args.dataset)]
    check_tables(args, TABLES, inputs)
    picture = args.out and args.out / PICTURE_FILE
    check_outputs([picture] if picture else [], inputs=inputs, overwrite=args.overwrite)

    from NeuroSAM2Core.checkpoint import load_model
    from NeuroSAM2Core.training.evaluation.comparison import (
        compare,
        comparison_csv,
        comparison_json,
        comparison_markdown,
        draw_cases,
    )
    from NeuroSAM2Core.training.evaluation.results import write_tables

    models = [load_model(name, device=args.device) for name in (args.before, args.after)]
    before, after = (
        measured(model, cases, data, config, when) for model, when in zip(models, ("before", "after"), strict=True)
    )
    comparison = compare(
        before,
        after,
        config,
        before_name=Path(args.before).stem,
        after_name=Path(args.after).stem,
        cases_chose_checkpoint=split_of(args, data) == "validation" and args.after not in catalog(),
    )
    text = comparison_markdown(comparison)
    print(text)
    if args.out:
        is_drawn = draw_cases(comparison.verdict, picture)  # first: who watches the folder waits for the tables
        paths = write_tables(
            args.out, TABLES, csv_=comparison_csv(comparison), json_=comparison_json(comparison), markdown=text
        )
        print(f"written: {', '.join(map(str, [*paths, picture] if is_drawn else paths))}")
    return 0
