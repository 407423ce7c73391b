"""Label maps: which images are some, what their values mean, and where they lie on another grid."""

import nibabel
import numpy as np
import pytest
import SimpleITK

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.labels import (
    FREESURFER,
    ImageKind,
    LabelEntry,
    LabelTable,
    TableFormat,
    find_table,
    kind_of_image,
    labels_on_grid,
    read_table,
    table_for,
    write_table,
)
from NeuroSAM2Core.volume import Volume
from Testing.Support.scenes import turned
from Testing.Support.volumes import UPRIGHT, ball_volume

TABLE = LabelTable((LabelEntry(3, "left lesion", (255, 0, 10)), LabelEntry(17, "Edema", (1, 2, 3))))
TEXTS = {
    "ITK-SNAP": '# ITK-SnAP Label Description File\n# IDX\n    0     0    0    0        0  0  0    "Clear Label"\n'
    '    3   255    0   10        1  1  1    "left lesion"\n   17     1    2    3      0.5  1  0    "Edema"\n',
    "FreeSurfer": "#No. Label Name:   R   G   B   A\n\n0   Unknown  0 0 0 0\n3   left lesion    255 0 10 0\n17  Edema 1   2   3  0\n",
    "3D Slicer": "# Color table file C:/a.ctbl\n# 18 values\n0 Background 0 0 0 0\n3 left lesion 255 0 10 255\n17 Edema 1 2 3 255\n",
    "3D Slicer csv": "LabelValue,Name,Color_R,Color_G,Color_B,Opacity\n3,left lesion,255,0,10,1\n17,Edema,1,2,3,1\n",
    "BIDS": "index\tname\tabbreviation\tcolor\n0\tBackground\tBG\t#000000\n3\tleft lesion\tL\t#ff000a\n17\tEdema\tE\t#010203\n",
}


@pytest.mark.parametrize("kind", TEXTS)
def test_a_table_is_read_whoever_wrote_it(kind, tmp_path):
    path = tmp_path / "table.txt"
    path.write_bytes(b"\xef\xbb\xbf" + TEXTS[kind].replace("\n", "\r\n").encode())
    assert read_table(path) == TABLE


@pytest.mark.parametrize("kind", TableFormat)
def test_a_table_that_was_written_is_read_again(kind, tmp_path):
    path = tmp_path / f"a{kind.value}"
    write_table(path, TABLE)
    again = read_table(path)
    assert [(one.value, one.name.replace("_", " "), one.colour) for one in again.entries] == [
        (one.value, one.name, one.colour) for one in TABLE.entries
    ]
    with pytest.raises(DataError, match="is there already"):
        write_table(path, TABLE)


@pytest.mark.parametrize("text", ["", "hello\n", "index\tname\n", "\0\1\2" * 99])
def test_what_is_no_table_is_refused(text, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="no table of labels"):
        read_table(path)


@pytest.mark.parametrize("name", ["sub-1_dseg.tsv", "dseg.tsv", "sub-1_dseg.txt", "sub-1_dseg.label"])
def test_the_table_beside_a_label_map_is_found(name, tmp_path):
    assert find_table(tmp_path / "sub-1_dseg.nii.gz") is None
    (tmp_path / name).write_text("x", encoding="utf-8")
    assert find_table(tmp_path / "sub-1_dseg.nii.gz") == tmp_path / name


def test_values_without_a_table_are_freesurfers_only_where_they_can_be_nobody_elses():
    aseg = [value for value, _, _ in FREESURFER]
    assert table_for(aseg).entries[0].name == "Left-Cerebral-White-Matter"
    assert table_for([*aseg, 1012]).entries[-1].name == "label 1012"
    for others in ([1, 2, 3, 4], [2, 4], list(range(1, 61)), list(range(1, 118))):
        assert table_for(others).entries[1].name == f"label {others[1]}"
    colours = [one.colour for one in table_for(range(1, 9)).entries]
    assert len(set(colours)) == 8


IMAGE, TRUTH = ball_volume((12, 20, 24))
HALVES = np.where(TRUTH, 1 + (np.arange(24) > 11), 0).astype(np.int16)
NOISE = np.random.default_rng(0).integers(0, 200, TRUTH.shape).astype(np.uint8)


