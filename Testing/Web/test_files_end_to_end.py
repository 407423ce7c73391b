"""Open, save, close, open again and go on, in a real browser."""

import json

import nibabel
import numpy as np
import pytest
from NeuroSAM2Lib.scene.segments.layers import Layer

from NeuroSAM2Core import Volume
from Testing.Support.node_files import read_segmentation
from Testing.Support.scenes import make_app
from Testing.Support.volumes import UPRIGHT, ball_volume
from Testing.Web.file_helpers import download, open_file, save, upload, wait_problem, wait_volume
from Testing.Web.visit import AppProcess, Visit

NIFTI, SEGMENTATION, SCENE = "NIfTI labels", "names and colours", "Everything"
SHAPE = (24, 48, 48)


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    ball_volume(SHAPE)[0].write(folder / "T1.nii.gz")
    return folder


@pytest.fixture
def bench(browser, home):
    """The app on a small image."""
    with AppProcess(home, str(home / "T1.nii.gz")) as app, Visit(browser, app) as visiting:
        visiting.wait_ready()
        wait_volume(visiting, "T1")
        yield visiting
        assert not visiting.errors, visiting.errors


def outline(visit):
    """A box on the middle slice, carried through all others, corrected by a click outside."""
    visit.take("x", "box")
    visit.drag((0.15, 0.18), (0.85, 0.82))
    visit.wait_object("ml > 0")
    visit.wait_quiet()
    visit.key("a")
    visit.wait_object("done >= 12")
    visit.wait_quiet()
    visit.take("n", "negative")
    visit.click(0.1, 0.1)
    visit.wait_object("prompts === 2")
    visit.wait_quiet()


def labels(path):
    return np.asarray(nibabel.load(path).dataobj).transpose(2, 1, 0)


def same_object(one, other):
    return {key: one[key] for key in ("ml", "done", "confirmed", "prompts")} == {
        key: other[key] for key in ("ml", "done", "confirmed", "prompts")
    }


def test_saved_reopened_in_another_process_and_gone_on_with(browser, home, bench, tmp_path):
    outline(bench)
    there, before = bench.app.voxels(SHAPE), bench.object()
    mask = save(bench, NIFTI, "mask.nii.gz")
    np.testing.assert_array_equal(labels(mask), there)
    np.testing.assert_allclose(nibabel.load(mask).affine, nibabel.load(home / "T1.nii.gz").affine)
    methods = json.loads((home / "mask.nii.gz.json").read_text(encoding="utf-8"))
    (told,) = methods["objects"]
    assert [len(told["boxes"]), [point["positive"] for point in told["points"]]] == [1, [False]]
    assert told["volume_ml"] == pytest.approx(float(before["ml"]), abs=0.01)
    segmentation = read_segmentation(make_app(tmp_path).scene, save(bench, SEGMENTATION, "objects.seg.nrrd"), "again")
    layer = Layer(segmentation, segmentation.GetSegmentation().GetNthSegmentID(0))
    assert (layer.voxels == layer.label).sum() == there.sum()
    scene = save(bench, SCENE, "work.mrb")

    with AppProcess(home, str(scene)) as app, Visit(browser, app) as again:
        again.wait_object("ml > 0")
        again.wait_ready()
        again.wait_quiet()
        assert same_object(again.object(), before)
        assert again.index() == bench.index()
        np.testing.assert_array_equal(labels(save(again, NIFTI, "again.nii.gz")), there)
        assert json.loads((home / "again.nii.gz.json").read_text(encoding="utf-8"))["objects"] == methods["objects"]
        again.take("n", "negative")
        again.click(0.9, 0.9)
        again.wait_object("prompts === 3")
        again.wait_quiet()
        changed = labels(save(again, NIFTI, "corrected.nii.gz"))
        others = np.arange(SHAPE[0]) != again.index()
        np.testing.assert_array_equal(changed[others], there[others])
        again.key("Control+z")
        again.wait_object("prompts === 2")
        assert not again.errors, again.errors


