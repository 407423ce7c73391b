"""Unsaved work after the death of the host, and what is written beside an export."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import slicer
from NeuroSAM2Lib.scene.volume_nodes import Fingerprint, read_volume
from NeuroSAM2Lib.segmentation.journal import (
    SUFFIX,
    Journal,
    JournalHead,
    MaskLine,
    PromptsLine,
    StaleLine,
    unsaved_in,
)
from NeuroSAM2Lib.segmentation.objects.session_node import ModelIdentity
from NeuroSAM2Lib.segmentation.recovery import recover, unsaved_work
from NeuroSAM2Lib.segmentation.session_view import session_view
from NeuroSAM2Lib.segmentation.sidecar import sidecar_text, write_sidecar
from NeuroSAM2Lib.view_state import Activity

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import Cancelled, DataError
from NeuroSAM2Core.prompts import BoxPrompt, ObjectPrompts, PointPrompt
from NeuroSAM2Core.volume import Axis, SlicePlane, Volume
from Testing.Support.fake_engine import FakeEngine
from Testing.Support.node_files import labels_on
from Testing.Support.scenes import make_app
from Testing.Support.sessions import SimulatedUser, place_point

PLANE = SlicePlane(Axis.K, 4)


def worked(app):
    user = SimulatedUser(app)
    user.session.add_box(PLANE, BoxPrompt(4, 4, 12, 15))
    place_point(user.session, PLANE, 8, 10, positive=False)
    user.settle()
    user.session.propagate(last=7)
    user.settle()
    user.session.next_object("second")
    place_point(user.session, SlicePlane(Axis.J, 3), 2, 5)
    user.settle()
    return user


def crashed(user):
    """The journal as a dead host leaves it."""
    path = user.document.journal.path
    lines = path.read_text(encoding="utf-8").splitlines()
    head = json.loads(lines[0])
    head["head"]["owner"] = "gone"
    path.write_text("\n".join([json.dumps(head), *lines[1:]]) + "\n", encoding="utf-8")
    return path.parent


def changed_head(folder, **values):
    path = next(folder.glob(f"*{SUFFIX}"))
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    payload = json.loads(head)
    payload["head"].update(values)
    path.write_text("\n".join([json.dumps(payload), *lines]) + "\n", encoding="utf-8")
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
    again = SimulatedUser(make_app(other))
    unsaved = unsaved_in(folder)[0]
    with pytest.raises(DataError, match=r"written down by NeuroSAM2 9\.0"):
        recover(again.document, unsaved)
    assert unsaved.path.exists()


def test_unsaved_work_comes_back_as_one_step(app, tmp_path):
    before = worked(app)
    folder = crashed(before)
    other = tmp_path / "other"
    other.mkdir()
    again = SimulatedUser(make_app(other))
    (unsaved,) = unsaved_in(folder)
    assert recover(again.document, unsaved) == 2
    for number in (1, 2):
        np.testing.assert_array_equal(again.voxels_of(number), before.voxels_of(number))
        assert again.document.objects.record(number).prompts == before.document.objects.record(number).prompts
        payload = again.document.nodes.read(number, again.document.volume)
        assert payload == before.document.objects.record(number).prompts
    assert unsaved_in(folder) == []
    again.session.undo()
    assert again.document.objects.segments == {}


def test_a_journal_that_was_cut_is_worth_everything_before_it(app, tmp_path):
    before = worked(app)
    folder = crashed(before)
    path = before.document.journal.path
    path.write_bytes(path.read_bytes()[:-30])
    again = SimulatedUser(make_app(tmp_path))
    recover(again.document, unsaved_in(folder)[0])
    np.testing.assert_array_equal(again.voxels_of(1), before.voxels_of(1))


def test_work_on_another_image_is_refused(app, tmp_path):
    folder = crashed(worked(app))
    other = SimulatedUser(make_app(tmp_path), shape=(5, 6, 7))
    with pytest.raises(DataError, match="belongs to the image"):
        recover(other.document, unsaved_in(folder)[0])


def written_and_read(user, app, path):
    """The image through a file, under another name."""
    if path.suffix == ".nii":
        user.document.volume.write(path)
        return Volume.read(path)
    storage = slicer.vtkMRMLNRRDStorageNode()
    app.scene.AddNode(storage)
    storage.SetFileName(disk.as_utf8(path))
    again = app.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "renamed")
    assert storage.WriteData(user.volume_node)
    assert storage.ReadData(again)
    return read_volume(again)


@pytest.mark.parametrize("geometry", ["oblique", "anisotropic oblique"])
@pytest.mark.parametrize("ending", [".nrrd", ".nii"])
def test_work_is_found_again_after_its_image_went_through_a_file(app, tmp_path, geometry, ending):
    user = SimulatedUser(app, geometry=geometry)
    user.session.add_box(PLANE, BoxPrompt(4, 4, 12, 15))
    folder = crashed(user)
    before = user.document.volume
    volume = written_and_read(user, app, tmp_path / f"head{ending}")
    assert [one.head.volume_name for one in unsaved_work(folder, volume)] == [before.name]
    assert unsaved_work(folder, volume.with_voxels(volume.voxels[::-1])) == []
    shifted = volume.ijk_to_ras.copy()
    shifted[0, 3] += 0.1
    assert unsaved_work(folder, Volume(volume.voxels, shifted, name=volume.name)) == []


def test_a_journal_that_another_version_wrote_is_passed_over(app):
    user = worked(app)
    folder, path = crashed(user), user.document.journal.path
    head = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
    path.write_text(json.dumps({"head": head["head"] | {"fingerprint": "abc"}}) + "\n", encoding="utf-8")
    assert unsaved_in(folder) == []


def test_a_running_host_keeps_its_journal_and_a_saved_scene_needs_none(app, tmp_path):
    user = worked(app)
    path = user.document.journal.path
    assert path.exists()
    assert unsaved_in(path.parent) == []
    app.save(tmp_path / "scene.mrb")
    assert not path.exists()
    place_point(user.session, SlicePlane(Axis.J, 4), 2, 5)
    assert user.document.journal.path.exists()


def test_what_changes_while_a_scene_is_packed_stays_written_down(app, tmp_path):
    user = worked(app)
    path = user.document.journal.path
    with pytest.raises(Cancelled), user.watch.storing():
        app.store(tmp_path / "given up")
        raise Cancelled
    user.watch.follow_saving()
    assert path.exists()
    with user.watch.storing():
        app.store(tmp_path / "old")
        place_point(user.session, SlicePlane(Axis.J, 4), 2, 5)
    user.watch.follow_saving()
    assert path.exists()
    with user.watch.storing():
        app.store(tmp_path / "new")
    assert not path.exists()


def test_lines_come_back_as_they_were(tmp_path):
    mask = np.random.default_rng(0).random((7, 9)) > 0.5
    payload = (
        ObjectPrompts()
        .with_point(PLANE, PointPrompt(1, 2, False))
        .with_box(PLANE, BoxPrompt(1, 2, 3, 4.5))
        .with_confirmed(SlicePlane(Axis.K, 9))
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
    journal.note(PromptsLine(object_id=3, segment_name="x", prompts=payload))
    journal.note(MaskLine(object_id=3, plane=PLANE, mask=mask))
    (unsaved,) = unsaved_in(tmp_path)
    assert unsaved.head == head
    prompts, masked = unsaved.lines()
    assert prompts.prompts == payload
    np.testing.assert_array_equal(masked.mask, mask)


def test_a_line_of_an_earlier_version_has_the_most_likely_readings(tmp_path):
    path = tmp_path / f"one{SUFFIX}"
    payload = ObjectPrompts().with_point(PLANE, PointPrompt(1, 2, False))
    journal = Journal(
        path,
        JournalHead(
            volume_name="T1",
            fingerprint=Fingerprint(voxels="f", ijk_to_ras=tuple(range(16))),
            shape=(1, 2, 3),
            owner="gone",
        ),
    )
    journal.note(PromptsLine(object_id=3, segment_name="x", prompts=payload))
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(', "readings": []', ""), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != text
    (unsaved,) = unsaved_in(tmp_path)
    assert next(unsaved.lines()).prompts == payload


def test_a_full_disk_is_reported_and_the_work_goes_on(app):
    user = SimulatedUser(app)
    folder = user.document.journal._folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("in the way", encoding="utf-8")
    place_point(user.session, PLANE, 7, 10)
    user.settle()
    assert "cannot be written down" in user.session.notice
    assert user.mask(PLANE)[7, 10]


def test_the_sidecar_has_the_hash_of_what_the_engine_read(app, monkeypatch):
    monkeypatch.setattr(FakeEngine, "sha256", "cd" * 32)
    user = SimulatedUser(app)
    place_point(user.session, SlicePlane(Axis.K, 5), 7, 10)
    user.settle()
    assert json.loads(sidecar_text(user.document))["model"] == {"name": "nano", "sha256": "cd" * 32}


def test_the_sidecar_names_the_value_of_each_object_in_a_label_map(app):
    user = worked(app)
    segmentation = user.document.objects.node.GetSegmentation()
    segmentation.AddEmptySegment("own", "a segment of the person")
    segmentation.SetSegmentIndex("own", 0)
    segmentation.SetSegmentIndex(user.document.objects.segment_id(2), 0)
    labels = labels_on(user.document.objects.node, user.volume_node).voxels
    objects = json.loads(sidecar_text(user.document))["objects"]
    assert [one["label"] for one in objects] == [3, 1]
    for number, one in enumerate(objects, start=1):
        assert (labels == one["label"]).any()
        assert user.voxels_of(number)[labels == one["label"]].all()


def test_the_sidecar_says_what_led_to_the_masks(app, tmp_path):
    user = worked(app)
    user.document.node.model = ModelIdentity(name="nano", sha256="abc")
    path = tmp_path / "seg.json"
    write_sidecar(user.document, path)
    payload = json.loads(path.read_text(encoding="utf-8"))
    assert payload == json.loads(sidecar_text(user.document))
    assert payload["model"] == {"name": "nano", "sha256": "abc"}
    first, second = payload["objects"]
    assert first["boxes"] == [{"slice": 4, "row0": 4.0, "col0": 4.0, "row1": 12.0, "col1": 15.0}]
    assert first["points"] == [{"slice": 4, "row": 8.0, "col": 10.0, "positive": False}]
    assert set(first["slices"]) == {str(n) for n in range(8)}
    assert first["volume_ml"] == pytest.approx(user.voxels_of(1).sum() / 1000, abs=1e-4)
    assert second["name"] == "second"
    with pytest.raises(DataError, match="cannot write"):
        write_sidecar(user.document, tmp_path / "nowhere" / "seg.json")


def test_the_panel_shows_what_is_going_on(app):
    user = SimulatedUser(app, is_patient=True)
    view = session_view(user.session)
    assert view.activity is Activity.READY
    assert not view.can_propagate
    assert not view.can_undo
    place_point(user.session, PLANE, 7, 10)
    assert session_view(user.session).activity is Activity.STARTING
    user.settle()
    user.session.propagate()
    user.engines.last.work(3)
    user.take_in()
    view = session_view(user.session)
    assert view.activity is Activity.PROPAGATING
    assert view.progress == (3, 8)
    assert view.can_stop
    assert view.undo_name == "Propagate"
    user.session.stop()
    assert session_view(user.session).activity is Activity.STOPPING
    user.settle()
    view = session_view(user.session)
    (row,) = view.objects
    assert (row.num_prompts, row.num_prompted, row.num_done, row.is_active) == (1, 1, 4, True)
    assert [mark.plane.index for mark in view.quality_strip] == [3, 4, 5, 6] or len(view.quality_strip) == 4
    assert [mark.is_prompted for mark in view.quality_strip if mark.plane == PLANE] == [True]
    assert view.can_continue
    user.watch.end("done")
    assert session_view(user.session).activity is Activity.ENDED


HOST = """
import sys
from pathlib import Path
from NeuroSAM2Core.prompts import ObjectPrompts
from NeuroSAM2Lib.scene.volume_nodes import Fingerprint
from NeuroSAM2Lib.segmentation.journal import Journal, JournalHead, PromptsLine, owner_of
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


