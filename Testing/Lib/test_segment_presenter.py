"""The presenter that panels show: choosing, saying what is the matter, going to slices, another engine."""

import numpy as np
import pytest
import slicer
from NeuroSAM2Lib.engine.choice import PACKAGES, TORCH, EngineChoice, Found, Place, Step, install_plan
from NeuroSAM2Lib.presenters import segment_view_model
from NeuroSAM2Lib.presenters.engine_presenter import EngineCheck
from NeuroSAM2Lib.presenters.panel_settings import PanelSettings
from NeuroSAM2Lib.presenters.segment_presenter import SegmentPresenter
from NeuroSAM2Lib.presenters.segment_view_model import Mark, StatusAction
from NeuroSAM2Lib.scene.segments.segment_masks import volume_ml
from NeuroSAM2Lib.scene.views.slice_views import jump_to_slice, visible_plane
from NeuroSAM2Lib.segmentation.objects.scene_objects import COLOURS
from NeuroSAM2Lib.view_state import Activity, ProgressRate, time_left

from NeuroSAM2Core import disk
from NeuroSAM2Core.errors import ConfigError
from NeuroSAM2Core.prompts import BoxPrompt
from NeuroSAM2Core.remote import AUTOMATIC, EngineSwitches, Failed, LoadModel, OpenVolume, Propagate, RestoreSlice
from NeuroSAM2Core.remote.server.bootstrap import NEEDED
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.fake_engine import FakeEngine
from Testing.Support.scenes import GEOMETRIES, add_segmentation, add_volume
from Testing.Support.sessions import place_point

SHAPE = (9, 20, 24)
PLANE = SlicePlane(Axis.K, 4)


@pytest.fixture
def engines():
    return []


@pytest.fixture
def presenter(app, engines):
    def make(choice):
        engines.append(FakeEngine(is_patient=True))
        return engines[-1]

    return SegmentPresenter(app, EngineChoice(), make)


@pytest.fixture
def volume(app):
    return add_volume(app, np.random.default_rng(0).integers(0, 100, SHAPE).astype(np.int16), GEOMETRIES["anisotropic"])


def settle(presenter, engines):
    for _ in range(20):
        for engine in engines:
            engine.work()
        presenter.poll()


def test_the_state_line_leads_from_nothing_to_a_mask(presenter, engines, volume):
    assert presenter.view().state.fix is StatusAction.SAMPLE
    presenter.select(volume, None)
    assert presenter.view().state.fix is StatusAction.SEGMENTATION
    presenter.select(volume, presenter.new_segmentation())
    assert presenter.view().state.sentence.startswith("Ready. Press X")
    presenter.act(lambda session: session.add_box(PLANE, BoxPrompt(4, 4, 12, 12)))
    assert presenter.view().session.activity is Activity.STARTING
    settle(presenter, engines)
    view = presenter.view()
    assert view.state.sentence.startswith("Ready. Propagate")
    assert [cell.mark for cell in view.cells].index(Mark.PROMPTED) == PLANE.index
    assert len(view.cells) == SHAPE[0]
    mask = presenter.session.document.slice_io.read(1, PLANE)
    assert view.volume_ml == pytest.approx(mask.sum() * 0.5 * 0.5 * 5.0 / 1000)


def test_a_mistake_is_a_sentence_in_the_view(presenter, volume):
    presenter.select(volume, presenter.new_segmentation())
    presenter.act(lambda session: session.propagate())
    assert presenter.view().state.sentence == "There is nothing to propagate (place a point or a box first)."


def test_a_volume_that_cannot_be_worked_on_is_refused_with_the_reason(app, presenter):
    empty = app.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    presenter.select(empty, add_segmentation(app)[0])
    state = presenter.view().state
    assert state.is_problem
    assert "no voxels" in state.sentence
    assert not presenter.view().session.can_prompt


def test_another_engine_is_notified_all_of_the_scene(presenter, engines, volume):
    presenter.select(volume, presenter.new_segmentation())
    presenter.act(lambda session: session.add_box(PLANE, BoxPrompt(4, 4, 12, 12)))
    settle(presenter, engines)
    before = presenter.session.document.slice_io.read(1, PLANE)
    presenter.use_engine(EngineChoice(device="cpu"))
    presenter.act(lambda session: session.propagate())
    settle(presenter, engines)
    assert engines[0].is_closed
    assert len(engines) == 2
    assert (presenter.session.document.slice_io.read(1, PLANE) == before).all()
    assert all(cell.mark is not Mark.NOTHING for cell in presenter.view().cells)