def test_a_scene_is_opened_over_another_only_after_a_yes(bench, home):
    outline(bench)
    before = bench.object()
    scene = save(bench, SCENE, "work.mrb")
    bench.key("o")
    bench.take("p", "positive")
    bench.click(0.5, 0.5)
    bench.wait_object("prompts === 1", "object 2")
    bench.wait_quiet()
    open_file(bench, scene)
    dialog = bench.page.get_by_role("dialog").filter(has_text="what was not saved is lost")
    dialog.get_by_role("button", name="No").click()
    bench.page.wait_for_function("trame.state.get('files_question') === ''")
    assert bench.object("object 2")["prompts"] == "1"
    open_file(bench, scene)
    dialog.get_by_role("button", name="Open it").click()
    bench.page.wait_for_function("trame.state.get('objects').length === 1")
    bench.wait_quiet()
    assert same_object(bench.object(), before)
    bench.wheel(1)
    bench.wait_drawn()
    assert [one["title"] for one in bench.state("volumes")] == ["T1"]


def test_files_go_to_the_browser_and_come_from_it(bench, home, tmp_path):
    outline(bench)
    there, done = bench.app.voxels(SHAPE), bench.object()["done"]
    kept = tmp_path / "kept"
    kept.mkdir()
    mask, table, methods = download(bench, NIFTI, kept)
    np.testing.assert_array_equal(labels(mask), there)
    assert table.read_text(encoding="utf-8").splitlines()[1].startswith("1\tobject 1\t#")
    assert json.loads(methods.read_text(encoding="utf-8"))["objects"][0]["name"] == "object 1"
    assert not list(home.glob("*segmentation*"))
    segmentation, _ = download(bench, SEGMENTATION, kept)
    (scene,) = download(bench, SCENE, kept)

    Volume(np.arange(6 * 20 * 20, dtype=np.int16).reshape(6, 20, 20), UPRIGHT).write(kept / "other.nii.gz")
    upload(bench, kept / "other.nii.gz")
    wait_volume(bench, "other")
    upload(bench, scene)
    wait_volume(bench, "T1")
    bench.wait_object(f"done === {done}")
    upload(bench, segmentation)
    bench.page.wait_for_function("trame.state.get('segmentations').length === 2")
    bench.wait_quiet()
    np.testing.assert_array_equal(labels(save(bench, NIFTI, "from_upload.nii.gz")), there)


def test_what_cannot_be_opened_or_written_is_reported_and_the_work_goes_on(bench, home, tmp_path):
    (home / "damaged.nii.gz").write_bytes(b"nothing of the kind")
    (home / "damaged.seg.nrrd").write_bytes(b"NRRD0004\ntype: short\n\n")
    (home / "damaged.mrb").write_bytes(b"PK")
    for name in ("damaged.nii.gz", "damaged.seg.nrrd", "damaged.mrb"):
        open_file(bench, home / name)
        wait_problem(bench, f"{name} cannot be")
    upload(bench, home / "damaged.seg.nrrd")
    wait_problem(bench, "damaged.seg.nrrd cannot be read")
    assert ["400" in error for error in bench.errors] == [True]  # the browser's own note of the refusal
    bench.errors.clear()
    bench.page.get_by_role("button", name="Save Ctrl+S").click()
    card = bench.page.locator("[data-test=save]")
    card.get_by_label("Folder").fill("/etc")
    card.get_by_role("button", name="Save into the folder").click()
    wait_problem(bench, "outside the folders that the app may use")
    card.get_by_label("Folder").fill(str(home))
    card.get_by_label("File name").fill("T1.nii.gz")
    card.get_by_role("button", name="Save into the folder").click()
    card.get_by_text("Already there: T1.nii.gz").wait_for()
    (home / "kept.nii.gz.json").write_text("mine", encoding="utf-8")
    card.get_by_label("File name").fill("kept.nii.gz")
    card.get_by_role("button", name="Save into the folder").click()
    card.get_by_text("Already there: kept.nii.gz.json").wait_for()
    card.get_by_label("File name").fill("../escaped.nii.gz")
    card.get_by_role("button", name="Download").click()
    wait_problem(bench, "no name for a file")
    assert (home / "kept.nii.gz.json").read_text(encoding="utf-8") == "mine"
    card.get_by_role("button", name="Cancel").click()
    card.wait_for(state="hidden")
    outline(bench)
