"""Unsaved work after the death of the host, and what is written beside an export."""

import json
import subprocess
import sys

import numpy as np
import pytest
import slicer
from NeuroSAM2MRML.objects.prompts import ObjectPrompts
from NeuroSAM2MRML.scene.fingerprint import Fingerprint
from NeuroSAM2MRML.scene.volume_nodes import read_volume
from NeuroSAM2MRML.session.journal import SUFFIX, Journal, JournalHead, MaskLine, PromptsLine, unsaved_in
from NeuroSAM2MRML.session.node import ModelIdentity
from NeuroSAM2MRML.session.recovery import recover, unsaved_work
from NeuroSAM2MRML.session.sidecar import sidecar_text, write_sidecar
from NeuroSAM2MRML.session.view import session_view
from NeuroSAM2MRML.view_state import Activity

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.prompts import BoxPrompt, PointPrompt
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume
from Testing.Support.scenes import make_app
from Testing.Support.sessions import Sitting

PLANE = SlicePlane(Axis.K, 4)


def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def worked(app):
    sitting = Sitting(app)
    sitting.session.add_box(PLANE, BoxPrompt(4, 4, 12, 15))
    sitting.session.add_point(PLANE, 8, 10, positive=False)
    sitting.settle()
    sitting.session.propagate(last=7)
    sitting.settle()
    sitting.session.next_object("second")
    sitting.session.add_point(SlicePlane(Axis.J, 3), 2, 5)
    sitting.settle()
    return sitting


def crashed(sitting):
    """The journal as a dead host leaves it."""
    path = sitting.desk.journal.path
    lines = path.read_text().splitlines()
    head = json.loads(lines[0])
    head["head"]["pid"] = dead_pid()
    path.write_text("\n".join([json.dumps(head), *lines[1:]]) + "\n")
    return path.parent


def test_unsaved_work_comes_back_as_one_step(app, tmp_path):
    before = worked(app)
    folder = crashed(before)
    other = tmp_path / "other"
    other.mkdir()
    again = Sitting(make_app(other))
    (unsaved,) = unsaved_in(folder)
    assert recover(again.desk, unsaved) == 2
    for number in (1, 2):
        np.testing.assert_array_equal(again.voxels_of(number), before.voxels_of(number))
        assert again.desk.objects.record(number).prompts == before.desk.objects.record(number).prompts
        said = again.desk.nodes.read(number, again.desk.volume)
        assert said == before.desk.objects.record(number).prompts
    assert unsaved_in(folder) == []
    again.session.undo()
    assert again.desk.objects.segments == {}


def test_a_journal_that_was_cut_is_worth_everything_before_it(app, tmp_path):
    before = worked(app)
    folder = crashed(before)
    path = before.desk.journal.path
    path.write_bytes(path.read_bytes()[:-30])
    again = Sitting(make_app(tmp_path))
    recover(again.desk, unsaved_in(folder)[0])
    np.testing.assert_array_equal(again.voxels_of(1), before.voxels_of(1))


def test_work_on_another_image_is_refused(app, tmp_path):
    folder = crashed(worked(app))
    other = Sitting(make_app(tmp_path), shape=(5, 6, 7))
    with pytest.raises(DataError, match="belongs to the image"):
        recover(other.desk, unsaved_in(folder)[0])


def written_and_read(sitting, app, path):
    """The image through a file, under another name."""
    if path.suffix == ".nii":
        sitting.desk.volume.write(path)
        return Volume.read(path)
    storage = slicer.vtkMRMLNRRDStorageNode()
    app.scene.AddNode(storage)
    storage.SetFileName(str(path))
    again = app.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "renamed")
    assert storage.WriteData(sitting.volume_node)
    assert storage.ReadData(again)
    return read_volume(again)


@pytest.mark.parametrize("geometry", ["oblique", "anisotropic oblique"])
@pytest.mark.parametrize("ending", [".nrrd", ".nii"])
def test_work_is_found_again_after_its_image_went_through_a_file(app, tmp_path, geometry, ending):
    sitting = Sitting(app, geometry=geometry)
    sitting.session.add_box(PLANE, BoxPrompt(4, 4, 12, 15))
    folder = crashed(sitting)
    before = sitting.desk.volume
    volume = written_and_read(sitting, app, tmp_path / f"head{ending}")
    assert [one.head.volume_name for one in unsaved_work(folder, volume)] == [before.name]
    assert unsaved_work(folder, volume.with_voxels(volume.voxels[::-1])) == []
    shifted = volume.ijk_to_ras.copy()
    shifted[0, 3] += 0.1
    assert unsaved_work(folder, Volume(volume.voxels, shifted, name=volume.name)) == []


def test_a_journal_that_another_version_wrote_is_passed_over(app):
    sitting = worked(app)
    folder, path = crashed(sitting), sitting.desk.journal.path
    head = json.loads(path.read_text().splitlines()[0])
    path.write_text(json.dumps({"head": head["head"] | {"fingerprint": "abc"}}) + "\n")
    assert unsaved_in(folder) == []


