"""The example: the MNI152 T1 brain at 1 mm that the nilearn package carries; a head made on the spot where nilearn is not."""

import importlib.util
from pathlib import Path

import slicer
from NeuroSAM2Lib.headless.application import HeadlessApplication
from NeuroSAM2Lib.scene.practice_volume import add_practice_volume
from NeuroSAM2Lib.scene.volume_nodes import add_volume

from NeuroSAM2Core.volume import Volume

FILE = Path("datasets", "data", "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz")
NAME = "MNI152 brain"


def example_file() -> Path | None:
    """Where the brain is on this machine; None where it is not. Nothing of nilearn is imported."""
    found = importlib.util.find_spec("nilearn")
    folders = [] if found is None else list(found.submodule_search_locations or ())
    return next((path for path in (Path(folder) / FILE for folder in folders) if path.is_file()), None)


def add_example(app: HeadlessApplication) -> slicer.vtkMRMLScalarVolumeNode:
    """Puts the example into the scene."""
    path = example_file()
    return add_practice_volume(app.scene) if path is None else add_volume(app.scene, Volume.read(path), NAME)
