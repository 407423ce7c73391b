"""Trains `nano` on anatomy in chunks of a few minutes, for GPUs that are lent for a short time.

Usage: python tools/gpu_pretrain.py RUN [key=value ...] [--minutes 9] [--export OUT.safetensors] [--parts FOLDER]

Each chunk goes on exactly where the last one stopped, and the whole call ends within the minutes: heads that the bank lacks are made first,
by all processes, and what is left goes to training. Batches come from worker processes on all cores but one. Where a machine returns only
small files, --parts leaves the newest checkpoint in a folder, split into files of --part-mb; the next call, on another machine, puts it
together again from there.
"""

import argparse
import json
import os
import time
from pathlib import Path

import torch

from NeuroSAM2Core.checkpoint import resolve_device
from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.outputs import add_overwrite_option, check_outputs
from NeuroSAM2Core.synth.anatomy import build_bank
from NeuroSAM2Core.training.config.pretraining import AnatomyConfig, find_recipe
from NeuroSAM2Core.training.pretrain import BANK, pretrain, provenance_of
from NeuroSAM2Core.training.trainer.loop import Progress
from NeuroSAM2Core.training.trainer.run_folder import CHECKPOINTS, CONFIG_FILE

RESERVE_S = 40.0
"""Seconds kept for the step that is running when time is up, the checkpoint and the export."""
LEAST_TRAINING_S = 30.0


def main() -> None:
    """Runs one chunk and prints what it did as a line of JSON."""
    began = time.monotonic()
    arguments = parse_arguments()
    if arguments.export:
        read = [arguments.start_from] if arguments.start_from else []
        check_outputs([arguments.export], inputs=read, overwrite=arguments.overwrite)
    config = find_recipe("anatomy", arguments.settings)
    assert isinstance(config, AnatomyConfig)
    device = resolve_device(arguments.device, trains=True)
    bank = arguments.bank or arguments.run / BANK
    if arguments.parts:
        join_parts(arguments.parts, arguments.run)
    build_bank(bank, config.heads, workers=max(1, arguments.workers), on_head=lambda n: print(f"head {n}", flush=True))
    bank_s = time.monotonic() - began
    left_s = 60 * arguments.minutes - bank_s - RESERVE_S
    if left_s < LEAST_TRAINING_S:
        raise ConfigError(
            f"no time is left to train: the heads took {bank_s:.0f} s", hint="--minutes higher, or run it again"
        )

    def show(progress: Progress) -> None:
        numbers = {
            key: round(progress.metrics[key], 3) for key in ("loss", "prompted_iou", "tracked_iou", "corrected_iou")
        }
        print(f"step {progress.step}: {progress.seconds_per_step:.3f} s per step, {numbers}", flush=True)

    state = pretrain(
        config,
        arguments.run,
        device=device,
        max_seconds=left_s,
        workers=arguments.workers,
        start_from=arguments.start_from,
        bank=bank,
        on_progress=show,
    )
    if arguments.export:
        checkpoint = state.checkpoint(provenance_of(config, state), with_training=False)
        checkpoint.save(arguments.export, half=True)
    if arguments.parts:
        split_newest(arguments.run, arguments.parts, part_mb=arguments.part_mb)
    summary = {
        "step": state.step,
        "of": config.total_steps,
        "bank_s": round(bank_s, 1),
        "total_s": round(time.monotonic() - began, 1),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else device.type,
        "memory_gb": round(torch.cuda.max_memory_allocated() / 2**30, 2) if device.type == "cuda" else None,
    }
    print(json.dumps(summary))


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="where the run lives")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="settings that win over the recipe's")
    parser.add_argument("--minutes", type=float, default=9.0, help="the whole call ends within this time")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1), help="processes")
    parser.add_argument("--start-from", type=Path, metavar="MODEL.safetensors", help="instead of nano")
    parser.add_argument("--bank", type=Path, help="where the heads are kept (default: in the run's folder)")
    parser.add_argument("--export", type=Path, metavar="OUT.safetensors", help="the model so far, as float16")
    parser.add_argument("--parts", type=Path, metavar="FOLDER", help="where the newest checkpoint is left in parts")
    parser.add_argument("--part-mb", type=float, default=14.0, help="largest part, MB")
    add_overwrite_option(parser)
    return parser.parse_args()


def split_newest(run: Path, folder: Path, *, part_mb: float) -> None:
    """Leaves the newest checkpoint of a run and its settings in a folder, in parts that `join_parts` puts together."""
    newest = max((run / CHECKPOINTS).glob("step-*.safetensors"))
    content, size = newest.read_bytes(), int(part_mb * 1e6)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("step-*.part*"):
        old.unlink()
    for number, start in enumerate(range(0, len(content), size)):
        (folder / f"{newest.name}.part{number:02d}").write_bytes(content[start : start + size])
    (folder / CONFIG_FILE).write_bytes((run / CONFIG_FILE).read_bytes())


def join_parts(folder: Path, run: Path) -> None:
    """Puts a checkpoint that was left in parts into a run's folder, unless there is one as new."""
    parts = sorted(folder.glob("step-*.part*"))
    if not parts:
        return
    target = run / CHECKPOINTS / parts[0].name.partition(".part")[0]
    if any(path.name >= target.name for path in target.parent.glob("step-*.safetensors")):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"".join(part.read_bytes() for part in parts))
    (run / CONFIG_FILE).write_bytes((folder / CONFIG_FILE).read_bytes())


if __name__ == "__main__":
    main()