def test_a_running_host_keeps_its_journal_and_a_saved_scene_needs_none(app, tmp_path):
    sitting = worked(app)
    path = sitting.desk.journal.path
    assert path.exists()
    assert unsaved_in(path.parent) == []
    app.save(tmp_path / "scene.mrb")
    assert not path.exists()
    sitting.session.add_point(SlicePlane(Axis.J, 4), 2, 5)
    assert sitting.desk.journal.path.exists()


def test_lines_come_back_as_they_were(tmp_path):
    mask = np.random.default_rng(0).random((7, 9)) > 0.5
    said = (
        ObjectPrompts()
        .with_point(PLANE, PointPrompt(1, 2, False))
        .with_box(PLANE, BoxPrompt(1, 2, 3, 4.5))
        .with_kept(SlicePlane(Axis.K, 9))
        .with_point(SlicePlane(Axis.K, 7), PointPrompt(3, 4))
        .with_reading(SlicePlane(Axis.K, 7), 2)
    )
    head = JournalHead(
        volume_name="T1",
        fingerprint=Fingerprint(voxels="f", ijk_to_ras=tuple(range(16))),
        shape=(1, 2, 3),
        pid=dead_pid(),
    )
    journal = Journal(tmp_path / f"one{SUFFIX}", head)
    journal.note(PromptsLine(object_id=3, segment_name="x", prompts=said))
    journal.note(MaskLine(object_id=3, plane=PLANE, mask=mask))
    (unsaved,) = unsaved_in(tmp_path)
    assert unsaved.head == head
    prompts, masked = unsaved.lines()
    assert prompts.prompts == said
    np.testing.assert_array_equal(masked.mask, mask)


def test_a_line_of_an_earlier_version_has_the_most_likely_readings(tmp_path):
    path = tmp_path / f"one{SUFFIX}"
    said = ObjectPrompts().with_point(PLANE, PointPrompt(1, 2, False))
    journal = Journal(
        path,
        JournalHead(
            volume_name="T1",
            fingerprint=Fingerprint(voxels="f", ijk_to_ras=tuple(range(16))),
            shape=(1, 2, 3),
            pid=dead_pid(),
        ),
    )
    journal.note(PromptsLine(object_id=3, segment_name="x", prompts=said))
    text = path.read_text()
    path.write_text(text.replace(', "readings": []', ""))
    assert path.read_text() != text
    (unsaved,) = unsaved_in(tmp_path)
    assert next(unsaved.lines()).prompts == said


def test_a_full_disk_is_said_and_the_work_goes_on(app):
    sitting = Sitting(app)
    folder = sitting.desk.journal._folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("in the way")
    sitting.session.add_point(PLANE, 7, 10)
    sitting.settle()
    assert "cannot be written down" in sitting.session.notice
    assert sitting.mask(PLANE)[7, 10]


def test_the_sidecar_says_what_led_to_the_masks(app, tmp_path):
    sitting = worked(app)
    sitting.desk.node.model = ModelIdentity(name="nano", sha256="abc")
    path = tmp_path / "seg.json"
    write_sidecar(sitting.desk, path)
    said = json.loads(path.read_text())
    assert said == json.loads(sidecar_text(sitting.desk))
    assert said["model"] == {"name": "nano", "sha256": "abc"}
    first, second = said["objects"]
    assert first["boxes"] == [{"slice": 4, "row0": 4.0, "col0": 4.0, "row1": 12.0, "col1": 15.0}]
    assert first["points"] == [{"slice": 4, "row": 8.0, "col": 10.0, "positive": False}]
    assert set(first["slices"]) == {str(n) for n in range(8)}
    assert first["volume_ml"] == pytest.approx(sitting.voxels_of(1).sum() / 1000, abs=1e-4)
    assert second["name"] == "second"
    with pytest.raises(DataError, match="cannot write"):
        write_sidecar(sitting.desk, tmp_path / "nowhere" / "seg.json")


def test_the_panel_shows_what_is_going_on(app):
    sitting = Sitting(app, is_patient=True)
    view = session_view(sitting.session)
    assert view.activity is Activity.READY
    assert not view.can_propagate
    assert not view.can_undo
    sitting.session.add_point(PLANE, 7, 10)
    assert session_view(sitting.session).activity is Activity.STARTING
    sitting.settle()
    sitting.session.propagate()
    sitting.engines.last.work(3)
    sitting.session.poll()
    view = session_view(sitting.session)
    assert view.activity is Activity.PROPAGATING
    assert view.progress == (3, 8)
    assert view.can_stop
    assert view.undo_name == "Propagate"
    sitting.session.stop()
    assert session_view(sitting.session).activity is Activity.STOPPING
    sitting.settle()
    view = session_view(sitting.session)
    (row,) = view.objects
    assert (row.num_prompts, row.num_confirmed, row.num_done, row.is_active) == (1, 1, 4, True)
    assert [mark.plane.index for mark in view.ribbon] == [3, 4, 5, 6] or len(view.ribbon) == 4
    assert [mark.is_confirmed for mark in view.ribbon if mark.plane == PLANE] == [True]
    assert view.can_continue
    sitting.watch.end("done")
    assert session_view(sitting.session).activity is Activity.ENDED
