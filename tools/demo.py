"""The main job: the brain and a deep nucleus of a real brain, and the brain of a whole head with skull and scalp, each from one box.

The real brain is the MNI152 T1 template that the nilearn package carries. The head is synthetic: the label map of an individual that no
training used, from the packages of the extra `[pretrain]`, dressed in skull, fat and skin. It takes half a minute to make, once.

Usage: python tools/demo.py FOLDER
"""

import sys
import time
from importlib import resources
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from NeuroSAM2Core import Volume  # first: it says how threads wait before torch is loaded
from NeuroSAM2Core.cli.main import main
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.prompts import box_from_mask
from NeuroSAM2Core.synth.anatomy.contrast import render_typical
from NeuroSAM2Core.synth.anatomy.heads import build_head
from NeuroSAM2Core.synth.anatomy.labels import BRAIN, CEREBELLUM, CEREBRUM, is_in

BRAIN_BOX = "axial:74:26,26,208,170"
THALAMUS_BOX = "coronal:114:68,76,91,98"
HEAD_WITH_SKULL = 2
"""Of the heads of held-out donors; a quarter of all is stripped of its skull."""


def run(folder: Path) -> int:
    """Outlines three objects and says where the results are."""
    folder.mkdir(parents=True, exist_ok=True)
    template = resources.files("nilearn.datasets") / "data" / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
    started = time.perf_counter()
    code = segment(str(template), BRAIN_BOX, folder, "brain") or segment(
        str(template), THALAMUS_BOX, folder, "thalamus"
    )
    try:
        head, box, slices = whole_head(folder)
    except DataError as error:
        print(f"the whole head is left out: {error}")
    else:
        code = code or segment(str(head), box, folder, "head_brain", "--range", slices)
    print(f"demo took {time.perf_counter() - started:.0f} s")
    if code == 0:
        print("to do it yourself, with the mouse, in a browser: make app")
    return code


def segment(image: str, box: str, folder: Path, name: str, *more: str) -> int:
    """One object from one box: `name`_mask.nii.gz and `name`.png in the folder."""
    files = ["--out", str(folder / f"{name}_mask.nii.gz"), "--png", str(folder / f"{name}.png")]
    command = ["segment", image, "--box", box, *more, *files, "--overwrite"]
    print("neurosam2", *command)
    return main(command)


def whole_head(folder: Path) -> tuple[Path, str, str]:
    """The image of a whole head, a tight box around its brain on the slice where that is largest, and from where to where it goes.

    The range is given since the small model would follow the brain into the face.

    Raises:
        DataError: The packages with label maps are not installed.
    """
    image = folder / "head.nii.gz"
    labels = np.array(build_head(folder / "heads", HEAD_WITH_SKULL, held_out=True).labels)
    if not image.exists():
        picture = render_typical(labels, "T1", np.random.default_rng(5))
        Volume(np.clip(1000 * picture, 0, 32000).astype(np.int16), np.eye(4), name="head").write(image)
    brain = is_in(labels, *BRAIN)
    number = int(brain.sum(axis=(1, 2)).argmax())
    box = box_from_mask(brain[number])
    assert box is not None
    ends = np.flatnonzero(is_in(labels, *CEREBRUM, *CEREBELLUM).any(axis=(1, 2)))[[0, -1]]
    slices = f"{ends[0]}:{ends[1]}"
    return image, f"k:{number}:{box.row0:g},{box.col0:g},{box.row1:g},{box.col1:g}", slices


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
