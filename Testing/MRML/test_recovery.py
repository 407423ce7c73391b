"""Unsaved work after the death of the host, and what is written beside an export."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import slicer
from NeuroSAM2MRML.objects.prompts import ObjectPrompts
from NeuroSAM2MRML.scene.fingerprint import Fingerprint
from NeuroSAM2MRML.scene.volume_nodes import read_volume
from NeuroSAM2MRML.session.journal import SUFFIX, Journal, JournalHead, MaskLine, PromptsLine, StaleLine, unsaved_in
from NeuroSAM2MRML.session.node import ModelIdentity
from NeuroSAM2MRML.session.recovery import recover, unsaved_work
from NeuroSAM2MRML.session.sidecar import sidecar_text, write_sidecar
from NeuroSAM2MRML.session.view import session_view
from NeuroSAM2MRML.view_state import Activity

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.prompts import BoxPrompt, PointPrompt
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume
from Testing.Support.fake_engine import FakeEngine
from Testing.Support.scenes import make_app
from Testing.Support.sessions import Sitting

PLANE = SlicePlane(Axis.K, 4)


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
    lines = path.read_text(encoding="utf-8").splitlines()
    head = json.loads(lines[0])
    head["head"]["owner"] = "gone"
    path.write_text("\n".join([json.dumps(head), *lines[1:]]) + "\n", encoding="utf-8")
    return path.parent


def changed_head(folder, **values):
    path = next(folder.glob(f"*{SUFFIX}"))
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    said = json.loads(head)
    said["head"].update(values)
    path.write_text("\n".join([json.dumps(said), *lines]) + "\n", encoding="utf-8")
    return path


def test_what_a_later_version_adds_to_a_journal_is_passed_over(app):
    folder = crashed(worked(app))
    changed_head(folder, version="9.0", workstation="3")
    assert unsaved_in(folder)[0].head.version == "9.0"


def test_work_that_only_a_later_version_can_read_is_named_as_such(app, tmp_path):
    folder = crashed(worked(app))
    with changed_head(folder, version="9.0").open("a", encoding="utf-8") as file:
        file.write('{"object": 1, "stroke": []}\n')
    other = tmp_path / "other"
    other.mkdir()
    again = Sitting(make_app(other))
    unsaved = unsaved_in(folder)[0]
    with pytest.raises(DataError, match=r"written down by NeuroSAM2 9\.0"):
        recover(again.desk, unsaved)
    assert unsaved.path.exists()


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
    storage.SetFileName(disk.as_utf8(path))
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
    head = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
    path.write_text(json.dumps({"head": head["head"] | {"fingerprint": "abc"}}) + "\n", encoding="utf-8")
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
        owner="gone",
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
            owner="gone",
        ),
    )
    journal.note(PromptsLine(object_id=3, segment_name="x", prompts=said))
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(', "readings": []', ""), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != text
    (unsaved,) = unsaved_in(tmp_path)
    assert next(unsaved.lines()).prompts == said


def test_a_full_disk_is_said_and_the_work_goes_on(app):
    sitting = Sitting(app)
    folder = sitting.desk.journal._folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("in the way", encoding="utf-8")
    sitting.session.add_point(PLANE, 7, 10)
    sitting.settle()
    assert "cannot be written down" in sitting.session.notice
    assert sitting.mask(PLANE)[7, 10]


def test_the_sidecar_has_the_hash_of_what_the_engine_read(app, monkeypatch):
    monkeypatch.setattr(FakeEngine, "sha256", "cd" * 32)
    sitting = Sitting(app)
    sitting.session.add_point(SlicePlane(Axis.K, 5), 7, 10)
    sitting.settle()
    assert json.loads(sidecar_text(sitting.desk))["model"] == {"name": "nano", "sha256": "cd" * 32}


def test_the_sidecar_says_what_led_to_the_masks(app, tmp_path):
    sitting = worked(app)
    sitting.desk.node.model = ModelIdentity(name="nano", sha256="abc")
    path = tmp_path / "seg.json"
    write_sidecar(sitting.desk, path)
    said = json.loads(path.read_text(encoding="utf-8"))
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


HOST = """
import sys
from pathlib import Path
from NeuroSAM2MRML.objects.prompts import ObjectPrompts
from NeuroSAM2MRML.scene.fingerprint import Fingerprint
from NeuroSAM2MRML.session.journal import Journal, JournalHead, PromptsLine, owner_of
folder = Path(sys.argv[1])
fingerprint = Fingerprint(voxels="f", ijk_to_ras=tuple(range(16)))
head = JournalHead(volume_name="T1", fingerprint=fingerprint, shape=(1, 2, 3), owner=owner_of(folder))
Journal(folder / "one.jsonl", head).note(PromptsLine(object_id=1, segment_name="x", prompts=ObjectPrompts()))
print("written", flush=True)
sys.stdin.read()
"""


def test_whether_a_host_lives_is_known_whatever_its_process_number(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOST, str(tmp_path)], env=environment, **pipes) as host:
        assert host.stdout.readline() == b"written\n"
        assert unsaved_in(tmp_path) == []
        host.kill()
    (unsaved,) = unsaved_in(tmp_path)
    assert next(unsaved.lines()).segment_name == "x"
    assert [path.suffix for path in tmp_path.iterdir() if path.stem == unsaved.head.owner] == [], "no lock is left"


def head_of(owner="gone"):
    fingerprint = Fingerprint(voxels="f", ijk_to_ras=tuple(range(16)))
    return JournalHead(volume_name="T1", fingerprint=fingerprint, shape=(1, 2, 3), owner=owner)


def noted(path, count):
    journal = Journal(path, head_of())
    for number in range(count):
        prompts = ObjectPrompts().with_point(PLANE, PointPrompt(number, 2))
        journal.note(PromptsLine(object_id=1, segment_name="x", prompts=prompts))
        mask = np.random.default_rng(number).random((7, 9)) > 0.5
        journal.note(MaskLine(object_id=1, plane=SlicePlane(Axis.K, number), mask=mask))
        journal.note(StaleLine(object_id=1, axis=Axis.K, first=0, last=number))
    return path


def test_every_line_before_a_damage_counts(tmp_path):
    path = noted(tmp_path / f"one{SUFFIX}", 3)
    whole = path.read_bytes()
    head, *lines = whole.splitlines(keepends=True)
    for number, line in enumerate(lines):
        start = len(head) + sum(map(len, lines[:number]))
        for place in {start, start + len(line) // 2, start + len(line) - 3}:
            path.write_bytes(whole[:place] + b"\xff" + whole[place + 1 :])
            assert len(list(unsaved_in(tmp_path)[0].lines())) == number
            path.write_bytes(whole[:place])
            assert len(list(unsaved_in(tmp_path)[0].lines())) == number


def test_a_mask_with_another_letter_is_a_damage(tmp_path):
    path = noted(tmp_path / f"one{SUFFIX}", 2)
    text = path.read_text(encoding="utf-8")
    place = text.index('"mask": "') + 30
    path.write_text(text[:place] + ("0" if text[place] != "0" else "1") + text[place + 1 :], encoding="utf-8")
    assert [type(line) for line in unsaved_in(tmp_path)[0].lines()] == [PromptsLine]


def test_a_journal_that_cannot_be_read_hides_no_other(tmp_path):
    for number in range(3):
        noted(tmp_path / f"{number}{SUFFIX}", 1)
    whole = (tmp_path / f"0{SUFFIX}").read_bytes()
    head, rest = whole.split(b"\n", 1)
    damages = [b"", b"\xff" + whole, b"[1]\n", b'{"head": 3}\n', head.replace(b'"shape"', b'"form"'), rest, b"\0" * 99]
    for number, damaged in enumerate(damages):
        (tmp_path / f"damaged{number}{SUFFIX}").write_bytes(damaged)
    (tmp_path / f"folder{SUFFIX}").mkdir()
    later = whole.replace(b'"version": "', b'"room": "new", "version": "9')
    (tmp_path / f"later{SUFFIX}").write_bytes(later + b'{"object": 1, "stroke": []}\n')
    found = {one.path.stem: one for one in unsaved_in(tmp_path)}
    assert sorted(found) == ["0", "1", "2", "later"]
    with pytest.raises(DataError, match=r"written down by NeuroSAM2 9"):
        list(found["later"].lines())


def test_marks_names_and_colours_come_back(app, tmp_path):
    before = Sitting(app)
    before.session.add_box(PLANE, BoxPrompt(4, 4, 12, 15))
    before.settle()
    before.session.propagate()
    before.settle()
    before.session.add_point(SlicePlane(Axis.K, 6), 8, 10, positive=False)
    before.settle()
    before.session.next_object("second")
    segments = before.segmentation_node.GetSegmentation()
    segments.GetNthSegment(0).SetColor(0.1, 0.7, 0.3)
    segments.GetNthSegment(1).SetName("edema")
    kept = before.desk.records
    assert any(quality.is_stale for quality in kept[1].quality.values())
    assert len({quality.predicted_iou for quality in kept[1].quality.values()}) > 1
    folder = crashed(before)
    again = Sitting(make_app(tmp_path))
    recover(again.desk, unsaved_in(folder)[0])
    assert again.desk.records == kept
    for number in (1, 2):
        assert again.desk.objects.look(number) == before.desk.objects.look(number)


def test_a_click_without_an_answer_is_asked_again(app, tmp_path):
    before = Sitting(app)
    before.session.add_box(PLANE, BoxPrompt(4, 4, 12, 15))
    before.settle()
    before.session.add_point(PLANE, 8, 10, positive=False)
    folder = crashed(before)
    again = Sitting(make_app(tmp_path))
    recover(again.desk, unsaved_in(folder)[0])
    assert again.desk.objects.record(1).unanswered == {PLANE}


def test_after_a_full_disk_the_journal_says_everything_again(app, tmp_path, monkeypatch):
    sitting = worked(app)
    path = sitting.desk.journal.path

    def cut_short(self, said):
        with self.path.open("a", encoding="utf-8") as file:
            file.write("{")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(Journal, "_append", cut_short)
        sitting.session.add_point(SlicePlane(Axis.J, 4), 2, 5)
        assert "No space left" in sitting.session.notice
        assert list(path.parent.glob(f"*{SUFFIX}")) == [path], "what was written before stays"
    sitting.session.add_point(SlicePlane(Axis.J, 4), 3, 6)
    sitting.settle()
    (path,) = path.parent.glob(f"*{SUFFIX}")
    folder, again = crashed(sitting), Sitting(make_app(tmp_path))
    recover(again.desk, unsaved_in(folder)[0])
    assert again.desk.records == sitting.desk.records


def test_work_is_brought_back_once(app, tmp_path):
    folder = crashed(worked(app))
    again = Sitting(make_app(tmp_path))
    unsaved = unsaved_in(folder)[0]
    with unsaved.held(), pytest.raises(DataError, match="in another window"):
        recover(again.desk, unsaved)
    recover(again.desk, unsaved)
    with pytest.raises(DataError, match="already"):
        recover(again.desk, unsaved)
    assert not list(Path(folder).glob("*.lock")) or unsaved_in(folder) == []


def test_without_the_package_that_locks_work_is_still_written_down(app, monkeypatch):
    monkeypatch.setitem(sys.modules, "filelock", None)
    sitting = worked(app)
    assert unsaved_in(sitting.desk.journal.path.parent) == []
    (unsaved,) = unsaved_in(crashed(sitting))
    assert len(list(unsaved.lines())) > 3
