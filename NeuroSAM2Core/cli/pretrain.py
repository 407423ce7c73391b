"""`neurosam2 pretrain`: trains the bundled model from scratch on synthetic volumes, in as many sittings as it takes."""

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.version import __version__


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "pretrain",
        help="train the bundled model from scratch on synthetic volumes",
        description="Trains the bundled model from scratch. Run it again to go on where it stopped; the result is the same.",
    )
    parser.add_argument("folder", type=Path, help="where the run lives")
    parser.add_argument("--recipe", default="scratch", help="scratch, or refine for a model that has been through it")
    parser.add_argument(
        "--start-from", type=Path, metavar="MODEL.safetensors", help="weights that a new run starts with"
    )
    parser.add_argument("--seed", type=int, help="another seed than the recipe's")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after this long and go on next time")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--threads", type=int, help="threads to compute with (default: all)")
    parser.add_argument("--workers", type=int, default=1, help="processes that prepare batches on the CPU")
    parser.add_argument(
        "--export", type=Path, metavar="OUT.safetensors", help="write the model as it stands when stopping"
    )
    parser.set_defaults(run=run)


def run(said: argparse.Namespace) -> int:
    """Trains; see `add_parser`."""
    import torch
    from tqdm import tqdm

    from NeuroSAM2Core.checkpoint import resolve_device
    from NeuroSAM2Core.train.config import RECIPES
    from NeuroSAM2Core.train.loop import Progress
    from NeuroSAM2Core.train.pretrain import pretrain, provenance_of

    if said.minutes <= 0:
        raise ConfigError(f"--minutes must be above 0; got {said.minutes:g}")
    if said.threads:
        torch.set_num_threads(said.threads)
    if said.recipe not in RECIPES:
        raise ConfigError(f"there is no recipe {said.recipe!r}; recipes: {', '.join(RECIPES)}")
    config = RECIPES[said.recipe]
    if said.seed is not None:
        config = replace(config, seed=said.seed)
    with tqdm(total=config.total_steps, unit="step", desc="pretraining") as bar:

        def show(progress: Progress) -> None:
            bar.update(progress.step - bar.n)
            bar.set_postfix({k: f"{progress.metrics[k]:.3f}" for k in ("loss", "prompted_iou", "tracked_iou")})

        state = pretrain(
            config,
            said.folder,
            device=resolve_device(said.device),
            max_seconds=60 * said.minutes,
            workers=said.workers,
            start_from=said.start_from,
            on_progress=show,
        )
    print(f"{state.step} of {config.total_steps} steps done; the run is in {said.folder}")
    if said.export:
        state.checkpoint(provenance_of(config, state), with_training=False).save(said.export)
        print(f"model written to {said.export} ({json.dumps({'step': state.step, 'version': __version__})})")
    return 0
