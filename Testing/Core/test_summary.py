"""The report of one page and the contact sheet: what they show, and that a browser prints the page on one sheet."""

import csv
import io
import json

import numpy as np
import pytest

from NeuroSAM2Core import Volume
from NeuroSAM2Core.cli.main import main
from NeuroSAM2Core.measures import ObjectMask, comparing, finished, label_difference, measuring_intensities
from NeuroSAM2Core.summary import ContactSheet, ShownObject, drawing_sheet
from NeuroSAM2Core.volume import Axis, IntensityWindow
from Testing.Support.cases import two_balls

Image = pytest.importorskip("PIL.Image")
RED, BLUE = (255, 0, 0), (0, 0, 255)


def drawn(sheet):
    return np.asarray(Image.open(io.BytesIO(finished(drawing_sheet(sheet)))).convert("RGB")).astype(int)


def sheet_of(image, labels, **more):
    shown = [
        ShownObject(name, colour, ObjectMask.of(labels.voxels == value))
        for name, colour, value in (("one", RED, 1), ("two", BLUE, 2))
    ]
    return ContactSheet(image=image, window=IntensityWindow(0, 500), axis=Axis.K, objects=shown, **more)


def test_a_sheet_shows_the_asked_number_of_slices_with_outlines_in_their_colours():
    image, labels = two_balls()
    filled = np.flatnonzero(labels.voxels.any(axis=(1, 2)))
    sheet = sheet_of(image, labels, num_slices=4)
    assert len(sheet.slices) == 4
    assert {min(sheet.slices), max(sheet.slices)} == {filled[0], filled[-1]}
    pixels = drawn(sheet)
    for colour in (RED, BLUE):
        assert (np.abs(pixels - colour).sum(axis=2) == 0).sum() > 100
    red_x, blue_x = ((np.abs(pixels - colour).sum(axis=2) == 0).nonzero()[1].mean() for colour in (RED, BLUE))
    assert red_x != blue_x


def test_the_nearest_slices_of_a_sheet_move_onto_the_prompted_ones():
    image, labels = two_balls((40, 40, 36))
    mask = ObjectMask.of(labels.voxels == 1)
    prompted = frozenset({mask.first[0] + 1, mask.first[0] + 2})
    sheet = ContactSheet(
        image=image,
        window=IntensityWindow(0, 500),
        axis=Axis.K,
        objects=[ShownObject("one", RED, mask, prompted)],
        num_slices=3,
    )
    assert prompted <= set(sheet.slices)
    assert len(sheet.slices) == 3


@pytest.mark.parametrize("axis", list(Axis))
def test_pixels_of_a_sheet_are_square_in_mm_on_every_axis(axis):
    voxels = np.zeros((8, 60, 30))
    image = Volume(voxels, np.diag([1.0, 1.0, 7.0, 1.0]))
    mask = ObjectMask.of(np.pad(np.ones((2, 8, 8), bool), ((3, 3), (26, 26), (11, 11))))
    size_mm = {Axis.K: (8, 8), Axis.J: (8, 14), Axis.I: (8, 14)}[axis]
    sheet = ContactSheet(
        image=image, window=IntensityWindow(0, 1), axis=axis, objects=[ShownObject("", RED, mask)], num_slices=1
    )
    rows, cols = (np.abs(drawn(sheet) - RED).sum(axis=2) == 0).nonzero()
    in_legend = rows > rows.max() - 20
    rows, cols = rows[~in_legend], cols[~in_legend]
    assert np.ptp(cols) / np.ptp(rows) == pytest.approx(size_mm[0] / size_mm[1], rel=0.1)


