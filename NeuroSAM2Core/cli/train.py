"""`neurosam2 train`: fine-tunes a model on annotated volumes, in as many sessions as it takes."""

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.outputs import add_overwrite_option, check_outputs

if TYPE_CHECKING:
    from tqdm import tqdm

    from NeuroSAM2Core.training.config.fine_tuning import FineTuneConfig
    from NeuroSAM2Core.training.fine_tune import RunInfo
    from NeuroSAM2Core.training.trainer.loop import Progress

SHOWN = ("loss", "focal", "dice", "iou", "object_score", "prompted_iou", "tracked_iou")
CLIPS_TO_DRAW = 4


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "train",
        help="fine-tune a model on annotated volumes",
        description=(
            "Fine-tunes a model. The run lives in run.folder: stop it (Ctrl-C, SIGTERM) and go on with --resume; the result is the "
            "same as if it had never been stopped."
        ),
    )
    parser.add_argument("config", help="a TOML file, or a preset: quick, meta, neurosam2d")
    parser.add_argument(
        "settings", nargs="*", metavar="key=value", help="settings that win over the file, as in optim.steps=500"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the run in run.folder; begin it if there is none"
    )
    parser.add_argument(
        "--check", action="store_true", help="look at every case and say what is wrong, draw some clips, train nothing"
    )
    add_overwrite_option(parser, what="with --check: replace pictures that are there already")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after this long and go on next time")
    parser.add_argument("--threads", type=int, help="threads to compute with (default: all)")
    parser.add_argument("--workers", type=int, default=1, help="processes that prepare batches (default: 1)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Trains or checks; see `add_parser`."""
    if args.minutes <= 0 or args.workers < 0:
        raise ConfigError(f"--minutes must be above 0 and --workers not below; got {args.minutes:g} and {args.workers}")
    if args.overwrite and not args.check:
        raise ConfigError("--overwrite is for the pictures of --check", hint="a run is gone on with by --resume")
    from NeuroSAM2Core.training.config.fine_tuning import load_config

    config = load_config(args.config, args.settings)
    return check(config, overwrite=args.overwrite) if args.check else fit(config, args)


def fit(config: "FineTuneConfig", args: argparse.Namespace) -> int:
    """Trains with a progress bar."""
    import torch

    from NeuroSAM2Core.checkpoint import resolve_device
    from NeuroSAM2Core.training.fine_tune import case_batches, fine_tune
    from NeuroSAM2Core.training.validation import case_engine_tuner, case_validator

    if args.threads:
        torch.set_num_threads(args.threads)
    screen = ProgressBar()
    result = fine_tune(
        config,
        resolve_device(args.device, trains=True),
        batches=case_batches(config, workers=args.workers),
        validator=lambda process_group: case_validator(config, process_group),
        tune_engine=case_engine_tuner(config),
        resume=args.resume,
        max_seconds=60 * args.minutes,
        on_start=screen.begin,
        on_progress=screen.show,
    )
    screen.end()
    if screen.is_used:
        if result.is_over:
            best = result.folder.best
            print(f"the model is in {result.folder.model}" + (f", the best one in {best}" if best.exists() else ""))
        else:
            print(f"stopped at step {result.step} of {config.optim.steps}; the same command with --resume goes on")
    return 0


def check(config: "FineTuneConfig", *, overwrite: bool = False) -> int:
    """Looks at every case, says what is wrong and draws some clips; pictures that are there are replaced only when asked."""
    from tqdm import tqdm

    from NeuroSAM2Core.checkpoint import load_checkpoint
    from NeuroSAM2Core.training.data import fine_tuning_batches
    from NeuroSAM2Core.training.data.check import check_datasets, num_cases
    from NeuroSAM2Core.training.step.overlay import clip_picture, draw_clips

    clips = Path(config.run.folder) / "clips"
    check_outputs([clip_picture(clips, 1)], overwrite=overwrite)
    with tqdm(total=num_cases(config.data), unit="case", desc="checking", leave=False, disable=None) as bar:
        report = check_datasets(config.data, config.sampling, on_case=lambda: bar.update())
    print(report.as_text(), end="")
    if not report.is_usable:
        return 1
    image_size = config.start.image_size or load_checkpoint(config.start.model).config.image_size
    batches = fine_tuning_batches(
        replace(config.data, on_bad_case="skip"),
        config.sampling,
        image_size=image_size,
        seed=config.run.seed,
        numbers=range(CLIPS_TO_DRAW),
    )
    drawn = draw_clips(clips, batches, seed=config.run.seed, overwrite=overwrite)
    print(f"{len(drawn)} clips with their prompts are drawn in {drawn[0].parent}")
    return 1 if report.num_bad and config.data.on_bad_case == "stop" else 0


class ProgressBar:
    """The progress bar of a run; used on rank 0 only."""

    def __init__(self) -> None:
        self.bar: tqdm[None] | None = None

    @property
    def is_used(self) -> bool:
        """True on rank 0."""
        return self.bar is not None

    def begin(self, info: "RunInfo") -> None:
        """Says what is trained."""
        from tqdm import tqdm

        for part in info.parts:
            fraction = f"{part.trained:,} of {part.total:,}" if part.trained else "frozen"
            print(f"{part.part:8} {fraction}")
        self.bar = tqdm(total=info.total_steps, initial=info.step, unit="step", desc="training", disable=None)

    def show(self, progress: "Progress") -> None:
        """Moves the bar."""
        assert self.bar is not None
        shown = {key: f"{progress.metrics[key]:.3f}" for key in SHOWN}
        rates = {
            key.replace("learning_rate.", "lr."): f"{value:.1e}"
            for key, value in progress.metrics.items()
            if key.startswith("learning_rate.")
        }
        numbers = {"s/step": f"{progress.seconds_per_step:.2f}", "GB": f"{progress.metrics['memory_gb']:.1f}"}
        self.bar.set_postfix(shown | rates | numbers, refresh=False)
        self.bar.update(progress.step - self.bar.n)

    def end(self) -> None:
        """Leaves the bar where it is."""
        if self.bar is not None:
            self.bar.close()
