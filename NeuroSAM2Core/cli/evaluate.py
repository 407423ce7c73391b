"""`neurosam2 evaluate`: simulated prompts on a labelled volume."""

import argparse
from pathlib import Path

import numpy as np

from NeuroSAM2Core.errors import ConfigError, DataError
from NeuroSAM2Core.volume import Volume, resolve_axis

TARGETS = (0.80, 0.90)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a model on a labelled volume",
        description="Prompts a labelled volume as a person would and prints Dice after the first prompt and after every correction.",
    )
    parser.add_argument("image", type=Path, help="NIfTI file")
    parser.add_argument("label", type=Path, help="NIfTI file on the same grid")
    parser.add_argument(
        "--value", type=float, help="the object is where the label equals this (default: where it is above 0)"
    )
    parser.add_argument(
        "--threshold", type=float, help="the object is where the label is above this, for probability maps"
    )
    parser.add_argument("--model", default="nano", help="catalog name or model file (default: nano)")
    parser.add_argument("--axis", default="axial", help="axial, coronal, sagittal, i, j or k")
    parser.add_argument("--start", choices=("box", "click"), default="box", help="the first prompt")
    parser.add_argument("--clicks", type=int, default=5, help="correction clicks (default: 5)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.set_defaults(run=run)


def run(said: argparse.Namespace) -> int:
    """Evaluates; see `add_parser`."""
    if said.clicks < 0:
        raise ConfigError(f"--clicks must not be negative; got {said.clicks}")
    volume, label = Volume.read(said.image), Volume.read(said.label)
    if label.shape != volume.shape or not np.allclose(label.ijk_to_ras, volume.ijk_to_ras, atol=1e-3):
        raise DataError(
            f"{said.label.name} is not on the grid of {said.image.name}", hint="resample the label to the image first"
        )
    is_object = label.voxels == said.value if said.value is not None else label.voxels > (said.threshold or 0.0)
    truth = np.asarray(is_object)

    from tqdm import tqdm

    from NeuroSAM2Core.checkpoint import load_model
    from NeuroSAM2Core.engine import Session
    from NeuroSAM2Core.train.evaluation import clicks_to, evaluate

    session = Session(load_model(said.model, device=said.device), volume)
    rounds = []
    with tqdm(unit="slice", desc="evaluating", leave=False, disable=None) as bar:
        axis = resolve_axis(volume, said.axis)
        for one in evaluate(session, truth, axis, start=said.start, num_clicks=said.clicks, on_slice=bar.update):
            rounds.append(one)
            print(f"{one.clicks} corrections: Dice {one.dice:.4f} (prompted slice {one.slice_dice:.4f})")
    for target in TARGETS:
        count = clicks_to(rounds, target)
        print(f"Dice {target:.2f}: " + (f"reached after {count} corrections" if count is not None else "not reached"))
    return 0
