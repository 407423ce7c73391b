"""A real MRML scene for every test, without Slicer's application."""

import pytest

from Testing.Support.scenes import make_app


@pytest.fixture
def app(tmp_path):
    folder = tmp_path / "unpacked"
    folder.mkdir()
    return make_app(folder)
