"""What is outlined as files for other programs, read back by those programs' own readers."""

import os
import sys
import time

import nibabel
import numpy as np
import pytest
import SimpleITK
import trimesh
from NeuroSAM2Lib.scene.files.export_process import exporting
from NeuroSAM2Lib.scene.files.exporting import ExportFormat, export, export_names
from NeuroSAM2Lib.scene.segments.segment_masks import SegmentationSnapshot
from NeuroSAM2Lib.segmentation.object_actions import add_objects, read_objects

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import Cancelled, DataError, WorkerError
from NeuroSAM2Core.labels import LabelEntry, LabelTable, read_table
from NeuroSAM2Core.processes import ProcessTree
from NeuroSAM2Core.volume import Volume
from Testing.Support.scenes import GEOMETRIES
from Testing.Support.sessions import SHAPE, SimulatedUser

LIMIT_S, POLL_S = 60.0, 0.01
TABLE = LabelTable((LabelEntry(1, "tumor", (255, 0, 51)), LabelEntry(2, "edema / left", (0, 102, 204))))
LABELS = np.zeros(SHAPE, np.uint8)
LABELS[2:6, 4:12, 5:14] = 1
LABELS[4:8, 10:16, 8:20] = 2


@pytest.fixture(params=["upright", "anisotropic oblique", "under a turn"])
def user(app, request):
    user = SimulatedUser(app, geometry=request.param)
    add_objects(user.session, read_objects(user.document.volume, user.document.volume.with_voxels(LABELS), TABLE))
    return user


def snapshot(user):
    return SegmentationSnapshot.take(user.segmentation_node, user.volume_node)


def test_nifti_labels_and_their_table_are_read_back_the_same(user, tmp_path):
    path, table = export(snapshot(user), ExportFormat.NIFTI, tmp_path / "a.nii.gz")
    stored = nibabel.load(path)
    np.testing.assert_array_equal(np.asarray(stored.dataobj).transpose(2, 1, 0), LABELS)
    np.testing.assert_allclose(stored.affine, user.document.volume.ijk_to_ras, atol=1e-4)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(disk.as_utf8(path))), LABELS)
    assert table.name == "a.tsv"
    assert read_table(table) == TABLE


def test_labels_go_out_and_come_in_again(user, tmp_path):
    path, table = export(snapshot(user), ExportFormat.NIFTI, tmp_path / "a.nii.gz")
    before = user.bytes()
    add_objects(user.session, read_objects(user.document.volume, Volume.read(path), read_table(table)))
    again = snapshot(user)
    for number in (0, 1):
        np.testing.assert_array_equal(again.mask(number + 2), number + 1 == LABELS)
        assert again.segments[number + 2].colour == again.segments[number].colour
    assert user.session.undo()
    assert user.bytes() == before


def test_what_is_painted_after_the_snapshot_is_not_in_it(user):
    taken = snapshot(user)
    user.session.clear()
    np.testing.assert_array_equal(taken.labels().voxels, LABELS)


@pytest.mark.parametrize("kind", [ExportFormat.STL, ExportFormat.OBJ, ExportFormat.PLY])
def test_every_object_has_a_surface_of_its_own(user, tmp_path, kind):
    paths = export(snapshot(user), kind, tmp_path / f"a{kind.value}")
    assert [one.name for one in paths] == export_names(kind, f"a{kind.value}", ("tumor", "edema / left"))
    voxel = user.document.volume.voxel_volume_ml * 1000
    for path, label in zip(paths, (1, 2), strict=True):
        assert trimesh.load_mesh(path).volume == pytest.approx((label == LABELS).sum() * voxel, rel=0.12)


def test_a_glb_has_them_all(user, tmp_path):
    (path,) = export(snapshot(user), ExportFormat.GLB, tmp_path / "a.glb")
    assert set(trimesh.load_scene(path).geometry) == {"tumor", "edema / left"}