def test_a_switch_in_the_middle_of_a_propagation_tells_the_engine_all_and_goes_on(presenter, engines, volume):
    presenter.select(volume, presenter.new_segmentation())
    session = presenter.session
    session.add_box(PLANE, BoxPrompt(4, 4, 12, 15))
    settle(presenter, engines)
    presenter.propagate()
    engines[0].work(2)
    presenter.poll()
    switches = EngineSwitches(ends_by_shape=False)
    presenter.switch(switches)
    settle(presenter, engines)
    assert len(engines) == 1
    assert [r.switches for r in engines[0].requests if isinstance(r, OpenVolume)] == [AUTOMATIC, switches]
    assert next(r.mask.plane for r in engines[0].requests if isinstance(r, RestoreSlice)) == PLANE
    assert len(session.document.active_record.quality) == SHAPE[0]
    presenter.switch(switches)
    assert isinstance(engines[0].requests[-1], Propagate)
    segmentation = session.document.segmentation_node
    presenter.select(volume, None)
    presenter.select(volume, segmentation)
    assert presenter.session.engine_sync.switches == switches


def test_the_scene_remembers_switches_and_survives_nonsense(app):
    memory = PanelSettings(app.scene)
    assert memory.switches == AUTOMATIC
    memory.switches = EngineSwitches(crops=True, use_appearance_model=False)
    assert PanelSettings(app.scene).switches == EngineSwitches(crops=True, use_appearance_model=False)
    memory.node.SetParameter("Switch.crops", "perhaps")
    assert memory.switches == EngineSwitches(use_appearance_model=False)


def test_an_incomplete_choice_is_refused_and_the_engine_stays(presenter):
    for choice, prompts in (
        (EngineChoice(place=Place.INTERPRETER), "no interpreter"),
        (EngineChoice(place=Place.INTERPRETER, interpreter="/nowhere/python"), "no program"),
        (EngineChoice(place=Place.REMOTE, port=0), "port"),
        (EngineChoice(place=Place.REMOTE, port=4242), "token"),
        (EngineChoice(device="abacus"), "abacus"),
        (EngineChoice(model=""), "no model"),
    ):
        with pytest.raises(ConfigError, match=prompts):
            presenter.use_engine(choice)
    assert presenter.choice == EngineChoice()


def test_a_choice_is_remembered_without_its_secret_and_damage_is_survived():
    choice = EngineChoice(
        place=Place.REMOTE, host="gpu", port=4242, token="secret", model="/m.safetensors", device="cuda"
    )
    text = choice.to_text()
    assert "secret" not in text
    back = EngineChoice.from_text(text)
    assert (back.place, back.host, back.port, back.model, back.device) == (
        Place.REMOTE,
        "gpu",
        4242,
        "/m.safetensors",
        "cuda",
    )
    for damaged in ("", "{", "[]", '{"place": "moon", "port": "x", "device": 3}'):
        assert EngineChoice.from_text(damaged) == EngineChoice()


@pytest.mark.parametrize("name", ["upright", "oblique", "left-handed", "under a turn"])
@pytest.mark.parametrize("axis", list(Axis))
def test_going_to_a_slice_shows_it(app, name, axis):
    voxels = np.zeros(SHAPE, np.int16)
    node = add_volume(app, voxels, GEOMETRIES[name])
    presenter = SegmentPresenter(app, EngineChoice(), lambda choice: FakeEngine())
    presenter.select(node, presenter.new_segmentation())
    for orientation in ("Axial", "Coronal", "Sagittal"):
        view = app.scene.AddNewNodeByClass("vtkMRMLSliceNode")
        view.SetLayoutName(orientation)
        view.SetOrientation(orientation)
    volume = presenter.session.document.volume
    for index in (0, 3, volume.shape[axis.array_axis] - 1):
        jump_to_slice(app.scene, volume, SlicePlane(axis, index))
        assert visible_plane(app.scene, volume, axis) == SlicePlane(axis, index)


def test_the_next_doubtful_slice_is_shown_or_it_is_reported_that_there_is_none(app, presenter, volume):
    presenter.select(volume, presenter.new_segmentation())
    presenter.jump_to_next_doubtful()
    assert "no slice is doubtful" in presenter.session.notice


def test_the_pace_says_slices_rate_and_time_left():
    progress_rate = ProgressRate(10.0)
    assert progress_rate.sentence((0, 0), 10.1) == "getting ready"
    assert progress_rate.sentence((2, 40), 10.2) == "2 of 40 slices"
    assert progress_rate.sentence((10, 40), 12.0) == "10 of 40 slices, 5.0 per second, 6 s left"
    assert [time_left(s) for s in (59, 120, 7200)] == ["59 s left", "2 min left", "2.0 h left"]


