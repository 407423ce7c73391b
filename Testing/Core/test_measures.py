"""Numbers of objects for a paper, against SimpleITK, which measures in its own way."""

import csv
import io
import json

import numpy as np
import pytest

from NeuroSAM2Core import Volume
from NeuroSAM2Core.cli.main import main
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.measures import PERCENTILES, label_difference, measure_object, read_slice_counts
from NeuroSAM2Core.volume import Axis
from Testing.Support.cases import two_balls

SPACINGS = ((1.0, 1.0, 1.0), (0.8, 1.0, 3.0))
"""Along i, j, k, in mm."""


def ball(spacing, radius_mm=12.0, shape=(24, 40, 44), shift=(0.0, 0.0, 0.0)):
    """A ball in the middle, in mm from it; and an image of noise."""
    size = np.array(spacing[::-1])[:, None, None, None]
    grid = np.stack(np.meshgrid(*[np.arange(n) - n / 2 + 0.5 for n in shape], indexing="ij")) * size
    mask = ((grid - np.array(shift)[:, None, None, None]) ** 2).sum(axis=0) < radius_mm**2
    voxels = np.random.default_rng(0).normal(100, 20, shape)
    return Volume(voxels, np.diag([*spacing, 1.0])), mask


def in_simpleitk(array, spacing):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing(spacing)
    return sitk, image


@pytest.mark.parametrize("spacing", SPACINGS)
def test_the_numbers_of_an_object_are_those_of_an_independent_library(spacing):
    image, mask = ball(spacing, radius_mm=11.0)
    found = measure_object(image, mask)
    sitk, labels = in_simpleitk(mask.astype(np.uint8), spacing)
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.ComputePerimeterOn()
    shape.Execute(labels)
    assert found.size.volume_ml == pytest.approx(shape.GetPhysicalSize(1) / 1000)
    assert found.size.extent_mm == pytest.approx(np.multiply(shape.GetBoundingBox(1)[3:], spacing))
    assert found.size.surface_mm2 == pytest.approx(shape.GetPerimeter(1), rel=0.015)
    assert found.size.surface_mm2 == pytest.approx(4 * np.pi * 11**2, rel=0.04)
    values = sitk.LabelIntensityStatisticsImageFilter()
    values.Execute(labels, in_simpleitk(image.voxels, spacing)[1])
    assert (found.intensities.mean, found.intensities.sd) == pytest.approx(
        (values.GetMean(1), values.GetStandardDeviation(1))
    )
    assert found.intensities.percentiles == pytest.approx(np.quantile(image.voxels[mask], np.array(PERCENTILES) / 100))


def test_a_rotated_grid_changes_neither_volume_nor_surface():
    image, mask = ball((1.0, 1.0, 1.0))
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    turned = measure_object(Volume(image.voxels, matrix), mask)
    straight = measure_object(image, mask)
    assert turned.size.volume_ml == pytest.approx(straight.size.volume_ml)
    assert turned.size.surface_mm2 == pytest.approx(straight.size.surface_mm2, rel=1e-3)
    assert turned.size.extent_mm == pytest.approx(straight.size.extent_mm, abs=2.0), "corners of voxels stand out"


def test_voxels_that_are_no_number_are_left_out_and_nothing_is_measured_without_any():
    image, mask = ball((1.0, 1.0, 1.0), radius_mm=2.0)
    voxels = np.where(np.arange(44) < 22, np.nan, image.voxels)
    assert measure_object(image.with_voxels(voxels), mask).intensities.mean == pytest.approx(np.nanmean(voxels[mask]))
    with pytest.raises(DataError, match="no finite value"):
        measure_object(image.with_voxels(np.full(image.shape, np.nan)), mask)
    with pytest.raises(DataError, match="no voxel"):
        measure_object(image, np.zeros_like(mask))


@pytest.mark.parametrize("spacing", SPACINGS)
def test_dice_and_hd95_are_those_of_an_independent_library(spacing):
    image, one = ball(spacing, radius_mm=11.0)
    _, other = ball(spacing, radius_mm=9.0, shift=(3.0, 1.0, 0.0))
    found = label_difference(image, one, other, Axis.K)
    sitk, first = in_simpleitk(one.astype(np.uint8), spacing)
    _, second = in_simpleitk(other.astype(np.uint8), spacing)
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(first, second)
    assert found.dice == pytest.approx(overlap.GetDiceCoefficient())

    def from_surface(of, to):
        surfaces = [sitk.LabelContour(side, False) for side in (of, to)]
        distances = sitk.SignedMaurerDistanceMap(surfaces[1], False, False, True)
        return np.abs(sitk.GetArrayFromImage(distances))[sitk.GetArrayFromImage(surfaces[0]) > 0]

    expected = max(np.percentile(from_surface(first, second), 95), np.percentile(from_surface(second, first), 95))
    assert found.hd95_mm == pytest.approx(expected, rel=1e-5)
    differing = sorted(range(24), key=lambda k: -(one[k] ^ other[k]).sum())
    assert found.worst_slices == tuple(differing[:3])


