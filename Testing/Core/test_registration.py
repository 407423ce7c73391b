"""The next scan of the same person: registration finds turn and shift, and what is outlined follows."""

import sys

import numpy as np
import pytest
import torch
from scipy import ndimage

from NeuroSAM2Core.cli.main import main
from NeuroSAM2Core.errors import Cancelled, ConfigError, DataError
from NeuroSAM2Core.labels import LabelEntry, LabelTable, read_table, write_table
from NeuroSAM2Core.measures import dice
from NeuroSAM2Core.registration import Registration, carried_labels, prompts_of, register, thinned
from NeuroSAM2Core.synth.brain import OBJECTS, LabelMap, head_labels, render
from NeuroSAM2Core.synth.frame import random_frame
from NeuroSAM2Core.volume import Axis, Volume
from Testing.Support.scenes import turned

SIZE = (40, 50, 45)
SPACING = np.diag([-4.0, -4.0, 4.0, 1.0])
TURN = turned(angles=(0.12, -0.08, 0.1), origin=(11.0, -7.0, 5.0))
"""From the later scan to the earlier one, about 10 degrees and 14 mm."""


@pytest.fixture(scope="module")
def scans():
    """An earlier scan with its labels, and the later one, turned, shifted, of another contrast and on a grid of its own."""
    generator = torch.Generator().manual_seed(4)
    frame = random_frame(SIZE, generator)
    labels = head_labels(frame, generator)
    present = set(torch.unique(labels).tolist())
    anatomy = LabelMap(labels, tuple(one for one in OBJECTS if one.labels & present), True)
    first, second = (render(anatomy, torch.Generator().manual_seed(seed)).image.numpy() for seed in (1, 2))
    earlier_matrix = SPACING.copy()
    earlier_matrix[:3, 3] = -SPACING[:3, :3] @ (np.array(SIZE[::-1]) / 2)
    later_matrix = turned(signs=(-1, -1, 1), spacing=(3.6, 3.6, 4.5), angles=(0.05, 0, 0))
    later_shape = (38, 56, 52)
    later_matrix[:3, 3] = -later_matrix[:3, :3] @ (np.array(later_shape[::-1]) / 2)
    to_earlier = np.linalg.inv(earlier_matrix) @ TURN @ later_matrix
    rows = to_earlier[:3, :3][::-1, ::-1], to_earlier[:3, 3][::-1]

    def moved(voxels, order):
        return ndimage.affine_transform(voxels, *rows, output_shape=later_shape, order=order)

    k, j, i = np.indices(SIZE)
    mask = (((k - 22) / 6) ** 2 + ((j - 20) / 8) ** 2 + ((i - 28) / 7) ** 2 < 1).astype(np.uint8)
    first, second = (np.where(mask, 1.3 * one.max(), one).astype(np.float32) for one in (first, second))
    return (
        Volume(first, earlier_matrix, name="earlier"),
        Volume(mask * np.uint8(5), earlier_matrix, name="labels"),
        Volume(moved(second, 1), later_matrix, name="later"),
        moved(mask, 0) > 0,
    )


@pytest.fixture(scope="module")
def found(scans):
    done = []
    registration = register(thinned(scans[0]), thinned(scans[2]), report=done.append)
    assert done == sorted(done)
    assert done[-1] == 1
    return registration


def test_turn_and_shift_are_found_through_another_contrast(found, scans):
    corners = np.array(np.meshgrid([-60, 60], [-70, 70], [-60, 60], [1])).reshape(4, -1)
    assert np.linalg.norm(((found.matrix - TURN) @ corners)[:3], axis=0).max() < 6.0
    assert found.similarity > found.similarity_before
    assert not found.is_doubtful
    assert found.angle_degrees == pytest.approx(10, abs=2)
    assert found.shift_mm(np.zeros(3)) == pytest.approx(14, abs=2)
    assert Registration.from_text(found.to_text()) == found


def test_what_is_outlined_lies_on_the_later_scan(found, scans):
    _, labels, later, truth = scans
    carried = carried_labels(labels, later, found)
    assert set(np.unique(carried)) == {0, 5}
    assert dice(carried == 5, truth) > 0.85


def test_the_model_answers_anew_on_the_later_scan(scans, tmp_path, capsys):
    earlier, labels, later, truth = scans
    for name, volume in (("earlier", earlier), ("labels", labels), ("later", later)):
        volume.write(tmp_path / f"{name}.nii.gz")
    write_table(tmp_path / "labels.tsv", LabelTable((LabelEntry(5, "part", (9, 8, 7)),)))
    earlier, later_path, labels, out = (
        str(tmp_path / f"{name}.nii.gz") for name in ("earlier", "later", "labels", "out")
    )
    arguments = ["follow", earlier, later_path, "--labels", labels, "--out", out]
    assert main([*arguments, "--png", str(tmp_path / "check.png")]) == 0
    said = capsys.readouterr().out
    assert "degrees" in said
    answer = Volume.read(out)
    np.testing.assert_allclose(answer.ijk_to_ras, later.ijk_to_ras, atol=1e-4)
    assert set(np.unique(answer.voxels)) == {0, 5}
    assert dice(answer.voxels == 5, truth) > 0.85
    assert read_table(tmp_path / "out.tsv").entries[0].name == "part"
    assert (tmp_path / "check.png").stat().st_size > 1000
    assert main(arguments) == 2


def test_registration_alone_is_written_for_others(scans, tmp_path, capsys):
    for name, volume in (("earlier", scans[0]), ("later", scans[2])):
        volume.write(tmp_path / f"{name}.nii.gz")
    path = tmp_path / "a.json"
    images = [str(tmp_path / f"{name}.nii.gz") for name in ("earlier", "later")]
    assert main(["follow", *images, "--registration-only", str(path)]) == 0
    assert np.abs(Registration.from_text(path.read_text(encoding="utf-8")).matrix - TURN)[:3, 3].max() < 4
    assert "progress 1.00" in capsys.readouterr().out


def test_registration_stops_when_it_is_asked_to(scans):
    seen = []

    def is_cancelled():
        return len(seen) > 5

    with pytest.raises(Cancelled):
        register(scans[0], scans[2], report=seen.append, is_cancelled=is_cancelled)
    assert len(seen) < 20


def test_images_with_nothing_in_them_and_a_missing_package_are_notified(scans, monkeypatch):
    flat = Volume(np.zeros((9, 9, 9), np.float32), np.eye(4), name="flat")
    with pytest.raises(DataError, match="flat is the same everywhere"):
        register(flat, scans[2])
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(ConfigError, match="needs SimpleITK"):
        register(scans[0], scans[2])


def test_prompts_are_boxes_on_few_slices_and_masks_where_a_box_says_little():
    mask = np.zeros((20, 30, 30), bool)
    mask[2:18, 5:15, 8:20] = True
    carried = prompts_of(mask, Axis.K)
    assert [one.index for one in carried.prompts.boxes] == [3, 6, 10, 13, 16]
    box = carried.prompts.boxes[0].box
    assert (box.row0, box.col0, box.row1, box.col1) == (4, 7, 15, 20)
    slanted = np.eye(30, dtype=bool)[None].repeat(4, axis=0)
    thin = prompts_of(slanted, Axis.K)
    assert thin.prompts.kept == {1, 3}
    assert {plane.index for plane in thin.masks} == {1, 3}
    with pytest.raises(DataError, match="is empty"):
        prompts_of(0 * mask > 0, Axis.K)
