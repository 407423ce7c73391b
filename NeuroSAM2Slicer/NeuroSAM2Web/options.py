"""How the app is started. Plain values; no library for drawing or serving is needed to make them."""

from dataclasses import dataclass
from pathlib import Path

from NeuroSAM2Core.catalog import models_folder


@dataclass(frozen=True, kw_only=True, slots=True)
class AppOptions:
    """The options of the app."""

    image: Path | None = None
    """A volume, or a saved scene; the example if None."""
    port: int = 0
    """0 for any that is free."""
    folders: tuple[Path, ...] = ()
    """Files in them may be read and written, besides the image's own folder and the working directory."""
    opens_browser: bool = True
    home: Path = models_folder().parent / "app"
    """Where settings are kept, and work that was not saved."""
