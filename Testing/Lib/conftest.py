"""A real MRML scene for every test, without Slicer's application."""

import pytest

from Testing.Support.left_out import NO_SCENE


@pytest.fixture
def app(tmp_path):
    pytest.importorskip("slicer", reason=NO_SCENE)
    from Testing.Support.scenes import make_app

    folder = tmp_path / "unpacked"
    folder.mkdir()
    return make_app(folder)