@pytest.mark.parametrize(
    ("written", "damaged", "kind"),
    [
        ('"object": 1, "name"', '"object": "1", "name"', PromptsLine),
        ("[[4, 1.0, 2.0, true]]", '[[4, "1", 2.0, true]]', PromptsLine),
        ("[[4, 1.0, 2.0, true]]", "[[4.5, 1.0, 2.0, true]]", PromptsLine),
        ('"boxes": [[5, 1.0, 2.0, 3.0, 4.0]]', '"boxes": [[5, 9.0, 2.0, 3.0, 4.0]]', PromptsLine),
        ('"shape": [7, 9]', '"shape": [7, 90]', MaskLine),
        ('"shape": [7, 9]', '"shape": [-7, -9]', MaskLine),
        ('"shape": [7, 9]', f'"shape": [{1 << 62}, {1 << 62}]', MaskLine),
        ('"predicted_iou": 1.0', '"predicted_iou": NaN', MaskLine),
        ('"stale": [0, 1]', '"stale": [0, 1.5]', StaleLine),
    ],
)
def test_a_line_with_a_value_of_another_kind_is_a_damage(tmp_path, written, damaged, kind):
    path, kinds = tmp_path / f"one{SUFFIX}", [PromptsLine, MaskLine, StaleLine]
    journal = Journal(path, head_of())
    prompts = (
        ObjectPrompts().with_point(PLANE, PointPrompt(1, 2)).with_box(SlicePlane(Axis.K, 5), BoxPrompt(1, 2, 3, 4))
    )
    journal.note(PromptsLine(object_id=1, segment_name="x", prompts=prompts))
    journal.note(MaskLine(object_id=1, plane=PLANE, mask=np.eye(7, 9, dtype=bool)))
    journal.note(StaleLine(object_id=1, axis=Axis.K, first=0, last=1))
    text = path.read_text(encoding="utf-8")
    assert text.count(written) == 1
    path.write_text(text.replace(written, damaged), encoding="utf-8")
    assert [type(line) for line in unsaved_in(tmp_path)[0].lines()] == kinds[: kinds.index(kind)]


