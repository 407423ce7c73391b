"""`MODEL.engine.toml`: the engine's choices that were measured for a model, in a small file beside it.

`neurosam2 tune` writes it, `load_checkpoint` puts it into the model's configuration. Whoever deletes it has the model's own choices back.
"""

from collections.abc import Sequence
from pathlib import Path

from NeuroSAM2Core import disk
from NeuroSAM2Core.catalog import SET_HOME, find, models_folder
from NeuroSAM2Core.checkpoint.checkpoint import write_atomically
from NeuroSAM2Core.checkpoint.official import OFFICIAL_SUFFIXES
from NeuroSAM2Core.decoding import DecodingError, parse_toml
from NeuroSAM2Core.errors import CheckpointError, ConfigError
from NeuroSAM2Core.model import EngineDefaults

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
