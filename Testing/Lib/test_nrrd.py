"""NRRD files of all dialects are read at SimpleITK's place; damaged ones are refused before Slicer's reader sees them."""

import bz2
import gzip

import numpy as np
import pytest
import SimpleITK
from NeuroSAM2Lib.scene.files import nrrd_image
from NeuroSAM2Lib.scene.files.nrrd_image import NrrdImage, rewrite
from NeuroSAM2Lib.scene.volume_nodes import read_volume

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import DataError, GeometryError
from Testing.Support.node_files import read_nrrd, read_segmentation

VOXELS = np.arange(24, dtype="<i2")
TURNED = "space directions: (0.5,0,0) (0,0.6,0.1) (0,-0.2,2)\n"
SEGMENTED = f"space: LPS\n{TURNED}"


def nrrd(path, more="", *, data=None, **fields):
    """A file of 2 x 3 x 4 voxels with these lines besides, and other values of the fields that every file has."""
    head = {"type": "short", "dimension": "3", "sizes": "2 3 4", "encoding": "raw", "endian": "little"} | fields
    lines = "".join(f"{key}: {value}\n" for key, value in head.items() if value)
    path.write_bytes(f"NRRD0004\n{lines}{more}\n".encode() + (VOXELS.tobytes() if data is None else data))
    return path


def assert_at_itks_place(path):
    image, volume = SimpleITK.ReadImage(disk.as_utf8(path)), NrrdImage.read(path).volume()
    np.testing.assert_array_equal(volume.voxels, SimpleITK.GetArrayFromImage(image))
    ends = np.array(list(np.ndindex(2, 2, 2))) * (np.array(image.GetSize()) - 1)
    there = [image.TransformIndexToPhysicalPoint([int(n) for n in end]) for end in ends]
    np.testing.assert_allclose(volume.to_ras(ends), np.array(there) * (-1, -1, 1), atol=1e-3)


@pytest.mark.parametrize(
    "more",
    [
        "",
        "spacings: 0.5 0.6 2\n",
        "spacings: 0.5 -0.6 2\n",
        "spacings: 0.5 nan 2\n",
        "spacings: 0.5 0.6 2\naxis mins: 1 2 3\n",
        "spacings: 0.5 0.6 2\naxismins: 1 2 3\ncenters: node cell node\n",
        "axis mins: 1 2 3\naxis maxs: 3 5 9\n",
        "axis mins: 1 2 3\naxis maxs: 3 5 9\ncenterings: node node node\n",
        f"space dimension: 3\n{TURNED}space origin: (1,2,3)\n",
        f"space dimension: 3\n{TURNED}",
        "space dimension: 3\n",
        f"space: RAS\n{TURNED}space origin: (1,2,3)\n",
        f"space: left-anterior-superior\n{TURNED}space origin: (1,2,3)\n",
        f"space: scanner-xyz\n{TURNED}space origin: (1,2,3)\n",
        f"space: 3D-right-handed\n{TURNED}space origin: (1,2,3)\n",
        "space: LPS\nspace origin: (1,2,3)\n",
        f"space: LPS\n{TURNED}space origin: none\n",
        "byte skip: 0\nspacings: 1 1 2\n",
        'old min: 0\noldmax: 255\nmin: 0\nunits: "mm" "mm" "mm"\ncontent: µm a:b\n',
        "kinds: space space time\nspacings: 1 2 3\n",
        "Spacings: 1 2 3\nSegment0_Extent:=9 9 9\nsizes:=7\n",
    ],
)
def test_a_header_of_any_variant_is_read_at_simpleitks_place(tmp_path, more):
    assert_at_itks_place(nrrd(tmp_path / "a.nrrd", more))


TEXT = " ".join(map(str, VOXELS)).encode()
PACKED = gzip.compress(VOXELS.tobytes())


