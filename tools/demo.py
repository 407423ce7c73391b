"""The main job on a real brain: the MNI152 T1 template that the nilearn package carries, outlined from one box.

Usage: python tools/demo.py FOLDER
"""

import sys
import time
from importlib import resources
from pathlib import Path

from NeuroSAM2Core.cli.main import main

BOX = "axial:74:26,26,208,170"


def run(folder: Path) -> int:
    """Segments the brain and says where the results are."""
    folder.mkdir(parents=True, exist_ok=True)
    image = resources.files("nilearn.datasets") / "data" / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
    started = time.perf_counter()
    mask, picture = folder / "brain_mask.nii.gz", folder / "brain.png"
    command = ["segment", str(image), "--box", BOX, "--out", str(mask), "--png", str(picture)]
    print("neurosam2", *command)
    code = main(command)
    print(f"demo took {time.perf_counter() - started:.0f} s")
    if code == 0:
        print("to do it yourself, with the mouse, in a browser: make app")
    return code


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
