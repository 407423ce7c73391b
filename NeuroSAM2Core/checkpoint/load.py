"""Loads a model by name or file.

`MODEL.engine.toml`: the engine's choices that were measured for a model, in a small file beside it.

`neurosam2 tune` writes it, `load_checkpoint` puts it into the model's configuration. Whoever deletes it has the model's own choices
back.

The mask refiner that comes with the package, and others of its form.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from importlib import resources
from pathlib import Path

import torch

from NeuroSAM2Core import disk
from NeuroSAM2Core.catalog import SET_HOME, find, models_folder
from NeuroSAM2Core.checkpoint.checkpoint import Checkpoint, first_misfit, shapes_in, write_atomically
from NeuroSAM2Core.checkpoint.official import OFFICIAL_SUFFIXES, read_official
from NeuroSAM2Core.checkpoint.tensor_file import TensorFile
from NeuroSAM2Core.decoding import DecodingError, parse_toml
from NeuroSAM2Core.errors import CheckpointError, ConfigError, is_out_of_memory
from NeuroSAM2Core.model import SAM2, EngineDefaults
from NeuroSAM2Core.model.mask_refiner import MaskRefiner

logger = logging.getLogger(__name__)
SUFFIX = ".engine.toml"


def engine_file(name_or_path: str | Path) -> Path:
    """Where the choices of a model lie, or would lie: beside its file, for a catalog model in the folder of downloaded models.

    Raises:
        CheckpointError: There is no model of that name.
    """
    path = Path(name_or_path)
    if path.suffix in (".safetensors", *OFFICIAL_SUFFIXES):
        return path.with_suffix(SUFFIX)
    return models_folder() / f"{find(str(name_or_path)).name}{SUFFIX}"


def read_engine_file(path: Path) -> EngineDefaults:
    """The choices of a file; none where there is no file.

    Raises:
        ConfigError: It is not TOML, or a key (the nearest known one is named) or value cannot be used.
    """
    try:
        values = parse_toml(disk.read_text(path))
        return EngineDefaults.from_dict(values)
    except FileNotFoundError:
        return EngineDefaults()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except (DecodingError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}", hint=HINT) from error
    except ConfigError as error:
        raise ConfigError(f"{path.name}: {error.message}", hint=HINT) from error


def write_engine_file(path: Path, choices: EngineDefaults, comments: Sequence[str] = ()) -> None:
    """Writes the choices, atomically.

    Args:
        path: From `engine_file`, or another place.
        choices: What was measured.
        comments: Lines for people, put at the top.

    Raises:
        CheckpointError: It cannot be written; what was there before still is.
    """
    lines = [f"# {line}".rstrip() for line in comments]
    for name, value in choices.chosen().items():
        text = (
            str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else repr(value)
        )
        lines.append(f"{name} = {text}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"cannot write {path}: {error.strerror or error}", hint=f"choose another place with --out, or {SET_HOME}"
        ) from error
    write_atomically(path, ("\n".join(lines) + "\n").encode())


HINT = "correct the file or delete it; `neurosam2 tune` writes a new one"
REFINER_HINT = "install the package again"


@lru_cache(maxsize=4)
def bundled_refiner(device: torch.device) -> MaskRefiner:
    """The package's own refiner on a device; it is read once."""
    path = Path(str(resources.files("NeuroSAM2Core") / "weights" / "mask_refiner.safetensors"))
    return read_refiner(path).to(device)


def read_refiner(path: Path) -> MaskRefiner:
    """A refiner from a file, in eval mode, as float32 and without gradients.

    Raises:
        CheckpointError: The file is missing, damaged, or holds something else.
    """
    refiner = MaskRefiner()
    try:
        with disk.extended(path).open("rb", buffering=0) as file:
            state = {name: tensor.float() for name, tensor in TensorFile(file).tensors()}
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} holds no mask refiner: {error}", hint=REFINER_HINT) from error
    if misfit := first_misfit(shapes_in(state), shapes_in(refiner.state_dict())):
        raise CheckpointError(f"{path} holds no mask refiner: {misfit}", hint=REFINER_HINT)
    refiner.load_state_dict(state)
    return refiner.eval().requires_grad_(False)


def load_model(name_or_path: str | Path, *, device: str = "auto", image_size: int | None = None) -> SAM2:
    """A model in eval mode.

    Args:
        name_or_path: A catalog name, a file of ours (.safetensors) or an official one (.pt, .pth, .ckpt).
        device: auto, cpu, cuda or mps.
        image_size: Side of the model's input, if not the model's own; a multiple of 32.

    Raises:
        CheckpointError: There is no such model, or its file cannot be used.
        ConfigError: There is no such device, or the choices that lie beside the model cannot be used.
    """
    place = resolve_device(device)
    return ready_model(load_checkpoint(name_or_path), place, image_size=image_size)