@pytest.mark.parametrize(
    ("more", "fields", "data"),
    [
        ("", {"encoding": "gzip"}, PACKED),
        ("", {"encoding": "gz"}, gzip.compress(VOXELS.tobytes()[:20]) + gzip.compress(VOXELS.tobytes()[20:])),
        ("byte skip: 4\n", {"encoding": "gzip"}, gzip.compress(b"abcd" + VOXELS.tobytes())),
        ("byte skip: -1\n", {"encoding": "gzip"}, gzip.compress(b"abcd" + VOXELS.tobytes())),
        ("line skip: 1\n", {"encoding": "gzip"}, b"a line\n" + PACKED),
        ("byteskip: 4\n", {}, b"abcd" + VOXELS.tobytes()),
        ("byte skip: -1\n", {}, b"abcd" + VOXELS.tobytes()),
        ("", {"endian": "big"}, VOXELS.astype(">i2").tobytes()),
        ("", {"encoding": "ascii", "endian": ""}, TEXT),
        ("", {"encoding": "text", "type": "float"}, TEXT.replace(b" ", b", ")),
        ("", {"sizes": "2 3 4 1", "dimension": "4", "kinds": "domain domain domain list"}, None),
        ("", {"type": "uint8", "endian": ""}, VOXELS.astype(np.uint8).tobytes()),
        ("", {"type": "long long int", "endian": "big"}, VOXELS.astype(">i8").tobytes()),
        ("", {"type": "double"}, VOXELS.astype("<f8").tobytes()),
    ],
)
def test_data_is_unpacked_as_simpleitk_does(tmp_path, more, fields, data):
    path = nrrd(tmp_path / "a.nrrd", more, data=data, **fields)
    if "dimension" in fields:
        np.testing.assert_array_equal(NrrdImage.read(path).volume().voxels.ravel(), VOXELS)
    else:
        assert_at_itks_place(path)


def test_data_packed_with_bzip2_as_pynrrd_does_is_read(tmp_path):
    path = nrrd(tmp_path / "a.nrrd", data=bz2.compress(VOXELS.tobytes()), encoding="bzip2")
    np.testing.assert_array_equal(NrrdImage.read(path).volume().voxels.ravel(), VOXELS)


@pytest.mark.parametrize(
    ("more", "fields"),
    [
        *(("", {name: ""}) for name in ("type", "dimension", "sizes", "encoding", "endian")),
        ("", {"type": "block"}),
        ("", {"type": "x" * 5000}),
        ("", {"endian": "middle"}),
        ("", {"encoding": "bzip"}),
        ("", {"encoding": "hex"}),
        ("", {"encoding": "text", "type": "uint8"}),
        ("", {"sizes": "2 3 1_2"}),
        ("", {"sizes": "2 3 4.5"}),
        ("", {"sizes": "2 3 -4"}),
        ("", {"sizes": "2 3"}),
        ("", {"sizes": "2 3 99999999999999999999999"}),
        ("", {"dimension": "17"}),
        ("", {"sizes": "2 3 2 2", "dimension": "4"}),
        ("data file: /etc/passwd\n", {}),
        ("DataFile: LIST\n", {}),
        ("space: postXrior\n", {}),
        ("space: left-posterior-superior-time\n", {}),
        (TURNED, {}),
        (f"space: LPS\n{TURNED.replace('(0.5', '[0.5')}", {}),
        ("space: LPS\nspace directions: (0,0,0) (0,1,0) (0,0,1)\n", {}),
        ("space: LPS\nspace directions: none (0,1,0) (0,0,1)\n", {}),
        ("space: LPS\nspace directions:\n", {}),
        ("space: LPS\nspace origin:\n", {}),
        ('units: "mm\n', {}),
        ("space: LPS\nspace origin: (1,2)\n", {}),
        ("space: LPS\nspace origin: (1,inf,2)\n", {}),
        ("spacings: 1 2\n", {}),
        ("spacings: 1 2 0\n", {}),
        ("kinds: domain domain\n", {}),
        ("sizes: 2 3 4\n", {}),
        ("byte skip: 99999999999999\n", {}),
        ("byte skip: -7\n", {}),
        ("a line of no kind\n", {}),
        ("x" * (1 << 20), {}),
    ],
)
def test_a_header_that_is_not_understood_is_refused_with_a_sentence(tmp_path, more, fields):
    with pytest.raises(DataError, match=r"^a\.nrrd cannot be read: .{5,200} \(") as refused:
        NrrdImage.read(nrrd(tmp_path / "a.nrrd", more, **fields))
    assert len(str(refused.value)) < 300


def test_values_that_are_not_needed_never_reach_slicers_reader(tmp_path):
    path = nrrd(tmp_path / "a.nrrd", f'units: "{"u" * 5000}" "" ""\n{"k" * 5000}:={"v" * 5000}\nmodality:=DWMRI\n')
    rewrite(path)
    head = path.read_bytes().split(b"\n\n")[0]
    assert b"modality:=DWMRI" in head
    assert len(head) < 500
    np.testing.assert_array_equal(NrrdImage.read(path).volume().voxels.ravel(), VOXELS)


