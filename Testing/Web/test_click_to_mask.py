"""The road from a click to a whole object, in a real browser, with the real engine and the bundled model."""

import os
import subprocess
import sys

import nibabel
import numpy as np
from NeuroSAM2Web.app_state import example_file

from NeuroSAM2Core.volume import Axis, SlicePlane

SHAPE = (189, 233, 197)
BOX = (0.1, 0.05), (0.9, 0.95)
"""Around the brain, as parts of the axial view; a large object does not end within the range."""
INSIDE = 0.25, 0.35
"""In white matter."""
FIRST, LAST = 86, 102


def draw_box(visit):
    visit.num_changed(*INSIDE)
    visit.take("x", "box")
    visit.drag(*BOX)
    visit.wait_object("ml > 0")
    visit.wait_quiet()


def set_range(visit, first, last):
    visit.page.get_by_label("All slices").uncheck()
    for label, index in (("From slice", first), ("To slice", last)):
        field = visit.page.get_by_label(label)
        field.fill(str(index))
        field.press("Tab")
    visit.page.wait_for_function(
        "([first, last]) => trame.state.get('first') === first && trame.state.get('last') === last", arg=[first, last]
    )


def test_from_the_example_to_a_corrected_object(visit):
    assert visit.state("volumes")[0]["title"] == "MNI152 brain"
    start = visit.index()
    draw_box(visit)
    assert visit.num_changed(*INSIDE, radius=20) > 200
    assert visit.state("tool") == "look"
    (plane,) = visit.app.masks()
    assert plane == SlicePlane(Axis.K, start)
    ml = visit.app.masks()[plane].sum() / 1000
    assert abs(float(visit.object()["ml"]) - ml) < 0.01

    set_range(visit, FIRST, LAST)
    visit.key("a")
    visit.wait_object("done >= 3")
    visit.key("q")
    visit.wait_quiet()
    done = int(visit.object()["done"])
    assert 3 <= done < LAST - FIRST + 1
    assert len(visit.app.masks()) == done
    visit.page.get_by_role("button", name="Continue").click()
    visit.wait_object(f"done === {LAST - FIRST + 1}")
    visit.wait_quiet()
    whole = visit.app.voxels(SHAPE)
    assert abs(float(visit.object()["ml"]) - whole.sum() / 1000) < 0.01

    visit.wheel(3)
    visit.page.wait_for_selector(f"[data-bar=Red][data-index='{start + 3}']")
    visit.wait_drawn()
    visit.num_changed(*INSIDE)
    visit.take("n", "negative")
    visit.click(*INSIDE)
    visit.wait_object("prompts === 2")
    visit.wait_quiet()
    corrected = visit.app.voxels(SHAPE)
    assert (corrected[start + 3] != whole[start + 3]).any()
    assert (corrected[start] == whole[start]).all()
    visit.key("Control+z")
    visit.wait_object("prompts === 1")
    assert (visit.app.voxels(SHAPE) == whole).all()
    visit.key("Control+y")
    visit.wait_object("prompts === 2")
    assert (visit.app.voxels(SHAPE) == corrected).all()

    visit.app.kill_worker()
    visit.page.get_by_role("button", name="Continue").click()
    visit.wait_object(f"done === {LAST - FIRST + 1}")
    visit.wait_quiet()
    again = visit.app.voxels(SHAPE)
    assert (again[[start, start + 3]] == corrected[[start, start + 3]]).all()
    visit.take("p", "positive")
    visit.click(*INSIDE)
    visit.wait_object("prompts === 3")
    visit.wait_quiet()


def test_masks_are_those_of_the_command_line(visit, tmp_path):
    draw_box(visit)
    set_range(visit, FIRST, LAST)
    visit.key("a")
    visit.wait_object(f"done === {LAST - FIRST + 1}")
    visit.wait_quiet()
    (placed,) = visit.app.prompts().boxes
    b = placed.box
    typed = f"k:{placed.index}:{b.row0!r},{b.col0!r},{b.row1!r},{b.col1!r}"
    out = tmp_path / "mask.nii.gz"
    command = [sys.executable, "-m", "NeuroSAM2Core", "segment", str(example_file()), "--box", typed]
    same_threads = os.environ | {"OMP_NUM_THREADS": "1"}  # sums in another order may round a pixel the other way
    command += ["--range", f"{FIRST}:{LAST}", "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True, env=same_threads)
    written = np.asarray(nibabel.load(out).dataobj).transpose(2, 1, 0) > 0
    assert written.any()
    assert (visit.app.voxels(SHAPE) == written).all()