def test_equal_labels_differ_on_no_slice():
    image, mask = ball((1.0, 1.0, 1.0))
    found = label_difference(image, mask, mask, Axis.J)
    assert (found.dice, found.hd95_mm, found.worst_slices) == (1.0, 0.0, ())


@pytest.fixture
def files(tmp_path):
    """An image with two balls, their labels, and others in which the second ball is gone."""
    image, labels = two_balls()
    fewer = labels.with_voxels(np.where(labels.voxels == 2, 0, labels.voxels))
    for name, volume in (("image", image), ("labels", labels), ("fewer", fewer)):
        volume.write(tmp_path / f"{name}.nii.gz")
    objects = [
        {
            "name": f"ball {n}",
            "points": [{"slice": 5, "row": 1}] * n,
            "boxes": [{"slice": 5}, {"slice": 7}],
            "slices_confirmed_by_hand": [9],
        }
        for n in (0, 1)
    ]
    (tmp_path / "labels.nii.gz.json").write_text(json.dumps({"format": 1, "objects": objects}), encoding="utf-8")
    return tmp_path


def test_the_command_writes_a_line_for_each_object(files, capsys):
    image, labels, fewer = (str(files / f"{name}.nii.gz") for name in ("image", "labels", "fewer"))
    words = ["measure", image, labels, "--against", fewer, "--prompts", f"{labels}.json"]
    assert main([*words, "--csv"]) == 0
    printed = capsys.readouterr().out
    first, second = csv.DictReader(io.StringIO(printed))
    assert (first["name"], first["slices_prompted"], first["slices_corrected"], first["slices_confirmed"]) == (
        *("ball 0", "2", "0", "1"),
    )
    assert second["slices_corrected"] == "1"
    assert (first["dice"], first["hd95_mm"], first["most_different_slices"]) == ("1", "0", "")
    assert (second["dice"], second["hd95_mm"]) == ("0", "")
    assert len(second["most_different_slices"].split()) == 3
    out = files / "table.csv"
    assert main([*words, "--csv", str(out)]) == 0
    assert out.read_text(encoding="utf-8") == printed
    assert main([*words, "--csv", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["measure", image, fewer, "--against", labels]) == 0
    assert "percentile_95" in capsys.readouterr().out


def write_objects(path, *labels):
    """The file with the prompts, with label values in it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    objects = [one | {"label": label} for one, label in zip(content["objects"], labels, strict=False)]
    path.write_text(json.dumps(content | {"objects": objects}), encoding="utf-8")


def names_by_label(files, capsys):
    image, labels = (str(files / f"{name}.nii.gz") for name in ("image", "labels"))
    assert main(["measure", image, labels, "--prompts", f"{labels}.json", "--csv"]) == 0
    return {row["label"]: row["name"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}


def test_prompts_belong_to_the_label_that_the_file_names(files, capsys):
    assert names_by_label(files, capsys) == {"1": "ball 0", "2": "ball 1"}
    write_objects(files / "labels.nii.gz.json", 2, 1)
    assert names_by_label(files, capsys) == {"1": "ball 1", "2": "ball 0"}


def test_an_object_that_was_not_prompted_has_no_prompts(files, capsys):
    write_objects(files / "labels.nii.gz.json", 2)
    assert names_by_label(files, capsys) == {"1": "", "2": "ball 0"}


@pytest.mark.parametrize(
    ("labels", "words"),
    [((7, 8), "none of the label values"), ((1, 1), "same label value"), ((1, None), "none"), ((0, 1), "below 1")],
)
def test_labels_that_do_not_fit_are_one_sentence(files, capsys, labels, words):
    path = files / "labels.nii.gz.json"
    write_objects(path, *labels)
    assert main(["measure", *(str(files / f"{n}.nii.gz") for n in ("image", "labels")), "--prompts", str(path)]) == 2
    assert words in capsys.readouterr().err


def test_prompts_of_other_objects_are_refused(files, capsys):
    path = files / "labels.nii.gz.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | {"objects": content["objects"][:1]}), encoding="utf-8")
    words = ["measure", *(str(files / f"{name}.nii.gz") for name in ("image", "labels")), "--prompts", str(path)]
    assert main(words) == 2
    assert "has 1 objects" in capsys.readouterr().err
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="objects is missing"):
        read_slice_counts(path)