def test_a_volume_in_millilitres_counts_voxels_in_the_world(app):
    node = add_volume(app, np.zeros(SHAPE, np.int16), GEOMETRIES["under a shear"])
    presenter = SegmentPresenter(app, EngineChoice(), lambda choice: FakeEngine())
    segmentation = presenter.new_segmentation()
    presenter.select(node, segmentation)
    document = presenter.session.document
    presenter.act(lambda session: session.next_object())
    segment_id = document.objects.segment_id(1)
    assert volume_ml(segmentation, segment_id) == 0.0
    from NeuroSAM2Core.volume import SliceMask

    mask = np.zeros((20, 24), bool)
    mask[3:7, 2:12] = True
    document.put(SliceMask(object_id=1, plane=PLANE, mask=mask, predicted_iou=0.9, object_score=0.9))
    assert volume_ml(segmentation, segment_id) == pytest.approx(
        40 * abs(np.linalg.det(document.volume.ijk_to_ras)) / 1000
    )


ALL = frozenset({TORCH, *PACKAGES})


def test_what_the_worker_needs_is_what_is_installed():
    assert {TORCH, *PACKAGES} == set(NEEDED)


@pytest.mark.parametrize(
    ("found", "step"),
    [
        (Found(modules=ALL), Step.NOTHING),
        (Found(place=Place.REMOTE), Step.NOTHING),
        (Found(place=Place.INTERPRETER), Step.PACKAGES),
        (Found(place=Place.INTERPRETER, modules=frozenset({"psutil", "filelock"})), Step.NOTHING),
        (Found(), Step.EXTENSION),
        (Found(is_restart_due=True), Step.RESTART),
        (Found(has_extension=True), Step.TORCH),
        (Found(modules=frozenset({TORCH, "numpy"})), Step.PACKAGES),
    ],
)
def test_there_is_one_next_step_to_an_engine_that_runs(found, step):
    plan = install_plan(found)
    assert plan.step is step
    assert bool(plan.button) == bool(plan.question) == (step is not Step.NOTHING)


def test_a_python_that_is_too_old_is_reported_at_once():
    assert "3.9" in install_plan(Found(python=(3, 9), modules=ALL)).sentence


def test_the_test_says_what_works_and_how_fast():
    engine = FakeEngine()
    check = EngineCheck(engine, LoadModel(model="nano"))
    for _ in range(5):
        engine.work()
        check.poll()
    assert check.result.is_good
    assert check.result.sentence.startswith("It works: nano on ")
    assert "ms from click to mask" in check.result.sentence
    assert engine.is_closed


def test_the_test_says_what_does_not_work():
    class Refusing(FakeEngine):
        def poll(self):
            return [
                Failed(request_id=1, kind="CheckpointError", message="there is no model 'x'", hint="choose another")
            ]

    check = EngineCheck(Refusing(), LoadModel(model="x"))
    assert check.poll().sentence == "there is no model 'x' (choose another)"
    assert not check.poll().is_good


def test_continue_recomputes_stale_slices_only_in_the_chosen_range(app, presenter, engines, volume):
    presenter.select(volume, presenter.new_segmentation())
    PanelSettings(app.scene).slice_range = (3, 5)
    presenter.act(lambda session: session.add_box(PLANE, BoxPrompt(4, 4, 12, 12)))
    presenter.propagate()
    settle(presenter, engines)
    place_point(presenter.session, PLANE, 6, 6, positive=False)
    settle(presenter, engines)
    assert presenter.view().session.can_continue
    presenter.resume()
    settle(presenter, engines)
    assert presenter.view().session.objects[0].num_done == 3
    assert presenter.view().cells[6].mark is Mark.NOTHING


def left_behind(presenter, monkeypatch):
    """The journal of the session is that of a process that is gone."""
    path = presenter.session.document.journal.path
    text = path.read_text(encoding="utf-8")
    presenter.select(None, None)
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr("NeuroSAM2Lib.segmentation.journal._is_running", lambda lock_file: False)


@pytest.mark.parametrize("is_bundle", [False, True])
def test_saving_as_slicer_does_it_in_silence_leaves_no_unsaved_work(app, presenter, volume, tmp_path, is_bundle):
    presenter.select(volume, presenter.new_segmentation())
    presenter.act(lambda session: session.add_box(PLANE, BoxPrompt(4, 4, 12, 12)))
    journal = presenter.session.document.journal.path
    presenter.poll()
    assert journal.exists()
    if is_bundle:
        (tmp_path / "bundle").mkdir()
        assert app.scene.SaveSceneToSlicerDataBundleDirectory(disk.as_utf8(tmp_path / "bundle"), None)
    else:
        assert app.scene.Commit(disk.as_utf8(tmp_path / "scene.mrml"))
    presenter.poll()
    assert not journal.exists()
    place_point(presenter.session, PLANE, 6, 6, positive=False)
    assert presenter.session.document.journal.path.exists()