def test_a_journal_that_cannot_be_read_hides_no_other(tmp_path):
    for number in range(3):
        noted(tmp_path / f"{number}{SUFFIX}", 1)
    whole = (tmp_path / f"0{SUFFIX}").read_bytes()
    head, rest = whole.split(b"\n", 1)
    damages = [
        b"",
        b"\xff" + whole,
        b"[1]\n",
        b'{"head": 3}\n',
        head.replace(b'"shape"', b'"form"'),
        rest,
        b"\0" * 99,
        b"[" * 100_000,
    ]
    damages += [
        head.replace(old, new) for old, new in ((b"14, 15]", b"14]"), (b"[1, 2, 3]", b'[1, 2, "3"]'), (b'"T1"', b"1"))
    ]
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
    before = SimulatedUser(app)
    before.session.add_box(PLANE, BoxPrompt(4, 4, 12, 15))
    before.settle()
    before.session.propagate()
    before.settle()
    place_point(before.session, SlicePlane(Axis.K, 6), 8, 10, positive=False)
    before.settle()
    before.session.next_object("second")
    segments = before.segmentation_node.GetSegmentation()
    segments.GetNthSegment(0).SetColor(0.1, 0.7, 0.3)
    segments.GetNthSegment(1).SetName("edema")
    kept = before.document.records
    assert any(quality.is_stale for quality in kept[1].quality.values())
    assert len({quality.predicted_iou for quality in kept[1].quality.values()}) > 1
    folder = crashed(before)
    again = SimulatedUser(make_app(tmp_path))
    recover(again.document, unsaved_in(folder)[0])
    assert again.document.records == kept
    for number in (1, 2):
        assert again.document.objects.display_properties(number) == before.document.objects.display_properties(number)