def ready_model(checkpoint: Checkpoint, device: torch.device, *, image_size: int | None = None) -> SAM2:
    """The model of a checkpoint on a device, in eval mode; see `load_model`.

    Raises:
        CheckpointError: The weights are not those of the architecture.
        ConfigError: The image size does not fit the model.
    """
    if image_size is not None:
        checkpoint = replace(checkpoint, config=replace(checkpoint.config, image_size=image_size))
    return checkpoint.build_model().to(device)


def load_checkpoint(name_or_path: str | Path, *, hashed: bool = False) -> Checkpoint:
    """The checkpoint of a catalog name or a file, with the choices that `neurosam2 tune` left beside it; see `load_model`.

    Args:
        name_or_path: As for `load_model`.
        hashed: Also find the SHA-256 of the bytes that are read.

    Raises:
        CheckpointError: There is no such model, or its file cannot be used.
        ConfigError: The file of choices cannot be used.
    """
    checkpoint = _checkpoint(name_or_path, hashed=hashed)
    checkpoint.check_fit()
    try:
        path = engine_file(name_or_path)
    except ConfigError:  # without a home folder there is no such file
        return checkpoint
    choices = read_engine_file(path)
    if not choices.chosen():
        return checkpoint
    logger.info("the engine's choices are those of %s", path.name)
    config = checkpoint.config
    return replace(checkpoint, config=replace(config, engine=config.engine.updated(choices)))


def _checkpoint(name_or_path: str | Path, *, hashed: bool) -> Checkpoint:
    path = Path(name_or_path)
    if path.suffix == ".safetensors":
        return Checkpoint.load(path, hashed=hashed)
    if path.suffix in OFFICIAL_SUFFIXES:
        return read_official(path, hashed=hashed)
    if disk.is_file(path):
        raise CheckpointError(
            f"{path.name} is not a model file", hint=f"expected .safetensors, {' or '.join(OFFICIAL_SUFFIXES)}"
        )
    entry = find(str(name_or_path))
    installed = entry.installed()
    if not installed.exists():
        raise CheckpointError(
            f"the model {entry.name} is not on this machine", hint=f"fetch it with `neurosam2 download {entry.name}`"
        )
    checkpoint = Checkpoint.load(installed, hashed=hashed)
    review_iou_threshold = (
        checkpoint.config.review_iou_threshold if entry.review_iou_threshold is None else entry.review_iou_threshold
    )
    config = replace(
        checkpoint.config,
        use_appearance_model=entry.use_appearance_model,
        adaptive_crops=entry.adaptive_crops,
        review_iou_threshold=review_iou_threshold,
    )
    return replace(checkpoint, config=config)


def resolve_device(device: str, *, trains: bool = False) -> torch.device:
    """The device that a person means; `auto` is the fastest that is there and can run a model.

    Args:
        device: auto, cpu, cuda or mps.
        trains: It must be able to train one, too.

    Raises:
        ConfigError: It is unknown, not there, or cannot run a model.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        for name in (name for name, is_there in there.items() if is_there):
            problem = _problem_of(name, trains=trains)
            if not problem:
                return torch.device(name)
            logger.warning("the CPU is used, since the %s device cannot %s: %s", name, _use(trains=trains), problem)
    if device not in (*there, "auto"):
        raise ConfigError(f"there is no device {device!r}; expected auto, cpu, cuda or mps")
    if not there[device]:
        raise ConfigError(f"this machine has no {device} device that PyTorch can use", hint="use --device auto or cpu")
    if problem := _problem_of(device, trains=trains):
        raise ConfigError(
            f"the {device} device cannot {_use(trains=trains)} with torch {torch.__version__}: {problem}",
            hint="use --device cpu, or install a newer PyTorch",
        )
    return torch.device(device)


def _problem_of(device: str, *, trains: bool) -> str:
    """What stands in the way of a device; empty where nothing does."""
    if device == "cpu":
        return ""
    if device == "cuda":  # has every operation; but PyTorch may have been built for other cards
        try:
            torch.ones(1, device=device).add(1).item()
        except RuntimeError as error:
            return "" if is_out_of_memory(error) else str(error).strip().splitlines()[0]
        return ""
    from NeuroSAM2Core.checkpoint.device_probe import probed

    return probed(device).problem(trains=trains)


def _use(*, trains: bool) -> str:
    return "train this model" if trains else "run this model"