def test_work_on_another_image_of_the_same_name_is_not_offered(app, presenter, volume, monkeypatch):
    presenter.select(volume, presenter.new_segmentation())
    presenter.act(lambda session: session.add_box(PLANE, BoxPrompt(4, 4, 12, 12)))
    left_behind(presenter, monkeypatch)
    other = add_volume(app, np.zeros(SHAPE, np.int16), GEOMETRIES["anisotropic"], name=volume.GetName())
    presenter.select(other, presenter.new_segmentation())
    assert presenter.view().state.fix is StatusAction.NOTHING
    volume.SetName("renamed")
    presenter.select(volume, presenter.new_segmentation())
    assert presenter.view().state.fix is StatusAction.RECOVER


def test_why_work_cannot_be_brought_back_is_seen_and_ends(app, presenter, engines, volume, monkeypatch):
    for _ in range(2):
        presenter.select(volume, presenter.new_segmentation())
        presenter.act(lambda session: session.add_box(PLANE, BoxPrompt(4, 4, 12, 12)))
        left_behind(presenter, monkeypatch)
    presenter.select(volume, presenter.new_segmentation())
    slicer.util.arrayFromVolume(volume)[0, 0, 0] += 1
    presenter.recover()
    state = presenter.view().state
    assert "belongs to the image" in state.sentence
    assert state.fix is StatusAction.RECOVER
    slicer.util.arrayFromVolume(volume)[0, 0, 0] -= 1
    presenter.recover()
    settle(presenter, engines)
    assert "belongs" not in presenter.view().state.sentence
    assert presenter.view().session.objects


def test_undo_goes_back_to_where_the_session_began_and_never_loses_prompts(presenter, engines, volume):
    presenter.select(volume, presenter.new_segmentation())
    presenter.act(lambda session: session.add_box(PLANE, BoxPrompt(4, 4, 12, 12)))
    for row in (6, 7, 8):
        place_point(presenter.session, PLANE, row, 6, positive=False)
    settle(presenter, engines)
    prompts = presenter.session.document.active_record.prompts
    presenter.use_engine(EngineChoice(device="cpu"))
    place_point(presenter.session, PLANE, 9, 9, positive=False)
    settle(presenter, engines)
    for _ in range(4):
        presenter.act(lambda session: session.undo())
        settle(presenter, engines)
        assert presenter.session.document.active_record.prompts == prompts
    assert not presenter.view().session.can_undo
    presenter.act(lambda session: session.redo())
    assert len(presenter.session.document.active_record.prompts.points) == 4


def test_a_range_chosen_for_a_larger_volume_ends_with_this_one(app, presenter, engines, volume):
    presenter.select(volume, presenter.new_segmentation())
    PanelSettings(app.scene).slice_range = (3, 500)
    presenter.act(lambda session: session.add_box(PLANE, BoxPrompt(4, 4, 12, 12)))
    presenter.propagate()
    last = presenter.session.document.volume.shape[0] - 1
    assert (
        presenter.session.engine_sync.propagation.request.first,
        presenter.session.engine_sync.propagation.request.last,
    ) == (3, last)


def test_every_object_has_its_volume(presenter, engines, volume):
    presenter.select(volume, presenter.new_segmentation())
    presenter.act(lambda session: session.add_box(PLANE, BoxPrompt(4, 4, 12, 12)))
    settle(presenter, engines)
    (first,) = presenter.view().volumes_ml.values()
    presenter.act(lambda session: session.next_object())
    presenter.act(lambda session: session.add_box(PLANE, BoxPrompt(13, 13, 16, 16)))
    settle(presenter, engines)
    presenter.view()  # one is measured at each reading
    view = presenter.view()
    rows = {row.name: view.volumes_ml.get(row.segment_id) for row in view.session.objects}
    assert rows == {"object 1": first, "object 2": view.volume_ml}
    assert view.volume_ml < first


def test_objects_are_notified_apart_by_colour(presenter, volume):
    presenter.select(volume, presenter.new_segmentation())
    for _ in COLOURS:
        presenter.act(lambda session: session.next_object())
    assert [row.colour for row in presenter.view().session.objects] == [pytest.approx(colour) for colour in COLOURS]


def test_an_objects_volume_moves_while_it_is_propagated(presenter, engines, volume, monkeypatch):
    monkeypatch.setattr(segment_view_model, "MIN_PAUSE_S", 0.0)
    monkeypatch.setattr(segment_view_model, "REST", 0.0)
    presenter.select(volume, presenter.new_segmentation())
    presenter.act(lambda session: session.add_box(PLANE, BoxPrompt(4, 4, 12, 12)))
    settle(presenter, engines)
    seen = [presenter.view().volume_ml]
    presenter.propagate()
    for _ in range(200):
        engines[-1].work()
        presenter.poll()
        seen.append(presenter.view().volume_ml)
        if presenter.view().session.progress is None:
            break
    assert len(set(seen)) > 1, "also before the end"
    assert seen[-1] > seen[0]
