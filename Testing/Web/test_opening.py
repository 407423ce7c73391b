"""Opening a file that turns out bad costs nothing of what is open."""

import zipfile

import pytest
from NeuroSAM2Web.file_io import FileIO, Target

from NeuroSAM2Core.errors import DataError
from NeuroSAM2Core.volume import Axis, SlicePlane
from Testing.Support.apart import run_apart
from Testing.Support.sessions import place_point
from Testing.Web.app_user import AppUser


@pytest.fixture
def user(tmp_path):
    return AppUser(tmp_path)


def without(path, ending, into):
    """A bundle that lacks a file which its scene names."""
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(into, "w") as file:
        for name in whole.namelist():
            if not name.endswith(ending):
                file.writestr(name, whole.read(name))
    return into


def test_a_scene_that_slicer_refuses_leaves_open_work_as_it_is(user, tmp_path):
    files = FileIO(user.app_state)
    plane = SlicePlane(Axis.K, 5)
    place_point(user.presenter.session, plane, 20, 20)
    user.wake()
    (saved,) = run_apart(files.save(Target.SCENE, tmp_path / "a.mrb"))
    session, volume = user.presenter.session, user.app_state.volume_node
    bad = without(saved, ".nrrd", tmp_path / "bad.mrb")
    with pytest.raises(DataError, match=r"bad\.mrb cannot be read"):
        run_apart(files.open(bad, "bad.mrb"))
    assert user.presenter.session is session
    assert not session.ended
    assert user.app_state.volume_node is volume
    assert files.has_work