def test_another_image_is_measured_where_the_object_lies_in_the_world():
    grid = Volume(np.zeros((10, 12, 14)), np.diag([1.0, 1.0, 2.0, 1.0]))
    k, j, i = np.meshgrid(np.arange(40), np.arange(30), np.arange(35), indexing="ij")
    matrix = np.diag([0.5, 0.5, 0.5, 1.0])
    matrix[:3, 3] = (-1, -1, -1)
    other = Volume(3.0 * (0.5 * i - 1) + 5.0 * (0.5 * j - 1) - 2.0 * (0.5 * k - 1), matrix)
    mask = np.zeros(grid.shape, bool)
    mask[2:5, 3:6, 4:9] = True
    x, y, z = grid.to_ras(np.argwhere(mask)[:, ::-1]).T
    found = finished(measuring_intensities(other, grid, ObjectMask.of(mask)))
    assert found.mean == pytest.approx((3 * x + 5 * y - 2 * z).mean())
    far = Volume(other.voxels, matrix + np.array([[0, 0, 0, 500]] + [[0] * 4] * 3))
    assert finished(measuring_intensities(far, grid, ObjectMask.of(mask))) is None


def test_a_comparison_of_blocks_is_that_of_whole_masks():
    rng = np.random.default_rng(1)
    grid = Volume(np.zeros((9, 20, 22)), np.diag([0.7, 1.0, 3.0, 1.0]))
    one, other = np.zeros((2, *grid.shape), bool)
    one[2:6, 4:9, 5:15], other[4:8, 5:12, 3:11] = rng.random((4, 5, 10)) < 0.8, True
    for axis in Axis:
        found = finished(comparing(grid, ObjectMask.of(one), ObjectMask.of(other), axis))
        assert found == label_difference(grid, one, other, axis)
    assert np.isnan(finished(comparing(grid, ObjectMask.of(one), ObjectMask.of(one & False), Axis.K)).hd95_mm)


@pytest.fixture
def files(tmp_path):
    """An image with two balls, another one with a grid of its own, labels, and their prompts."""
    image, labels = two_balls()
    image.write(tmp_path / "T1 <one>.nii.gz")
    labels.write(tmp_path / "labels.nii.gz")
    Volume(image.voxels[::2].astype(np.float32), image.ijk_to_ras @ np.diag([1, 1, 2, 1])).write(tmp_path / "T2.nii.gz")
    one = {"points": [{"slice": 5}] * 2, "boxes": [], "slices_confirmed_by_hand": [7], "seconds_spent": 90.0}
    objects = [one | {"name": f"ball <{n}>", "label": n} for n in (1, 2)]
    content = {"format": 1, "objects": objects, "model": {"name": "nano", "sha256": "ab" * 32}}
    (tmp_path / "labels.json").write_text(json.dumps(content), encoding="utf-8")
    return tmp_path


def test_the_command_writes_page_sheet_and_table(files, capsys):
    outs = [str(files / name) for name in ("page.html", "sheet.png", "table.csv")]
    words = ["summary", str(files / "T1 <one>.nii.gz"), str(files / "labels.nii.gz")]
    words += ["--prompts", str(files / "labels.json"), "--also", str(files / "T2.nii.gz"), "--slices", "6", "--out"]
    assert main([*words, *outs]) == 0
    page = (files / "page.html").read_text(encoding="utf-8")
    assert "ball &lt;1&gt;" in page
    assert "<one>" not in page
    assert "model nano" in page
    assert "ab" * 32 in page
    assert "http" not in page.replace("http-equiv", "")
    first, _ = csv.DictReader(io.StringIO((files / "table.csv").read_text(encoding="utf-8")))
    assert (first["object"], first["minutes"], first["slices_corrected"]) == ("ball <1>", "1.5", "1")
    assert float(first["T2 mean"]) == pytest.approx(float(first["T1 <one> mean"]), rel=0.05)
    assert Image.open(io.BytesIO((files / "sheet.png").read_bytes())).width > 600
    assert main([*words, *outs]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main([*words, str(files / "page.pdf")]) == 2
    assert ".html, .png, .csv" in capsys.readouterr().err