@pytest.mark.parametrize(
    ("voxels", "name", "intent", "kind"),
    [
        (IMAGE.voxels, "seg", 1002, ImageKind.IMAGE),
        (TRUTH.astype(np.uint8), "a", 0, ImageKind.LABELS),
        (HALVES, "sub-01_dseg", 0, ImageKind.LABELS),
        (HALVES.astype(np.float64), "case-seg", 0, ImageKind.LABELS),
        (HALVES, "case", 0, ImageKind.UNSURE),
        (HALVES, "case", 1002, ImageKind.LABELS),
        (HALVES, "sub-01_T1w", 0, ImageKind.UNSURE),
        (NOISE, "sub-01_T1w", 0, ImageKind.IMAGE),
        (NOISE, "segment", 0, ImageKind.IMAGE),
        (HALVES - 1, "a", 0, ImageKind.IMAGE),
        (np.zeros((3, 4, 5), np.uint8), "labels", 0, ImageKind.IMAGE),
    ],
)
def test_a_label_map_is_told_from_an_image(voxels, name, intent, kind):
    assert kind_of_image(voxels, name, intent=intent) is kind


OBLIQUE = turned(
    order=(2, 0, 1), signs=(-1, 1, -1), spacing=(1.4, 0.9, 1.1), angles=(0.3, 0.2, -0.25), origin=(4, -3, 9)
)


def test_labels_of_an_oblique_grid_lie_where_simple_itk_puts_them(tmp_path):
    image, truth = ball_volume((20, 28, 26), UPRIGHT)
    middle = image.to_ras(np.array([13.0, 14.0, 10.0]))
    shape = (30, 32, 34)
    matrix = OBLIQUE.copy()
    matrix[:3, 3] = middle - matrix[:3, :3] @ [17, 16, 15]
    grid = np.indices(shape)[::-1].reshape(3, -1)
    inside = image.to_ijk((matrix[:3, :3] @ grid).T + matrix[:3, 3])
    i, j, k = np.rint(inside).astype(int).T
    there = ((np.array([i, j, k]).T >= 0) & (np.array([i, j, k]).T < (26, 28, 20))).all(axis=1)
    labels = np.zeros(there.shape, np.uint16)
    labels[there] = truth[k[there], j[there], i[there]] * (1 + (i[there] > 12))
    label = Volume(labels.reshape(shape), matrix, name="drawn")
    found = labels_on_grid(label, image)
    assert "resampled to the nearest voxels" in found.sentence
    label.write(tmp_path / "l.nii.gz")
    image.write(tmp_path / "i.nii.gz")
    theirs = SimpleITK.Resample(
        SimpleITK.ReadImage(disk.as_utf8(tmp_path / "l.nii.gz")),
        SimpleITK.ReadImage(disk.as_utf8(tmp_path / "i.nii.gz")),
        SimpleITK.Transform(),
        SimpleITK.sitkNearestNeighbor,
    )
    assert (SimpleITK.GetArrayFromImage(theirs) != found.labels).mean() < 1e-3
    overlap = 2 * ((found.labels > 0) & truth).sum() / ((found.labels > 0).sum() + truth.sum())
    assert overlap > 0.93


def test_labels_whose_axes_are_stored_otherwise_are_the_same_labels(tmp_path):
    image, truth = ball_volume((9, 12, 15), turned(signs=(-1, -1, 1), angles=(0.2, 0.1, 0.3)))
    stored = nibabel.Nifti1Image(truth.transpose(2, 1, 0).astype(np.uint8), image.ijk_to_ras)
    order = nibabel.orientations.axcodes2ornt(("S", "R", "P"))
    turned_around = stored.as_reoriented(
        nibabel.orientations.ornt_transform(nibabel.io_orientation(stored.affine), order)
    )
    nibabel.save(turned_around, tmp_path / "a.nii.gz")
    found = labels_on_grid(Volume.read(tmp_path / "a.nii.gz"), image)
    assert found.sentence == ""
    np.testing.assert_array_equal(found.labels, truth)


def test_labels_outside_the_image_or_without_any_are_refused():
    image, truth = ball_volume((9, 12, 15))
    far = UPRIGHT.copy()
    far[0, 3] = 500
    with pytest.raises(DataError, match="lies outside"):
        labels_on_grid(Volume(truth.astype(np.uint8), far, name="far"), image)
    with pytest.raises(DataError, match="is empty"):
        labels_on_grid(image.with_voxels(np.zeros(image.shape, np.uint8)), image)
    with pytest.raises(DataError, match="not whole numbers"):
        labels_on_grid(image, image)


def test_a_label_that_is_lost_between_voxels_is_named():
    image = Volume(np.zeros((4, 4, 4), np.uint8), np.diag([4.0, 4.0, 4.0, 1.0]))
    labels = np.zeros((16, 16, 16), np.uint8)
    labels[2:14, 2:14, 2:14], labels[1, 1, 1] = 1, 2
    assert "nothing is left of 2" in labels_on_grid(Volume(labels, np.eye(4), name="fine"), image).sentence