@pytest.mark.parametrize(
    "line",
    [
        "Segment0_Extent:=0 1 0 2 0 99999",
        "Segment0_Extent:=-5 1 0 2 0 3",
        "Segment0_Extent:=0 1 0 2",
        "Segment0_Extent:=0 1 0 2 0 1_0",
        "Segment0_Layer:=1",
        "Segment0_LabelValue:=99999999999",
        "Segment0_Color:=nan 0 0",
        "Segment0_Color:=1 2 3",
        f"Segment0_Name:={'n' * 5000}",
        f"Segment0_ID:={'n' * 5000}",
        "Segmentation_ReferenceImageExtentOffset:=0 0 9999999999",
    ],
)
def test_a_segments_line_that_cannot_be_true_is_refused(app, tmp_path, line):
    path = nrrd(tmp_path / "a.seg.nrrd", f"{SEGMENTED}{line}\n")
    count = app.scene.GetNumberOfNodes()
    with pytest.raises(DataError, match="cannot be true"):
        read_segmentation(app.scene, path, "a")
    assert app.scene.GetNumberOfNodes() == count


def test_layers_at_either_end_and_frames_are_written_anew_in_their_place(tmp_path):
    frame = "measurement frame: (0,1,0) (1,0,0) (0,0,1)\n"
    first = nrrd(
        tmp_path / "a.nrrd",
        f"space: RAS\nspace directions: none (1,0,0) (0,1,0) (0,0,2)\nkinds: vector space space space\n{frame}",
        dimension="4",
        sizes="2 3 2 2",
    )
    there, before = SimpleITK.ReadImage(disk.as_utf8(first)), NrrdImage.read(first)
    rewrite(first)
    again = SimpleITK.ReadImage(disk.as_utf8(first))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(again), SimpleITK.GetArrayFromImage(there))
    assert again.GetDirection() == there.GetDirection()
    np.testing.assert_array_equal(NrrdImage.read(first).measurement_frame, before.measurement_frame)
    last = nrrd(tmp_path / "b.nrrd", "kinds: domain domain domain list\n", dimension="4", sizes="3 2 2 2")
    there = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(disk.as_utf8(last)))
    rewrite(last)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(disk.as_utf8(last))), there)
    with pytest.raises(DataError, match="2 values per voxel"):
        NrrdImage.read(last).volume()


def test_a_file_that_is_cut_short_is_reported_with_how_much_is_there(tmp_path):
    for name, data in (("raw", VOXELS.tobytes()[:-7]), ("gzip", PACKED[:30]), ("text", b"1 2 3")):
        with pytest.raises(DataError, match="of 24 voxels are there"):
            NrrdImage.read(nrrd(tmp_path / "a.nrrd", encoding=name, data=data))


def test_sizes_are_held_against_free_memory_before_anything_is_unpacked(tmp_path, monkeypatch):
    path = nrrd(tmp_path / "a.nrrd", encoding="gzip", sizes="90000 90000 90000", data=PACKED)
    monkeypatch.setattr(nrrd_image, "_data", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(DataError, match="GB of memory"):
        NrrdImage.read(path)


def test_an_image_and_a_segmentation_of_another_program_enter_the_scene(app, tmp_path):
    image = nrrd(tmp_path / "a.nrrd", "spacings: 1 1 2\n")
    volume = read_volume(read_nrrd(app.scene, image, "a"))
    np.testing.assert_array_equal(volume.voxels.ravel(), VOXELS)
    labels = np.repeat(np.uint8([0, 1, 2]), 8).tobytes()
    path = nrrd(tmp_path / "a.seg.nrrd", "spacings: 1 1 2\n", type="uint8", endian="", data=labels)
    node = read_segmentation(app.scene, path, "a")
    assert node.GetSegmentation().GetNumberOfSegments() == 2


def test_a_flat_image_is_refused_and_leaves_the_scene_as_it_was(app, tmp_path):
    path = nrrd(tmp_path / "a.nrrd", "space: LPS\nspace directions: (1,0,0) (1,0,0) (0,0,1)\n")
    count = app.scene.GetNumberOfNodes()
    with pytest.raises(GeometryError, match="flat"):
        read_nrrd(app.scene, path, "a")
    assert app.scene.GetNumberOfNodes() == count