def test_nothing_is_replaced_or_begun_where_it_may_not_be(app, tmp_path):
    user = SimulatedUser(app)
    with pytest.raises(DataError, match="is empty"):
        snapshot(user)
    user.session.next_object()
    with pytest.raises(DataError, match="nothing is outlined"):
        export(snapshot(user), ExportFormat.STL, tmp_path / "a.stl")
    add_objects(user.session, read_objects(user.document.volume, user.document.volume.with_voxels(LABELS), TABLE))
    with pytest.raises(DataError, match="was not opened from DICOM"):
        export(snapshot(user), ExportFormat.DICOM, tmp_path / "a.dcm")
    with pytest.raises(Cancelled):
        export(snapshot(user), ExportFormat.GLB, tmp_path / "a.glb", is_cancelled=lambda: True)
    (tmp_path / "a.tsv").write_bytes(b"mine")
    with pytest.raises(DataError, match="is there already"):
        export(snapshot(user), ExportFormat.NIFTI, tmp_path / "a.nii.gz")
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith("a.")] == ["a.tsv"]


def test_objects_of_one_name_have_files_of_their_own():
    names = export_names(ExportFormat.STL, "a.stl", ("x", "X", "y/z", "y:z"))
    assert len({one.casefold() for one in names}) == 4
    assert all(one.startswith("a ") and one.endswith(".stl") and "/" not in one for one in names)


def test_a_segmentation_on_another_grid_is_on_the_images_own(app):
    user = SimulatedUser(app, geometry="oblique")
    add_objects(user.session, read_objects(user.document.volume, user.document.volume.with_voxels(LABELS), TABLE))
    from Testing.Support.scenes import add_volume

    finer = GEOMETRIES["oblique"].matrix @ np.diag([0.5, 0.5, 0.5, 1.0])
    finer[:3, 3] -= 0.25 * GEOMETRIES["oblique"].matrix[:3, :3].sum(axis=1)
    other = add_volume(app, np.zeros([2 * n for n in SHAPE], np.int16), type(GEOMETRIES["oblique"])(finer), name="fine")
    found = SegmentationSnapshot.take(user.segmentation_node, other).mask(0)
    np.testing.assert_array_equal(found, (LABELS == 1).repeat(2, 0).repeat(2, 1).repeat(2, 2))


def start(command, log):
    paths = os.pathsep.join(path for path in sys.path if path)
    return ProcessTree.start(command, log, environment=os.environ | {"PYTHONPATH": paths})


def finished(work):
    """What comes of work whose processes are waited for."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        try:
            if next(work):
                time.sleep(POLL_S)
        except StopIteration as end:
            return end.value
    raise AssertionError("it takes too long")


@pytest.mark.parametrize("kind", [ExportFormat.NIFTI, ExportFormat.STL, ExportFormat.GLB])
def test_a_process_beside_writes_the_same_files(user, tmp_path, kind):
    here, beside = tmp_path / "here", tmp_path / "beside"
    here.mkdir()
    beside.mkdir()
    wanted = export(snapshot(user), kind, here / f"a{kind.value}")
    found = finished(exporting(snapshot(user), kind, beside / f"a{kind.value}", python=sys.executable, start=start))
    assert [one.name for one in found] == [one.name for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_the_process_says_what_is_wrong(app, tmp_path):
    user = SimulatedUser(app)
    add_objects(user.session, read_objects(user.document.volume, user.document.volume.with_voxels(LABELS), TABLE))
    path = tmp_path / "a.stl"
    path.write_bytes(b"mine")
    (tmp_path / "a tumor.stl").write_bytes(b"mine")
    with pytest.raises(DataError, match="is there already"):
        finished(exporting(snapshot(user), ExportFormat.STL, path, python=sys.executable, start=start))
    with pytest.raises(DataError, match="was not opened from DICOM") as error:
        finished(exporting(snapshot(user), ExportFormat.DICOM, tmp_path / "a.dcm", python=sys.executable, start=start))
    assert error.value.hint


def test_an_export_that_is_dropped_ends_its_process_and_leaves_nothing(user, tmp_path):
    started = []

    def start_and_keep(command, log):
        started.append(start(command, log))
        return started[-1]

    work = exporting(snapshot(user), ExportFormat.STL, tmp_path / "a.stl", python=sys.executable, start=start_and_keep)
    while not next(work):
        pass
    work.close()
    assert started[0].poll() is not None
    assert not [one for one in tmp_path.iterdir() if one.suffix == ".stl"]


def test_where_no_process_can_be_started_files_are_written_here_and_the_log_says_so(user, tmp_path, caplog):
    def refuse(command, log):
        raise WorkerError("psutil is missing")

    path = tmp_path / "a.nii.gz"
    finished(exporting(snapshot(user), ExportFormat.NIFTI, path, python=sys.executable, start=refuse))
    assert path.is_file()
    assert "psutil is missing" in caplog.text
