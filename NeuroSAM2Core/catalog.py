"""The models that can be named: what they are, where they are published, under which licence, and where they are kept here.

Without torch, so that user interfaces can list them.
"""

import difflib
import os
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from NeuroSAM2Core.errors import CheckpointError, ConfigError

SET_HOME = "set NEUROSAM2_HOME to a folder that you may write to"


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogEntry:
    """One known model."""

    name: str
    description: str
    licence: str
    bundled: str = ""
    """File name inside the package; empty for models that are downloaded."""
    url: str = ""
    sha256: str = ""
    """Stated by a public source; empty where none is known."""
    sha256_source: str = ""
    num_bytes: int = 0
    """Of the published file; 0 where no public source states it."""
    architecture: str = ""
    """Of `model.PRESETS`; a file of another one is not this model. Empty where any will do."""
    image_size: int | None = None
    """Side of the input the model was trained for; the architecture's own if None."""
    use_appearance_model: bool = False
    """Measured; see `SAM2Config.use_appearance_model`."""
    adaptive_crops: bool = False
    """Measured; see `SAM2Config.adaptive_crops`."""
    review_iou_threshold: float | None = None
    """Measured; see `SAM2Config.review_iou_threshold`."""

    @property
    def file_name(self) -> str:
        """Name of the published file."""
        return self.bundled or PurePosixPath(urlsplit(self.url).path).name

    def installed(self, folder: Path | None = None) -> Path:
        """Where the ready-to-use file is, or would be after a download."""
        if self.bundled:
            return _bundled_folder() / self.bundled
        return (folder or models_folder()) / f"{self.name}.safetensors"


@cache
def _bundled_folder() -> Path:
    return Path(str(resources.files("NeuroSAM2Core") / "weights"))


def models_folder() -> Path:
    """Where downloaded models are kept: `$NEUROSAM2_HOME`, or the user's cache.

    Raises:
        ConfigError: Neither is known.
    """
    if home := os.environ.get("NEUROSAM2_HOME"):
        return Path(home) / "models"
    cache_home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    try:
        cache = Path(cache_home) if cache_home else Path.home() / ".cache"
    except RuntimeError as error:
        raise ConfigError("this user has no home folder", hint=SET_HOME) from error
    return cache / "neurosam2" / "models"


def logs_folder() -> Path:
    """Where programs that went wrong leave their logs: beside `models_folder`."""
    return models_folder().parent / "logs"


@cache
def catalog() -> dict[str, CatalogEntry]:
    """All known models by name."""
    text = (resources.files("NeuroSAM2Core") / "catalog.toml").read_text(encoding="utf-8")
    return {name: CatalogEntry(name=name, **entry) for name, entry in tomllib.loads(text).items()}


def find(name: str) -> CatalogEntry:
    """The model of that name.

    Raises:
        CheckpointError: There is none.
    """
    if name not in catalog():
        near = difflib.get_close_matches(name, catalog(), n=1)
        raise CheckpointError(
            f"there is no model {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
            hint=f"give a file, or one of: {', '.join(catalog())}",
        )
    return catalog()[name]
