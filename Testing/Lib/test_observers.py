"""Observers of the scene go with their owner, and before Python ends."""

import subprocess
import sys

import pytest

AT_THE_END = """
import atexit
atexit.register(lambda: node.Modified())  # the last of all, since it is registered first
import slicer, vtk
from NeuroSAM2Lib.scene.observer import SceneObserver

class Listener:
    def hear(self, caller, data):
        print("heard")

node, listener, observer = slicer.vtkMRMLScalarVolumeNode(), Listener(), SceneObserver()
observer.on(node, vtk.vtkCommand.ModifiedEvent, listener.hear)
node.Modified()
"""


@pytest.fixture
def node():
    slicer = pytest.importorskip("slicer")
    return slicer.vtkMRMLScalarVolumeNode()


class Listener:
    def __init__(self, node):
        import vtk
        from NeuroSAM2Lib.scene.observer import SceneObserver

        self.observer, self.heard = SceneObserver(), []
        self.observer.on(node, vtk.vtkCommand.ModifiedEvent, self.hear)

    def hear(self, caller, data):
        self.heard.append(caller)


def test_an_observer_goes_with_its_owner(node):
    listener = Listener(node)
    heard = listener.heard
    node.Modified()
    assert heard == [node]
    assert node.HasObserver("ModifiedEvent")
    del listener
    assert not node.HasObserver("ModifiedEvent")


def test_no_observer_is_called_when_python_ends(node):
    command = [sys.executable, "-c", AT_THE_END]
    ended = subprocess.run(command, capture_output=True, check=True, text=True, encoding="utf-8")
    assert ended.stdout.split() == ["heard"]