def test_a_click_without_an_answer_is_asked_again(app, tmp_path):
    before = SimulatedUser(app)
    before.session.add_box(PLANE, BoxPrompt(4, 4, 12, 15))
    before.settle()
    place_point(before.session, PLANE, 8, 10, positive=False)
    folder = crashed(before)
    again = SimulatedUser(make_app(tmp_path))
    recover(again.document, unsaved_in(folder)[0])
    assert again.document.objects.record(1).unanswered == {PLANE}


def test_after_a_full_disk_the_journal_says_everything_again(app, tmp_path, monkeypatch):
    user = worked(app)
    path = user.document.journal.path

    def cut_short(self, payload):
        with self.path.open("a", encoding="utf-8") as file:
            file.write("{")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(Journal, "_append", cut_short)
        place_point(user.session, SlicePlane(Axis.J, 4), 2, 5)
        assert "No space left" in user.session.notice
        assert list(path.parent.glob(f"*{SUFFIX}")) == [path], "what was written before stays"
    place_point(user.session, SlicePlane(Axis.J, 4), 3, 6)
    user.settle()
    (path,) = path.parent.glob(f"*{SUFFIX}")
    folder, again = crashed(user), SimulatedUser(make_app(tmp_path))
    recover(again.document, unsaved_in(folder)[0])
    assert again.document.records == user.document.records


def test_work_is_brought_back_once(app, tmp_path):
    folder = crashed(worked(app))
    again = SimulatedUser(make_app(tmp_path))
    unsaved = unsaved_in(folder)[0]
    with unsaved.locked(), pytest.raises(DataError, match="in another window"):
        recover(again.document, unsaved)
    recover(again.document, unsaved)
    with pytest.raises(DataError, match="already"):
        recover(again.document, unsaved)
    assert not list(Path(folder).glob("*.lock")) or unsaved_in(folder) == []


def test_without_the_package_that_locks_work_is_still_written_down(app, monkeypatch):
    monkeypatch.setitem(sys.modules, "filelock", None)
    user = worked(app)
    assert unsaved_in(user.document.journal.path.parent) == []
    (unsaved,) = unsaved_in(crashed(user))
    assert len(list(unsaved.lines())) > 3
